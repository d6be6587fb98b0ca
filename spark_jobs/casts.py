"""Where raw columns become ours: the SQL expression that casts a raw column to one of our types.

Each raw column has a *family*, by its type in the file (`lake/formats/families.py`); columns of CSV and
JSON lines are all of the family `TEXT`. For each of our types and each family, `rule` has an SQL template
or None. None means that the family cannot be cast without loss: `nightjar/rawfiles/check.py` then refuses the
file before Spark starts. Otherwise `expression` fills in the template, and `spark_jobs/judge.py` selects
it as our column. A value that does not fit becomes null, and `validation/rules.py` says whether its row
is set aside.

Of a text: a blank one is null; ids are trimmed; other strings stay as they are; numbers have to be
plain decimal digits, with the marks of decimals and thousands that the data set names for CSV; stamps
have to be ISO dates, or ISO times with or without an offset, or of the forms that the data set names
(`lake.stamps`). A stamp without an offset is a time in the data set's zone.
"""

from collections.abc import Sequence
from typing import Final

from lake import stamps as forms
from lake.formats.content import Targets
from lake.formats.dialect import RFC_4180, CsvSection
from lake.formats.families import NOTHING, OTHER, TEXT, WHOLE
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
from spark_jobs.patterns import iso

_EXACT_BELOW: Final = {"float": 1 << 53, "single": 1 << 24, "half": 1 << 11}
"""For each family of floats the bound below which every whole number has a float of its own."""


def _whole(kind: str) -> str:
    """The whole number that a float holds exactly, else null.

    Ids arrive as floats because pandas turns a column of integers into floats where one is missing
    (pandas-dev/pandas#20717).
    """
    return (
        f"CASE WHEN {{x}} = floor({{x}}) AND abs({{x}}) < {_EXACT_BELOW[kind]} THEN CAST({{x}} AS BIGINT) END"
    )


def _of_floats(template: str) -> dict[str, str]:
    """A template for each family of floats, with that family's `_whole` in place of {whole}."""
    return {kind: template.replace("{whole}", _whole(kind)) for kind in _EXACT_BELOW}


# Trimmed from both ends of a text: blanks of any width, line ends, byte order marks. btrim alone trims only
# the plain blank.
BLANKS: Final = (
    " \t\r\n\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u200b\u202f\u205f\u2060\u3000\ufeff"
)
_TRIMMED: Final = f"nullif(btrim({{x}}, '{BLANKS}'), '')"
_AS_TEXT: Final = "CAST({x} AS STRING)"
_STAMP_TARGET: Final = "timestamp"
# By its shortest decimal spelling, hence 2.675 is 2.675; behind the ninth decimal is noise of binary sums.
_PLAIN: Final = (
    "coalesce(CAST(round(TRY_CAST(CAST({x} AS STRING) AS DECIMAL(38,18)), 9) AS STRING), CAST({x} AS STRING))"
)

_NORMALIZED: Final = {
    "string": _TRIMMED,
    TEXT: _TRIMMED,
    **_of_floats("coalesce(CAST({whole} AS STRING), CAST({x} AS STRING))"),
}
_NUMBER_TEXT: Final = _NORMALIZED | _of_floats(_PLAIN)
_STAMP_WORDS: Final = _NORMALIZED | _of_floats(f"coalesce(CAST({{whole}} AS STRING), {_PLAIN})")

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
_NOT_BLANK: Final = "CASE WHEN {w} IS NOT NULL THEN {x} END"
_STRING: Final = {
    "integer": "{w}",
    **_of_floats("{w}"),
    "decimal": "{w}",
    "boolean": "{w}",
    "string": _NOT_BLANK,
    TEXT: _NOT_BLANK,
}
# No exponents, thousand marks, NaN or Infinity: what is no plain number is not guessed at.
_PLAIN_NUMBER: Final = (
    "CASE WHEN {w} RLIKE '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)$' THEN TRY_CAST({w} AS {target}) END"
)
_NUMBER: Final = dict.fromkeys(("integer", *_EXACT_BELOW, "decimal", TEXT), _PLAIN_NUMBER)

