"""How raw values become ours: one rule by type, used by the file check and by Spark alike.

A raw column belongs to a *family*, judged by its Arrow type. A pair of family and target either
has a rule, an SQL expression that gives null where a single value does not fit, or has none: then
the column is not castable, and the file is refused before Spark starts.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from lake.raw_sections import CatalogueSection, RawSection
from lake.schemas import (
    AMOUNT,
    CONTEXT,
    EVENT_TS,
    EVENT_TYPE,
    ID,
    INTERACTIONS,
    ITEM,
    QUANTITY,
    SEGMENT,
    USER,
    spark_type,
)
from lake.schemas import CATALOGUE as CATALOGUE_COLUMNS
from spark_jobs.sqltypes import is_small

if TYPE_CHECKING:
    import pyarrow as pa

Targets = Mapping[str, tuple[str, str]]

TEXT: Final = "text"
WHOLE: Final = "whole"
"""Integers beyond 64 bits: unsigned ones, and decimals without decimals."""
NOTHING: Final = "nothing"
"""A column whose type says that it has no value."""
OTHER: Final = "other"

_EXACT_BELOW: Final = {"float": 1 << 53, "single": 1 << 24, "half": 1 << 11}
"""Families of floats, and from where on one of them stands for several whole numbers."""


def _whole(kind: str) -> str:
    """A whole number that a float holds exactly; pandas turns integers into floats where one is missing."""
    return (
        f"CASE WHEN {{x}} = floor({{x}}) AND abs({{x}}) < {_EXACT_BELOW[kind]} THEN CAST({{x}} AS BIGINT) END"
    )


def _of_floats(template: str) -> dict[str, str]:
    """A template for each family of floats, in which {whole} is its whole number."""
    return {kind: template.replace("{whole}", _whole(kind)) for kind in _EXACT_BELOW}


# What stands around a value in a text and is no part of it: blanks of any width, line ends, byte order marks.
_BLANKS: Final = (
    " \t\r\n\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u200b\u202f\u205f\u2060\u3000\ufeff"
)
_TRIMMED: Final = f"nullif(btrim({{x}}, '{_BLANKS}'), '')"
_AS_TEXT: Final = "CAST({x} AS STRING)"
# By its shortest decimal spelling, hence 2.675 is 2.675; behind the ninth decimal is noise of binary sums.
_PLAIN: Final = (
    "coalesce(CAST(round(TRY_CAST(CAST({x} AS STRING) AS DECIMAL(38,18)), 9) AS STRING), CAST({x} AS STRING))"
)

_WORDS: Final = {
    "string": _TRIMMED,
    TEXT: _TRIMMED,
    **_of_floats("coalesce(CAST({whole} AS STRING), CAST({x} AS STRING))"),
}
_NUMBER_WORDS: Final = _WORDS | _of_floats(_PLAIN)

# 123.0 is what pandas writes of 123 where another id of the column is missing.
_INTEGER_TEXT: Final = (
    "CASE WHEN {w} RLIKE '^[+-]?[0-9]+([.]0+)?$' THEN TRY_CAST(split_part({w}, '.', 1) AS BIGINT) END"
)
_INTEGER: Final = {"integer": "CAST({x} AS BIGINT)", TEXT: _INTEGER_TEXT, **_of_floats("{whole}")}
_IDENTITY: Final = {
    "integer": _AS_TEXT,
    "string": "{w}",
    TEXT: "{w}",
    **_of_floats("CAST({whole} AS STRING)"),
}
_GIVEN: Final = "CASE WHEN {w} IS NOT NULL THEN {x} END"
_STRING: Final = {
    "integer": "{w}",
    **_of_floats("{w}"),
    "decimal": "{w}",
    "boolean": "{w}",
    "string": _GIVEN,
    TEXT: _GIVEN,
}
# No exponents, thousand marks, NaN or Infinity: what is no plain number is not guessed at.
_PLAIN_NUMBER: Final = (
    "CASE WHEN {w} RLIKE '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)$' THEN TRY_CAST({w} AS {target}) END"
)
_NUMBER: Final = dict.fromkeys(("integer", *_EXACT_BELOW, "decimal", TEXT), _PLAIN_NUMBER)

# Beyond these years Spark's own shift from zone to zone overflows, and ends the job.
_SANE: Final = "CASE WHEN {x} >= {kind}'0001-01-02' AND {x} < {kind}'9999-12-31' THEN {shifted} END"
_MIDNIGHT: Final = "to_utc_timestamp({local}, '{zone}')"
# An hour that a zone's clocks skip comes back changed: no such stamp can be right.
_THERE: Final = f"CASE WHEN from_utc_timestamp({_MIDNIGHT}, '{{zone}}') = {{local}} THEN {_MIDNIGHT} END"
_LOCAL: Final = _SANE.format(x="{local}", kind="TIMESTAMP", shifted=_THERE)

# The stamps that are read, in capitals: a date; with a time of hours and minutes, seconds, 1 to 9 decimals;
# with Z, UTC, GMT or an offset of hours and minutes. Spark's own cast knows more forms, and shifts by them.
_DATE: Final = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
_TIME: Final = "([0-9]{2}:[0-9]{2})(:[0-9]{2}([.][0-9]{1,9})?)?"
_OFFSET: Final = "(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)"
_STAMP_PATTERN: Final = f"^{_DATE}[T ]{_TIME} ?{_OFFSET}?$".replace("{", "{{").replace("}", "}}")


def _part(number: int) -> str:
    return f"regexp_extract(upper({{w}}), '{_STAMP_PATTERN}', {number})"


_SECONDS: Final = f"coalesce(nullif({_part(3)}, ''), ':00')"
_CLOCK: Final = f"TRY_CAST(concat({_part(1)}, ' ', {_part(2)}, {_SECONDS}, {_part(5)}) AS TIMESTAMP)"
_ONLY_DATE: Final = "{w} RLIKE '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'"
_STAMP_TEXT: Final = (
    f"CASE WHEN {_ONLY_DATE} THEN {_MIDNIGHT.format(local='TRY_CAST({w} AS TIMESTAMP)', zone='{zone}')} "
    f"WHEN {_part(5)} <> '' THEN {_CLOCK} ELSE {_LOCAL.format(local=_CLOCK, zone='{zone}')} END"
)
_STAMP: Final = {
    "instant": "{x}",
    "local": _LOCAL.format(local="CAST({x} AS TIMESTAMP)", zone="{zone}"),
    "instant_ns": "timestamp_micros({x} DIV 1000)",
    "local_ns": _LOCAL.format(local="timestamp_micros({x} DIV 1000)", zone="{zone}"),
    "date": _SANE.format(
        x="{x}", kind="DATE", shifted=_MIDNIGHT.format(local="CAST({x} AS TIMESTAMP)", zone="{zone}")
    ),
    "string": _STAMP_TEXT,
    TEXT: _STAMP_TEXT,
}


def family(kind: "pa.DataType") -> str:
    """The family of an Arrow type; ``other`` where no rule knows it."""
    import pyarrow.types as is_

    if is_.is_timestamp(kind):
        return ("instant" if kind.tz else "local") + ("_ns" if kind.unit == "ns" else "")
    if is_.is_dictionary(kind):
        return family(kind.value_type)
    if is_.is_decimal(kind):
        return TEXT if not is_small(kind) else "decimal" if kind.scale else WHOLE
    tests = {
        WHOLE: is_.is_uint64,
        "integer": is_.is_integer,
        "half": is_.is_float16,
        "single": is_.is_float32,
        "float": is_.is_floating,
        "boolean": is_.is_boolean,
        "string": _is_text,
        "date": is_.is_date,
        NOTHING: is_.is_null,
    }
    return next((name for name, test in tests.items() if test(kind)), OTHER)


def _is_text(kind: "pa.DataType") -> bool:
    """Texts of any layout, and UUIDs and JSON, which are read as text."""
    return str(kind) in {
        "string",
        "large_string",
        "string_view",
        "extension<arrow.uuid>",
        "extension<arrow.json>",
    }


def rule(target: str, found: str, id_type: str) -> str | None:
    """The SQL template that turns a column of a family into one of our types; None where there is none.

    Parameters
    ----------
    target
        One of the types of `lake.schemas`: ``id``, ``string``, ``timestamp`` or ``decimal(p,s)``.
    found
        The family of the raw column.
    """
    if found == NOTHING:
        return f"CAST(NULL AS {spark_type(target, id_type)})"
    if found == WHOLE:
        if target == ID:
            return "TRY_CAST({x} AS BIGINT)" if id_type == "int64" else "CAST({x} AS STRING)"
        found = "decimal"
    if target == ID:
        return (_INTEGER if id_type == "int64" else _IDENTITY).get(found)
    if target == "timestamp":
        return _STAMP.get(found)
    return (_NUMBER if target.startswith("decimal") else _STRING).get(found)


def expression(value: str, target: str, found: str, id_type: str, zone: str, told: str = "") -> str:
    """The SQL expression that casts a raw value; null where it does not fit.

    Parameters
    ----------
    value
        SQL of the raw value, such as a quoted column.
    zone
        The time zone of stamps that name none.
    told
        SQL of the value's `words`, where they are a column already.

    Raises
    ------
    KeyError
        When no rule casts the family; the file check refuses such a file first.
    """
    template = rule(target, found, id_type)
    if template is None:
        raise KeyError(f"no rule casts {found} to {target}")
    return template.format(x=value, w=told or words(value, target, found), target=target, zone=zone)


def words(value: str, target: str, found: str) -> str:
    """The SQL expression of a raw value as text in one spelling, without blanks; null where none is given.

    A text of nothing but blanks is no value, whatever the format. Of a number for one of ours it is
    its plain decimal spelling, which shows a sign or digits that the cast value has lost.
    """
    templates = _NUMBER_WORDS if target.startswith("decimal") else _WORDS
    return templates.get(found, _AS_TEXT).format(x=value)


def quoted(column: str) -> str:
    """A raw column's name as SQL."""
    return "`" + column.replace("`", "``") + "`"


def raw_targets(raw: RawSection) -> Targets:
    """Our columns that the data set's events have: name -> (raw column, our type)."""
    names = (USER, ITEM, EVENT_TS, EVENT_TYPE, QUANTITY, AMOUNT, CONTEXT, SEGMENT)
    mapped = {name: getattr(raw.columns, name) for name in names}
    return {name: (column, INTERACTIONS[name]) for name, column in mapped.items() if column}


def catalogue_targets(catalogue: CatalogueSection) -> Targets:
    """The same for the catalogue; its columns beyond these become attributes."""
    mapped = catalogue.columns.model_dump()
    return {name: (column, CATALOGUE_COLUMNS[name]) for name, column in mapped.items() if column}
