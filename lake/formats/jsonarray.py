"""JSON arrays: a file is one array, and each element of it a row, however its lines are cut.

The file is read piece by piece, and never held whole. Where an element is no JSON, nobody can tell where it
ends: the file is refused then. An element that is JSON but no object is a malformed row.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lake.formats.content import Unfit
from lake.formats.jsonrows import Decoder, JsonFormat, Record
from lake.formats.packed import unpacked

LONGEST_ELEMENT: Final = 1 << 24
"""Letters. A longer element is none of a table, and would be in memory as a whole."""

_PIECE_BYTES: Final = 1 << 20
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_LINES: Final = 'let format be "jsonl" where each row is an object in a line of its own'


class JsonArray(JsonFormat):
    """One JSON array of objects."""

    NAME = "json"
    WHAT = "a JSON array of objects", "write each row as an object"

    def records(self, path: Path) -> Iterator[Record]:
        """The elements of the array."""
        return _Elements(path).records()


class _Elements:
    """The elements of a file."""

    def __init__(self, path: Path) -> None:
        self._stream = unpacked(path)
        self._letters = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = Decoder()
        self._text, self._has_ended = "", False
        self._at = self._counted = 0
        self._line = 1

    def records(self) -> Iterator[Record]:
        """Each element, in order."""
        if self._next() != "[":
            raise Unfit("a JSON array", f"a file that begins with {self._text[:1]!r}", _LINES)
        mark = ","
        self._at += 1
        if self._next() == "]":
            mark = "]"
        while mark == ",":
            yield self._element()
            mark = self._next()
            if mark not in (",", "]"):
                raise self._unfit(f"{mark!r} behind an element" if mark else "the end of the file")
            self._at += mark == ","
        self._at += 1
        if self._next():
            raise self._unfit("more behind it")

    def _element(self) -> Record:
        """The element that begins here; more is read until it is whole."""
        self._next()
        while True:
            try:
                row, end = self._decoder.decode(self._text, self._at)
                reason = ""
            except (ValueError, RecursionError) as error:
                end, reason = len(self._text), str(error).partition(": line")[0]
            if end < len(self._text) or not self._more():  # a number may go on in the next piece
                break
            if len(self._text) > LONGEST_ELEMENT:
                reason = f"no end within {LONGEST_ELEMENT} letters"
                break
        if reason:
            raise self._unfit(f"an element that is no JSON ({reason})")
        record = Record(f"line {self._number()}", self._text[self._at : end], row)
        self._at = end
        return record

    def _next(self) -> str:
        """The next letter that is no blank; empty at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches nothing too
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _more(self) -> bool:
        """Read another piece behind what is left; False at the end of the file."""
        if self._has_ended:
            return False
        data = self._stream.read(_PIECE_BYTES)
        self._has_ended = not data
        self._number()
        try:
            self._text = self._text[self._at :] + self._letters.decode(data, final=not data)
        except UnicodeDecodeError as error:
            actual = (
                f"byte 0x{error.object[error.start]:02x} behind line {self._number()} (perhaps it is Latin-1)"
            )
            raise Unfit("text in UTF-8", actual, "deliver it in UTF-8") from None
        self._at = self._counted = 0
        return bool(data)

    def _number(self) -> int:
        """The number of the line here, counted on from where it was asked last."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _unfit(self, actual: str) -> Unfit:
        return Unfit("one whole JSON array", f"{actual} in line {self._number()}")
