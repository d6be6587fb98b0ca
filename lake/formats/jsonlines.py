"""JSON lines: each line that is not blank is a row."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lake.formats.content import Unfit
from lake.formats.jsonrows import Decoder, JsonFormat, Record, Row
from lake.formats.text import open_lines

_BLANK: Final = " \t\r\n"


class JsonLines(JsonFormat):
    """JSON lines, or NDJSON."""

    NAME = "jsonl"
    WHAT = "one JSON object a line", "write each row as an object in a line of its own"

    @property
    def has_head(self) -> bool:
        """A file without rows is one of 0 bytes."""
        return False

    def records(self, path: Path) -> Iterator[Record]:
        """The lines that are not blank."""
        lines, decoder, first = open_lines(path), Decoder(), True
        for line in lines:
            lines.record.clear()
            text = line.strip(_BLANK)
            if first and re.match(r"\[\s*(\{|$)", text):
                action = 'let format be "json", or deliver each element as a line of its own'
                raise Unfit("an object a line", "a JSON array", action)
            first = first and not text
            if text:
                yield Record(f"line {lines.number}", text, _row(decoder, text))

    def texts(self, path: Path) -> Iterator[str]:
        """The lines that are not blank; see `Format.texts`."""
        if self.dialect.explode:
            action = "cut it before its arrays are exploded, by another program"
            raise Unfit("one row of each line", "raw.nested.explode, which makes several", action)
        return (record.text for record in self.records(path))


def _row(decoder: Decoder, text: str) -> Row | None:
    """The object of a line; None where it holds anything else."""
    try:
        row, end = decoder.decode(text)
    except (ValueError, RecursionError):
        return None
    return row if end == len(text) else None
