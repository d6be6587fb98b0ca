r"""Patterns of ids: the part of regular expressions that Python and Java understand in the same way.

A pattern speaks of a whole id. It may have letters; `.` for any letter; sets such as `[A-Z]` and `[^0-9]`;
groups with `|` between choices; `*`, `+`, `?` and counts such as `{2}`, `{2,}` and `{2,5}` behind a letter
or set, and `?` behind a group; and a backslash before a sign that would mean something else. Groups do
not repeat, so that no id takes longer than a few powers of its length. All else is refused, as the
languages differ there: `\d`, `\w`, `^`, `$`, flags, lazy and possessive counts, sets within sets.
"""

import re
from collections.abc import Iterable
from typing import Final

MOST_LETTERS: Final = 1000
_SIGN: Final = r"\\[!-/:-@\[-`{-~]"
_IN_SET: Final = rf"(?:{_SIGN}|[^\\\[\]^&~|-])"
_SET: Final = rf"\[\^?(?:{_IN_SET}(?:-{_IN_SET})?)+\]"
_COUNT: Final = r"(?:[*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})"
_LETTER: Final = r"[^\\^$*+?{}\[\]|().]"
_PART: Final = re.compile(rf"(?:{_LETTER}|{_SIGN}|\.|{_SET}){_COUNT}?|\((?!\?)|\)\??|\|", re.DOTALL)
_UNKNOWN: Final = (
    "expected letters, `.`, sets such as [A-Z], groups with |, `*`, `+`, `?`, {2,5} behind a letter or set, "
    "`?` behind a group, and a backslash before other signs"
)


def checked(pattern: str) -> str:
    """A pattern as it is; `ValueError` names the place (from 1) of what it may not have."""
    if not 0 < len(pattern) <= MOST_LETTERS:
        raise ValueError(f"expected a pattern of 1 to {MOST_LETTERS} letters, found {len(pattern)}")
    place = 0
    while place < len(pattern):
        part = _PART.match(pattern, place)
        if part is None:
            raise ValueError(f"{_UNKNOWN}, found {pattern[place : place + 5]!r} at place {place + 1}")
        place = part.end()
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{error.msg} at place {(error.pos or 0) + 1}, found {pattern!r}") from error
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches the whole of a text."""
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def whole(patterns: Iterable[str]) -> str:
    """One pattern for Java that finds only ids of which one of the patterns matches the whole.

    The dot stands for line ends too, of which Java knows more than Python does.
    """
    return rf"(?s)\A(?:{'|'.join(patterns)})\z"
