"""Kinds of values that say what raw files and their rows are like.

Bounds are as in `lake.kinds`.
"""

import codecs
import datetime as dt
import re
from encodings.aliases import aliases
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from lake import patterns
from lake.day_files import FIELDS, HOUR
from lake.kinds import Day, Sequence, Text, form
from lake.stamps import require_form
from lake.toml import FOLDER, near
from nightjar_reader.fields import is_day

_FIELD = re.compile(r"\{([^{}]*)\}")
MOST_LINES = 10_000
"""The most ids of a list: each is part of the rules by which every row is judged."""
UNIT_BYTES = {
    "utf-16": 2,
    "utf-16-le": 2,
    "utf-16-be": 2,
    "utf-32": 4,
    "utf-32-le": 4,
    "utf-32-be": 4,
}
"""The encodings in which no letter is of one byte, and the bytes of their units."""
# All of ASCII, and what encodings with escapes of their own read as other text: those of Python, of domain
# names and of ISO 2022, whose escapes hold beyond the line.
_ASCII = bytes(range(128)).replace(b"\\", b"") + rb"\u000a.xn--mnchen-3ya" + b'\x1b$B$"\x1b(B'


def _template(files: str) -> str:
    parts = _of_a_day(files)
    if "**" in files:
        raise ValueError("expected each * within one name: write the folders one by one, as in */*")
    if hidden := [part for part in parts if part[0] in "._"]:
        raise ValueError(f"expected names that Spark does not hide, unlike {hidden[0]!r}")
    return files


def _mark(path: str) -> str:
    if {".", ".."} & set(_of_a_day(path)) or "*" in path:
        raise ValueError("expected the path of one file below NIGHTJAR_RAW, without * and ..")
    return path


def _of_a_day(path: str) -> list[str]:
    """The names in a path; refuse one that does not name the day, or is none below a folder."""
    fields = set(_FIELD.findall(path))
    unknown = fields - FIELDS.keys() - {HOUR} or set("{}") & set(_FIELD.sub("", path))
    if unknown or not ("partition" in fields or FIELDS.keys() - {"partition"} <= fields):
        raise ValueError(
            "must contain {partition}, or {year}, {month} and {day}, and no other field than {hour}"
        )
    if not path.isprintable() or set("\\?[]") & set(path):
        raise ValueError("expected a path without backslashes, control characters and wildcards but *")
    parts = path.split("/")
    if "" in parts:
        raise ValueError("expected a path below NIGHTJAR_RAW, without a slash at an end or two in a row")
    if spaced := [part for part in parts if part != part.strip()]:
        raise ValueError(f"expected no blanks at the ends of a name, as in {spaced[0]!r}")
    return parts


def _calendar(value: Any, info: ValidationInfo) -> Any:
    """The days of the file that a TOML names; a plan has them as texts."""
    if not info.context or value == ():  # the default
        return [_date(day, "a plan") for day in value]
    if not isinstance(value, str) or not value:
        raise ValueError("expected the path of a file of dates, beside this one")
    path = Path(info.context[FOLDER], value)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a file of dates in UTF-8, found {path}: {error}") from error
    dates = ((number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1))
    return sorted({_date(text, f"line {number} of {path}") for number, text in dates if text})


def _date(text: str, place: str) -> dt.date:
    if not is_day(text):
        raise ValueError(f"expected a date such as 2024-12-25, found {text!r} in {place}")
    return dt.date.fromisoformat(text)


def _letter(text: str) -> str:
    if len(text) != 1 or text in "\r\n\0":
        raise ValueError("expected one letter, which is no line end")
    return text


def _letter_or_none(text: str) -> str:
    return text and _letter(text)


def _letters(text: str) -> str:
    if not text or set(text) & set("\r\n\0"):
        raise ValueError("expected a letter or several, none of which is a line end")
    return text


def _encoding(name: str) -> str:
    """Python's own name of an encoding, so that all names of one are the same setting."""
    try:
        known = codecs.lookup(name).name.removesuffix("-sig")
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"expected an encoding that Python knows, such as latin-1, cp1252 or utf-16{near(name, aliases)}"
        ) from error
    if known not in UNIT_BYTES and not _holds_ascii(known):
        raise ValueError("expected an encoding of text whose lines can be read one by one, such as utf-8")
    return known


