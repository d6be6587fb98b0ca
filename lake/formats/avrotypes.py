"""The types of Avro as types of Arrow."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_DIGITS: Final = 76
"""Of a decimal of Arrow."""
_EXACT: Final = Context(prec=10 * _MOST_DIGITS)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """A type, and what makes its values of those that the library decodes without logical types."""

    type: "pa.DataType"
    convert: Callable[[Any], Any] = _same


def without_logical(schema: Any) -> Any:
    """A schema by which values are decoded as they are written; the library's own dates end with 9999."""
    if isinstance(schema, list):
        return [without_logical(item) for item in schema]
    if isinstance(schema, dict):
        left_out = ("logicalType", "__fastavro_parsed", "__named_schemas", "default")
        return {key: without_logical(value) for key, value in schema.items() if key not in left_out}
    return schema


def kind_of(schema: Any, named: Mapping[str, Any], above: Sequence[str] = ()) -> Kind:
    """The kind of a schema.

    A union of one type and null is that type. Values of any other union, and of a type that holds itself, are
    text: JSON where they hold others.

    Parameters
    ----------
    named
        The schemas of named types.
    above
        The named types that this one lies in.
    """
    if isinstance(schema, list):
        others = [item for item in schema if item != "null"]
        return kind_of(others[0], named, above) if len(others) == 1 else _union(others)
    if isinstance(schema, str):
        return kind_of(named[schema], named, above) if schema in named else Kind(_primitive(schema))
    return _logical(schema) or _complex(schema, named, above)


def _primitive(name: str) -> "pa.DataType":
    import pyarrow as pa

    return {
        "null": pa.null(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "bytes": pa.binary(),
        "string": pa.string(),
    }[name]


def _union(others: Sequence[Any]) -> Kind:
    import pyarrow as pa

    return Kind(pa.string(), _words) if others else Kind(pa.null())


def _logical(schema: Mapping[str, Any]) -> Kind | None:
    """The kind of a logical type; None where there is none, or the schema does not fit it."""
    import pyarrow as pa

    name, base = schema.get("logicalType", ""), schema["type"]
    if name == "decimal" and base in ("bytes", "fixed"):
        return _decimal(schema.get("precision", 0), schema.get("scale", 0))
    units = {"millis": "ms", "micros": "us", "nanos": "ns"}
    what, _, unit = name.rpartition("-")
    if what in ("timestamp", "local-timestamp") and base == "long" and unit in units:
        return Kind(pa.timestamp(units[unit], "UTC" if what == "timestamp" else None))
    kinds = {
        ("date", "int"): pa.date32(),
        ("time-millis", "int"): pa.time32("ms"),
        ("time-micros", "long"): pa.time64("us"),
    }
    return Kind(kinds[name, base]) if (name, base) in kinds else None


def _decimal(precision: int, scale: int) -> Kind | None:
    import pyarrow as pa

    if not 0 < precision <= _MOST_DIGITS or not 0 <= scale <= precision:
        return None

    def convert(value: bytes | None) -> Decimal | None:
        whole = None if value is None else int.from_bytes(value, "big", signed=True)
        return None if whole is None else Decimal(whole).scaleb(-scale, _EXACT)

    kind = pa.decimal128 if precision <= 38 else pa.decimal256
    return Kind(kind(precision, scale), convert)


def _complex(schema: Mapping[str, Any], named: Mapping[str, Any], above: Sequence[str]) -> Kind:
    """The kind of a type that names or holds others."""
    import pyarrow as pa

    base = schema["type"]
    if base == "fixed":
        return Kind(pa.binary(schema["size"]))
    if base == "enum":
        return Kind(pa.string())
    if base == "array":
        return _list(kind_of(schema["items"], named, above))
    if base == "map":
        return _map(kind_of(schema["values"], named, above))
    if base in ("record", "error"):
        return _record(schema, named, above)
    return kind_of(base, named, above)


def _list(item: Kind) -> Kind:
    import pyarrow as pa

    return Kind(pa.list_(item.type), lambda values: values and [item.convert(value) for value in values])


def _map(item: Kind) -> Kind:
    import pyarrow as pa

    def convert(values: Mapping[str, Any] | None) -> list[tuple[str, Any]] | None:
        return None if values is None else [(key, item.convert(value)) for key, value in values.items()]

    return Kind(pa.map_(pa.string(), item.type), convert)


def _record(schema: Mapping[str, Any], named: Mapping[str, Any], above: Sequence[str]) -> Kind:
    import pyarrow as pa

    if schema["name"] in above:
        return Kind(pa.string(), _words)
    within = (*above, schema["name"])
    kinds = {field["name"]: kind_of(field["type"], named, within) for field in schema["fields"]}

    def convert(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else {name: kind.convert(value[name]) for name, kind in kinds.items()}

    return Kind(pa.struct([(name, kind.type) for name, kind in kinds.items()]), convert)


def _words(value: Any) -> str | None:
    """A value as text: one that is a text as it is, all else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=lambda data: base64.b64encode(data).decode())