# Beyond these years Spark's own shift from zone to zone overflows, and ends the job.
_IN_RANGE: Final = "CASE WHEN {x} >= {kind}'0001-01-02' AND {x} < {kind}'9999-12-31' THEN {shifted} END"
_MIDNIGHT: Final = "to_utc_timestamp({local}, '{zone}')"
# An hour that a zone's clocks skip comes back changed: no such stamp can be right.
_VALID_LOCAL: Final = (
    f"CASE WHEN from_utc_timestamp({_MIDNIGHT}, '{{zone}}') = {{local}} THEN {_MIDNIGHT} END"
)
_LOCAL: Final = _IN_RANGE.format(x="{local}", kind="TIMESTAMP", shifted=_VALID_LOCAL)

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
    "date": _IN_RANGE.format(
        x="{x}", kind="DATE", shifted=_MIDNIGHT.format(local="CAST({x} AS TIMESTAMP)", zone="{zone}")
    ),
    "string": _STAMP_TEXT,
    TEXT: _STAMP_TEXT,
}


# A plain number, of whose decimals nine count.
_DIGITS: Final = "'^([+-]?[0-9]{{1,20}}([.][0-9]{{0,9}})?)[0-9]*$'"
_NUMBER_OF: Final = f"TRY_CAST(regexp_extract({{w}}, {_DIGITS}, 1) AS DECIMAL(29,9))"
_MICROS: Final = f"floor({_NUMBER_OF} * {{unit}}BD)"
_FIRST_MICRO, _LAST_MICRO = -62_135_510_400_000_000, 253_402_214_399_999_999  # as `_IN_RANGE`
_EPOCH: Final = (
    f"CASE WHEN {_MICROS} BETWEEN {_FIRST_MICRO} AND {_LAST_MICRO} "
    f"THEN timestamp_micros(CAST({_MICROS} AS BIGINT)) END"
)
# The families that may be of any form. A float of 32 bits holds no moment: this year's are two minutes apart.
_OF_FORMS: Final = {
    **dict.fromkeys(("integer", "decimal", WHOLE, "string", TEXT), "{read}"),
    "float": f"CASE WHEN abs({{x}}) < {_EXACT_BELOW['float']} THEN {{read}} END",
}


def _stamp(raw_family: str, stamps: Sequence[str]) -> str | None:
    """The template of stamps in some forms; the words of those in a pattern are ISO stamps already."""
    is_text = raw_family in ("string", TEXT)
    if not stamps or raw_family not in _OF_FORMS or not (is_text or set(stamps) - {forms.ISO}):
        return _STAMP.get(raw_family)
    units = [unit for form, unit in forms.EPOCHS.items() if form in stamps]
    read = [_EPOCH.replace("{unit}", unit) for unit in units] + [_STAMP_TEXT]
    return _OF_FORMS[raw_family].replace("{read}", f"coalesce({', '.join(read)})")


def rule(target: str, raw_family: str, id_type: str, stamps: Sequence[str] = ()) -> str | None:
    """The SQL template that turns a column of a family into one of our types; None where there is none.

    Parameters
    ----------
    target
        One of the types of `lake.schemas`: ``id``, ``string``, ``timestamp`` or ``decimal(p,s)``; or `TEXT`,
        the normalized text, for parts of the event key.
    raw_family
        The family of the raw column.
    stamps
        The forms of stamps that the data set names.
    """
    if target == TEXT:
        return None if raw_family == OTHER else "{w}"
    if raw_family == NOTHING:
        return f"CAST(NULL AS {spark_type(target, id_type)})"
    if raw_family == WHOLE:
        if target == ID:
            return "TRY_CAST({x} AS BIGINT)" if id_type == "int64" else "CAST({x} AS STRING)"
        raw_family = "decimal"
    if target == ID:
        return (_INTEGER if id_type == "int64" else _IDENTITY).get(raw_family)
    if target == _STAMP_TARGET:
        return _stamp(raw_family, stamps)
    return (_NUMBER if target.startswith("decimal") else _STRING).get(raw_family)