def _holds_ascii(encoding: str) -> bool:
    """Whether each byte of ASCII stands for itself, line ends among them."""
    try:
        return _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except (LookupError, ValueError):
        return False


def _lines(listed: Any, info: ValidationInfo) -> Any:
    """The lines of a file that a TOML names; a plan holds the lines themselves."""
    if not info.context or listed == ():
        return listed
    if not isinstance(listed, str) or not listed:
        raise ValueError("expected the path of a file of ids, beside this one")
    path = Path(info.context[FOLDER], listed)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a file of ids in UTF-8, found {path}: {error}") from error
    lines = sorted({line.strip() for line in text.split("\n")} - {""})
    if not 0 < len(lines) <= MOST_LINES:
        raise ValueError(f"expected 1 to {MOST_LINES:,} ids, one a line, found {len(lines):,} in {path}")
    return lines


Template = Annotated[
    str,
    AfterValidator(_template),
    form(
        "a relative path with `{partition}`, or `{year}`, `{month}` and `{day}`; `{hour}` and `*` where a "
        "day has several files; no `..`, backslash, empty part, or name that begins with `_` or `.`"
    ),
]
Mark = Annotated[
    str,
    AfterValidator(_mark),
    form("a relative path with fields as in `files`, without `*`; names may begin with `_` or `.`"),
]
StampForm = Annotated[
    str,
    AfterValidator(require_form),
    form(
        "`iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a pattern of Python's `strptime` with "
        "`%Y %y %m %b %B %d %a %A %H %I %p %M %S %f %z`"
    ),
]
Letter = Annotated[str, AfterValidator(_letter), form("one letter, no line end")]
LetterOrNone = Annotated[str, AfterValidator(_letter_or_none), form("one letter, no line end, or none")]
Delimiter = Annotated[
    str,
    AfterValidator(_letters),
    form("one letter, or several (`::`) where `quote` and `escape` are none; no line end"),
]
Encoding = Annotated[
    str,
    AfterValidator(_encoding),
    form(
        "a text encoding of Python in which the bytes of ASCII stand for themselves (`latin-1`, `cp1252`, "
        "`gb18030`), or `utf-16` or `utf-32`, with a byte order mark or with `-le` or `-be` behind the name"
    ),
]
Pattern = Annotated[
    str,
    AfterValidator(patterns.checked),
    form("a [pattern](data-sets.md#patterns) of the whole id"),
]
LARGEST_WEIGHT_BITS = 16
LARGEST_WEIGHT = 2.0**LARGEST_WEIGHT_BITS
"""The largest weight of an event, so that sums of decayed weights fit longs (`spark_jobs.weights`)."""
Weight = Annotated[float, Ge(0), Le(LARGEST_WEIGHT)]
Calendar = Annotated[
    tuple[Day, ...],
    Field(strict=False),
    BeforeValidator(_calendar),
    WithJsonSchema(
        {
            "type": "string",
            "form": "a path from the TOML's folder; the file has a date a line, `#` before remarks",
        }
    ),
]
ListFile = Annotated[
    Sequence[Text],
    BeforeValidator(_lines),
    WithJsonSchema(
        {
            "type": "string",
            "form": f"a path from the TOML's folder; the file has an id a line, at most {MOST_LINES:,}",
        }
    ),
]
"""The lines of a text file that lies beside the TOML; sorted, so that their order is no other setting."""

SENTINELS = (
    "-1",
    "null",
    "(null)",
    "<null>",
    "[null]",
    "{null}",
    "\\n",
    "nil",
    "(nil)",
    "<nil>",
    "none",
    "(none)",
    "<none>",
    "nan",
    "-nan",
    "+nan",
    "nat",
    "1.#ind",
    "-1.#ind",
    "1.#qnan",
    "-1.#qnan",
    "n/a",
    "<na>",
    "#n/a",
    "#n/a n/a",
    "#na",
    "#value!",
    "#ref!",
    "#name?",
    "#div/0!",
    "#num!",
    "#null!",
    "#error!",
    "(not set)",
    "undefined",
    "[object object]",
    "-2147483648",
    "-9223372036854775808",
    "00000000-0000-0000-0000-000000000000",
)
"""What stands for nobody in the exports that we know of. Not 0, `na` and `unknown`: they may be real ids."""

LARGEST_NUMBER = 10**12
"""The highest bound of a quantity or an amount: each sum of the features can hold 10**13 rows of it."""
