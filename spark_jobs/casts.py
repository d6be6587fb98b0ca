"""How raw values become ours: one rule by type, used by the file check and by Spark alike.

A raw column belongs to a *family*, judged by its Arrow type. A pair of family and target either
has a rule, an SQL expression that gives null where a single value does not fit, or has none: then
the column is not castable, and the file is refused before Spark starts.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

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
)
from lake.schemas import CATALOGUE as CATALOGUE_COLUMNS
from lake.settings import Catalogue, Raw

if TYPE_CHECKING:
    import pyarrow as pa

Targets = Mapping[str, tuple[str, str]]

TEXT: Final = "text"
OTHER: Final = "other"

# A whole number that a double holds exactly; pandas turns integers into doubles where one is missing.
_WHOLE: Final = "CASE WHEN {x} = floor({x}) AND abs({x}) < 9007199254740992 THEN CAST({x} AS BIGINT) END"
_LOCAL: Final = "to_utc_timestamp({local}, '{zone}')"
_NAMES_ZONE: Final = "{x} RLIKE '(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$'"

_INTEGER: Final = {"integer": "CAST({x} AS BIGINT)", "float": _WHOLE, TEXT: "TRY_CAST(trim({x}) AS BIGINT)"}
_STRING: Final = {
    "integer": "CAST({x} AS STRING)",
    "float": f"coalesce(CAST({_WHOLE} AS STRING), CAST({{x}} AS STRING))",
    "decimal": "CAST({x} AS STRING)",
    "boolean": "CAST({x} AS STRING)",
    "string": "{x}",
    TEXT: "{x}",
}
_IDENTITY: Final = {
    "integer": "CAST({x} AS STRING)",
    "float": f"CAST({_WHOLE} AS STRING)",
    "string": "{x}",
    TEXT: "{x}",
}
_NUMBER: Final = {
    "integer": "TRY_CAST({x} AS {target})",
    "float": "TRY_CAST({x} AS {target})",
    "decimal": "TRY_CAST({x} AS {target})",
    TEXT: "TRY_CAST(trim({x}) AS {target})",
}
_STAMP_TEXT: Final = (
    f"CASE WHEN {_NAMES_ZONE} THEN TRY_CAST({{x}} AS TIMESTAMP) "
    f"ELSE {_LOCAL.format(local='TRY_CAST({x} AS TIMESTAMP)', zone='{zone}')} END"
)
_STAMP: Final = {
    "instant": "{x}",
    "local": _LOCAL.format(local="CAST({x} AS TIMESTAMP)", zone="{zone}"),
    "instant_ns": "timestamp_micros({x} DIV 1000)",
    "local_ns": _LOCAL.format(local="timestamp_micros({x} DIV 1000)", zone="{zone}"),
    "date": _LOCAL.format(local="CAST({x} AS TIMESTAMP)", zone="{zone}"),
    "string": _STAMP_TEXT,
    TEXT: _STAMP_TEXT,
}


def family(kind: "pa.DataType") -> str:
    """The family of an Arrow type; ``other`` where no rule knows it."""
    import pyarrow.types as is_

    if is_.is_timestamp(kind):
        return ("instant" if kind.tz else "local") + ("_ns" if kind.unit == "ns" else "")
    if is_.is_integer(kind):
        return OTHER if is_.is_uint64(kind) else "integer"
    if is_.is_dictionary(kind):
        return family(kind.value_type)
    tests = {
        "float": is_.is_floating,
        "decimal": is_.is_decimal,
        "boolean": is_.is_boolean,
        "string": lambda t: is_.is_string(t) or is_.is_large_string(t),
        "date": is_.is_date,
    }
    return next((name for name, test in tests.items() if test(kind)), OTHER)


def rule(target: str, found: str, id_type: str) -> str | None:
    """The SQL template that turns a column of a family into one of our types; None where there is none.

    Parameters
    ----------
    target
        One of the types of `lake.schemas`: ``id``, ``string``, ``timestamp`` or ``decimal(p,s)``.
    found
        The family of the raw column.
    """
    if target == ID:
        return (_INTEGER if id_type == "int64" else _IDENTITY).get(found)
    if target == "timestamp":
        return _STAMP.get(found)
    return (_NUMBER if target.startswith("decimal") else _STRING).get(found)


def expression(value: str, target: str, found: str, id_type: str, zone: str) -> str:
    """The SQL expression that casts a raw value; null where it does not fit.

    Parameters
    ----------
    value
        SQL of the raw value, such as a quoted column.
    zone
        The time zone of stamps that name none.

    Raises
    ------
    KeyError
        When no rule casts the family; the file check refuses such a file first.
    """
    template = rule(target, found, id_type)
    if template is None:
        raise KeyError(f"no rule casts {found} to {target}")
    return template.format(x=value, target=target, zone=zone)


def quoted(column: str) -> str:
    """A raw column's name as SQL."""
    return "`" + column.replace("`", "``") + "`"


def raw_targets(raw: Raw) -> Targets:
    """Our columns that the data set's events have: name -> (raw column, our type)."""
    names = (USER, ITEM, EVENT_TS, EVENT_TYPE, QUANTITY, AMOUNT, CONTEXT, SEGMENT)
    mapped = {name: getattr(raw.columns, name) for name in names}
    return {name: (column, INTERACTIONS[name]) for name, column in mapped.items() if column}


def catalogue_targets(catalogue: Catalogue) -> Targets:
    """The same for the catalogue; its columns beyond these become attributes."""
    mapped = catalogue.columns.model_dump()
    return {name: (column, CATALOGUE_COLUMNS[name]) for name, column in mapped.items() if column}
