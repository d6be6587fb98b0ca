"""Days in every format: the same small day gives the same tables, however its files are written."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lake.formats import FORMATS
from lake.formats.content import ColumnSpec, Content, RawColumn
from lake.formats.families import TEXT
from lake.formats.format import Format
from lake.formats.text import Copy, open_lines

DAY = dt.date(2024, 1, 1)
Rows = list[dict[str, Any]]


class Cards(Format[None]):
    """A format that there is not: a row is lines of a name, a colon and a value, and a blank line."""

    NAME = "cards"

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read a file and write its copy."""
        cards, names = list(_cards(path)), sorted(spec.mapped)
        with Copy(copy, names) as written:
            for card in cards:
                written.add([card.get(name) for name in names])
        columns = tuple(RawColumn(name, TEXT, "STRING") for name in names)
        return Content(columns, dict.fromkeys(names, "text"), len(cards), True)


def _cards(path: Path) -> Iterator[dict[str, str]]:
    card: dict[str, str] = {}
    for line in open_lines(path):
        name, _, value = line.strip().partition(": ")
        card |= {name: value} if name else {}
        if not name:
            yield card
            card = {}


def _as_cards(path: Path, rows: Rows) -> None:
    cards = ("".join(f"{name}: {value}\n" for name, value in row.items()) for row in rows)
    path.write_text("\n".join(cards) + "\n", encoding="utf-8")


def test_a_format_is_one_module_and_a_line(tiny, tiny_with, tiny_row, tmp_path, spark, monkeypatch):
    """As CONTRIBUTING says: the setting, the file check and Spark follow from the object."""
    monkeypatch.setitem(FORMATS, Cards.NAME, Cards)
    (tmp_path / "cards").mkdir()
    other = tiny_with(tmp_path / "cards", format="cards")
    rows = [tiny_row(DAY, user=user, paid=user / 4) for user in range(1, 6)]
    tiny.put(DAY, rows)
    _as_cards(other.raw(f"events/{DAY}.cards"), rows)
    assert other.ingest(DAY).tables["interactions"].digest == tiny.ingest(DAY).tables["interactions"].digest
