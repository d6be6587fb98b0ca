"""The dialects of formats, as a data set's TOML tells them."""

from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from lake.kinds import Section, Sequence, Text
from lake.raw_kinds import Delimiter, Encoding, Letter, LetterOrNone


class CsvSection(Section):
    """The dialect of files whose format is CSV, TSV among them; the default is that of RFC 4180."""

    delimiter: Delimiter = ","
    r"""What stands between two values, such as a semicolon, or `"\t"` for a tab."""
    quote: LetterOrNone = '"'
    """What stands around a value that holds a delimiter or a line end; none where quotes are only letters."""
    escape: LetterOrNone = ""
    """What stands before a quote, a delimiter or itself in a value; without it a quote is written twice."""
    encoding: Encoding = "utf-8"
    """The encoding of the files; a byte order mark is no part of their first line."""
    columns: Sequence[Text] = ()
    """The names of all columns in their order, for files without a header: the first line is then a row."""
    nulls: Sequence[Text] = ()
    r"""What stands for no value, as the empty text does, such as `NULL` or `\\N`; it is the whole value."""
    comment: str = Field(default="", pattern=r"^(\S(.*\S)?)?$")
    """What lines begin with that are no rows; without it all are."""
    decimal: Letter = "."
    """The mark of decimals in the columns that hold quantity and amount."""
    thousands: LetterOrNone = ""
    """The mark between groups of three digits of these numbers, where they have one."""

    @field_validator("comment")
    @classmethod
    def _begins_no_row(cls, comment: str, info: ValidationInfo) -> str:
        for name in ("delimiter", "quote", "escape"):
            if comment and info.data.get(name, "").startswith(comment[0]):
                raise ValueError(f"expected a text that begins no row, {comment[0]!r} is {name} already")
        return comment

    @field_validator("quote", "escape")
    @classmethod
    def _is_read_with_the_delimiter(cls, letter: str, info: ValidationInfo) -> str:
        if letter and len(info.data.get("delimiter", "")) > 1:
            raise ValueError('expected none (""), as delimiter has several letters')
        return letter

    @field_validator("decimal", "thousands")
    @classmethod
    def _is_no_part_of_digits(cls, mark: str) -> str:
        if mark and (mark.isalnum() or mark in "+-"):
            raise ValueError("expected a mark that is no digit, letter or sign")
        return mark

    @field_validator("quote", "escape", "decimal", "thousands")
    @classmethod
    def _has_one_meaning(cls, letter: str, info: ValidationInfo) -> str:
        """Refuse a letter that an earlier key has; a number in quotes may hold the delimiter."""
        is_mark = info.field_name in ("decimal", "thousands")
        is_held = is_mark and (info.data.get("quote") or info.data.get("escape"))
        for name, taken in info.data.items():
            if letter and taken == letter and not (name == "delimiter" and is_held):
                raise ValueError(f"expected a letter of its own, {letter!r} is {name} already")
        return letter


RFC_4180: Final = CsvSection()


class NestedSection(Section):
    """How rows are made of nested JSON; the default is a row of each object."""

    explode: Text | None = None
    """The array, by its name or path, of which each element is a row, with the fields around it beside it."""


FLAT: Final = NestedSection()
