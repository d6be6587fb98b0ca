"""JSON objects of the release format, read field by field.

A known field must have exactly the type and range that ``docs/release-format.md`` gives it. An unknown
field was added by a later writer and is ignored. If ignoring it would make answers wrong, that writer
raises ``min_reader``.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nightjar_reader_v1.errors import FormatError

FORMAT = 1
READER = 1
"""The version of this reader, which refuses files of a higher ``min_reader``."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_STAMP = re.compile(rf"{_DAY.pattern}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,9}})?(Z|\+00:00)")
_HEX = re.compile(r"[0-9a-f]{64}")
_SHOWN = 80  # characters of a value, so that a message stays readable


@dataclass(frozen=True)
class Rule:
    """What the value of a field must be.

    Attributes
    ----------
    expected
        What it must be, in words.
    holds
        Tells whether a value is right.
    is_optional
        Whether the field may be absent.
    """

    expected: str
    holds: Callable[[Any], bool]
    is_optional: bool = False


def is_text(value: Any) -> bool:
    """Whether a value is a text that UTF-8 can hold (JSON can spell half of a surrogate pair)."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_day(value: Any) -> bool:
    """Whether a value is a day of the calendar, as ``YYYY-MM-DD``."""
    return isinstance(value, str) and _DAY.fullmatch(value) is not None and _is_moment(value)


def is_integer(value: Any, least: int = 0) -> bool:
    """Whether a value is a whole number of at least `least`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether a value is a number that a double can hold; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_sha256(value: Any) -> bool:
    """Whether a value is 64 hex digits in lower case."""
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_stamp(value: Any) -> bool:
    return isinstance(value, str) and _STAMP.fullmatch(value) is not None and _is_moment(value)


def _is_moment(text: str) -> bool:
    try:
        dt.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


TEXT = Rule("a text", is_text)
WORD = Rule("a text that is not empty", lambda value: is_text(value) and value.strip() != "")
DAY = Rule("a day, YYYY-MM-DD", is_day)
STAMP = Rule("a moment in UTC, such as 2017-10-01T02:41:07Z", _is_stamp)
SHA256 = Rule("64 hex digits in lower case", is_sha256)
COUNT = Rule("a whole number from 0 on", is_integer)
POSITIVE = Rule("a whole number above 0", lambda value: is_integer(value, 1))
NUMBER = Rule("a number", is_number)
BOOLEAN = Rule("true or false", lambda value: isinstance(value, bool))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
LIST = Rule("a list", lambda value: isinstance(value, list))


def or_null(rule: Rule) -> Rule:
    """The same rule, with null allowed."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.holds(value))


def optional(rule: Rule) -> Rule:
    """The same rule, for a field that may be absent."""
    return Rule(rule.expected, rule.holds, is_optional=True)


def list_of(rule: Rule) -> Rule:
    """A list whose values all follow the rule."""
    return Rule(
        f"a list, each {rule.expected}", lambda value: isinstance(value, list) and all(map(rule.holds, value))
    )


def object_of(rule: Rule) -> Rule:
    """An object whose values all follow the rule."""
    return Rule(
        f"an object, each value {rule.expected}",
        lambda value: isinstance(value, dict) and all(map(rule.holds, value.values())),
    )


def check(value: Any, rules: Mapping[str, Rule], what: str, at: str = "") -> dict[str, Any]:
    """Take the fields that the rules name from an object; other fields are ignored.

    Parameters
    ----------
    what
        What the object is part of, for the message.
    at
        Where the object stands in it, such as ``releases[0]``.

    Raises
    ------
    FormatError
        Names the first field that is missing or wrong, with what was expected and what was found.
    """
    require(value, OBJECT, what, at)
    prefix = f"{at}." if at else ""
    for name, rule in rules.items():
        if name in value:
            require(value[name], rule, what, prefix + name)
        elif not rule.is_optional:
            raise FormatError(f"{what}: without {prefix}{name}, expected {rule.expected}")
    return {name: value[name] for name in rules if name in value}


def require(value: Any, rule: Rule, what: str, at: str) -> None:
    """Raise `FormatError`, which names the field, if the value breaks the rule."""
    if not rule.holds(value):
        raise FormatError(
            f"{what}: expected {at + ' to be ' if at else ''}{rule.expected}, found {shown(value)}"
        )


def shown(value: Any) -> str:
    """A value as messages show it, cut at a length."""
    text = ascii(value) if isinstance(value, str) and not is_text(value) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def read_object(data: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object from the bytes of a file.

    Raises
    ------
    FormatError
        When the bytes are no JSON object in UTF-8, or hold a name twice.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what}: expected JSON in UTF-8, found {len(data)} bytes: {error}") from error
    require(value, OBJECT, what, "")
    return dict(value)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the pairs. A repeated name is refused, as languages differ in which value they take."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in names if names.count(name) > 1))} is there twice")
    return value


def require_version(value: Mapping[str, Any], what: str) -> None:
    """Refuse a file that is for later readers only; call this before its fields are checked.

    Raises
    ------
    FormatError
        When it is of another format, or asks for a newer reader.
    """
    version = value.get("format")
    if not (is_integer(version) and version == FORMAT):
        raise FormatError(f"{what}: expected format {FORMAT}, found {shown(version)}; update the reader")
    least = value.get("min_reader", 1)
    require(least, POSITIVE, what, "min_reader")
    if least > READER:
        raise FormatError(
            f"{what}: needs reader {least} (min_reader), this is reader {READER}; update the reader"
        )
