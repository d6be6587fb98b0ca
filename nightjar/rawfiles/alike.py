"""Ids that look alike: different texts that may stand for one user or item."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "Unicode form": lambda text: unicodedata.normalize("NFKC", text),
    "case": str.casefold,
    "blanks": lambda text: "".join(text.split()),
    "a trailing .0": lambda text: re.sub(r"\.0+$", "", text),
    "leading zeros": lambda text: re.sub(r"^0+(?=.)", "", text),
}
"""What ids may differ in without a meaning, each with the text that has lost it."""


@dataclass(frozen=True)
class Alike:
    """Ids that differ in nothing else than some of `FORMS`.

    Attributes
    ----------
    rows
        The rows of each, the most first.
    differ
        In what they differ.
    """

    rows: dict[str, int]
    differ: tuple[str, ...]


def find(rows: Mapping[str, int]) -> list[Alike]:
    """The groups of ids that look alike, those of the most rows first.

    Parameters
    ----------
    rows
        The rows of each id.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for text in rows:
        groups[_without(text)].append(text)
    alike = [_group(texts, rows) for texts in groups.values() if len(texts) > 1]
    return sorted(alike, key=lambda group: (-sum(group.rows.values()), list(group.rows)))


def _group(texts: list[str], rows: Mapping[str, int]) -> Alike:
    ordered = sorted(texts, key=lambda text: (-rows[text], text))
    differ = tuple(name for name in FORMS if len({_without(text, name) for text in texts}) > 1)
    return Alike({text: rows[text] for text in ordered}, differ)


def _without(text: str, kept: str = "") -> str:
    """An id without all that has no meaning but one."""
    for name, form in FORMS.items():
        text = text if name == kept else form(text)
    return text
