"""Quotes in the lines of CSV files: which values stand in them, and whether one was never closed.

The parser of `lake/formats/csvfile.py` takes a quote that is not closed for a long value. What
stands in that value then looks like rows; here it is found.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lake.formats.dialect import CsvSection

_NEVER: Final = re.compile("(?!)")
_MASK: Final = "\0\0"
"""What stands for an escape and the letter behind it: as long, and never a delimiter or a quote."""
STAND_IN: Final = "\udfff"
"""What stands for a delimiter of several letters, which Python's parser does not know: half a letter, which
no text has that was decoded."""


class Quotes:
    """The quotes of one dialect, by its delimiter, quote and escape.

    Attributes
    ----------
    options
        Delimiter and quote for `csv.reader`.
    """

    def __init__(self, dialect: CsvSection) -> None:
        self._quote, self._escape = dialect.quote, dialect.escape
        mark = dialect.delimiter if len(dialect.delimiter) == 1 else STAND_IN
        self.options: dict[str, Any] = {"delimiter": mark, "quotechar": dialect.quote}
        if not dialect.quote:
            self.options |= {"quotechar": None, "quoting": csv.QUOTE_NONE}
        letters = dialect.delimiter, dialect.quote, dialect.escape
        delimiter, quote, escape = (re.escape(letter) for letter in letters)
        self._quoted = self._behind_a_blank = self._escaped = _NEVER
        if quote:
            self._quoted = _quoted(delimiter, quote)
            self._behind_a_blank = re.compile(rf"(?:^|{delimiter})[^\S\r\n{delimiter}]+{quote}")
        if escape:
            self._escaped = re.compile(rf"{escape}[^\r\n]")

    def masked(self, text: str) -> str:
        """A text in which no letter is escaped, each at its place."""
        return self._escaped.sub(_MASK, text) if self._escape and self._escape in text else text

    def is_odd(self, text: str) -> bool:
        """Whether the text of a record, masked, has a quote or an escape that the parser takes for text.

        That is a quote behind a blank; with escapes, a quote that is written twice, and an escape before
        a line end.
        """
        if self._escape and (self._escape in text or self._has_doubled(text)):
            return True
        if self._quote not in text or not self._behind_a_blank.search(text):
            return False
        return bool(self._behind_a_blank.search(self._quoted.sub(lambda _: 2 * self._quote, text)))

    def _has_doubled(self, text: str) -> bool:
        """Whether a quote within a value is written twice."""
        return any(2 * self._quote in value[0][1:] for value in self._quoted.finditer(text))

    def line_breaks(self, lines: Sequence[str]) -> Iterator[tuple[int, int]]:
        """The first and the last line of each value of a record, masked, that has a line end in it."""
        text = "".join(lines) if len(lines) > 1 else ""
        for value in self._quoted.finditer(text):
            if "\n" in value[0]:
                first = text.count("\n", 0, value.start())
                yield first, first + value[0].count("\n")

    def swallowed(self, lines: Sequence[str], width: int) -> bool:
        """Whether the lines of one value look like rows of their own: its quote was not closed.

        Half of the lines between the first and the last are enough; without any, both of these have to.
        """
        inner = [line for line in lines[1:-1] if line.strip()]
        if inner:
            return 2 * sum(self._width(line) == width for line in inner) >= len(inner)
        return self._may_be_row(lines[0], width) and self._width(lines[-1]) == width

    def _may_be_row(self, line: str, width: int) -> bool:
        """Whether a line would be a row if its open quote were closed somewhere, or left out."""
        opened = self.last(line)
        return self._width(line) <= width <= self._width(line[:opened] + line[opened + 1 :])

    def _width(self, line: str) -> int:
        """How many values a line has when it is read alone; 0 where it cannot be read."""
        try:
            return len(next(csv.reader([line], **self.options), ()))
        except csv.Error:
            return 0

    def last(self, text: str) -> int:
        """Where the last value in quotes of a masked text opens."""
        return max((match.start() for match in self._quoted.finditer(text)), default=0)


def _quoted(delimiter: str, quote: str) -> re.Pattern[str]:
    """A value in quotes, up to the end of the text where it is not closed."""
    opened = rf"(?:^|(?<=[{delimiter}\n])){quote}"
    inner = f"[^{quote}]*(?:{quote}{quote}[^{quote}]*)*"
    return re.compile(rf"{opened}{inner}(?:{quote}(?!{quote})|\Z)")