def expression(
    value: str,
    target: str,
    raw_family: str,
    id_type: str,
    zone: str,
    text: str = "",
    stamps: Sequence[str] = (),
) -> str:
    """The SQL expression that casts a raw value to one of our types; null where the value does not fit.

    Parameters
    ----------
    value
        SQL of the raw value, such as a quoted column.
    zone
        The time zone of stamps that name none.
    text
        SQL of the value's `normalized` text, where that is a column already.
    stamps
        The forms of stamps that the data set names.

    Raises
    ------
    KeyError
        When no rule casts the family; the file check refuses such a file first.
    """
    template = rule(target, raw_family, id_type, stamps)
    if template is None:
        raise KeyError(f"no rule casts {raw_family} to {target}")
    text = text or normalized(value, target, raw_family, stamps=stamps)
    return template.format(x=value, w=text, target=target, zone=zone)


def normalized(
    value: str, target: str, raw_family: str, csv: CsvSection = RFC_4180, stamps: Sequence[str] = ()
) -> str:
    """The SQL expression of a raw value as trimmed text; null where it is missing or only blanks.

    For a decimal target a float is spelled in plain decimals, and a text with the marks of its CSV file in
    those of SQL, so that a rule of rows sees a sign or digits that the cast drops. A stamp in one of the
    data set's forms is an ISO stamp, or a plain number.
    """
    is_number = target.startswith("decimal")
    if target == _STAMP_TARGET and stamps and raw_family in _OF_FORMS:
        return _in_iso(_STAMP_WORDS.get(raw_family, _AS_TEXT).format(x=value), stamps)
    text = (_NUMBER_TEXT if is_number else _NORMALIZED).get(raw_family, _AS_TEXT).format(x=value)
    return _with_plain_marks(text, csv) if is_number and raw_family == TEXT else text


def _in_iso(text: str, stamps: Sequence[str]) -> str:
    """The SQL of a stamp's text: by the first pattern that it fits an ISO stamp, else as it is.

    An ISO stamp where the data set names no such form gets a mark in front, so that nobody reads it.
    """
    patterns = (forms.pattern(form) for form in stamps if "%" in form)
    rest = text if forms.ISO in stamps else f"if({text} LIKE '____-%', concat('?', {text}), {text})"
    return f"coalesce({', '.join([*(iso(text, each) for each in patterns), rest])})"


def _with_plain_marks(text: str, csv: CsvSection) -> str:
    """The SQL of a number's text without thousand marks, and with a decimal point.

    A mark where none may be stays, or becomes a comma: then the text is no plain number.
    """
    if csv.thousands:
        groups = f"^[+-]?[1-9][0-9]{{0,2}}({_in_pattern(csv.thousands)}[0-9]{{3}})+"
        grouped = f"{text} RLIKE '{groups}({_in_pattern(csv.decimal)}[0-9]*)?$'"
        text = f"CASE WHEN {grouped} THEN replace({text}, {literal(csv.thousands)}) ELSE {text} END"
    if csv.decimal != ".":
        text = f"translate({text}, {literal(csv.decimal + '.')}, {literal('.,')})"
    return text


def literal(text: str) -> str:
    """A text as SQL, each letter by its number."""
    return "'" + "".join(f"\\U{ord(letter):08x}" for letter in text) + "'"


def _in_pattern(letter: str) -> str:
    """A letter as part of a pattern in SQL, whatever it means there."""
    return f"\\\\x{{{ord(letter):x}}}"


def quoted(column: str) -> str:
    """A raw column's name as SQL."""
    return "`" + column.replace("`", "``") + "`"


def key_parts(raw: RawSection) -> dict[str, str]:
    """The names under which the columns of the event key are read: name -> raw column."""
    return {f"key_{place}": column for place, column in enumerate(raw.event_key)}


def raw_targets(raw: RawSection) -> Targets:
    """The columns of `interactions` that the data set maps, and its event key: name -> (raw column, type)."""
    names = (USER, ITEM, EVENT_TS, EVENT_TYPE, QUANTITY, AMOUNT, CONTEXT, SEGMENT)
    mapped = {name: getattr(raw.columns, name) for name in names}
    ours = {name: (column, INTERACTIONS[name]) for name, column in mapped.items() if column}
    return ours | {name: (column, TEXT) for name, column in key_parts(raw).items()}


def catalogue_targets(catalogue: CatalogueSection) -> Targets:
    """The same for the catalogue. Raw columns that are not mapped become attributes."""
    mapped = catalogue.columns.model_dump()
    return {name: (column, CATALOGUE_COLUMNS[name]) for name, column in mapped.items() if column}
