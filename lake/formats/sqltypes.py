"""For each Arrow type the SQL type as which Spark reads it from Parquet with equal values."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_PRECISION: Final = 38
"""The most digits that a decimal of Spark has."""

_SAME: Final = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INT",
    "int64": "BIGINT",
    "uint8": "SMALLINT",
    "uint16": "INT",
    "uint32": "BIGINT",
    "uint64": "DECIMAL(20,0)",
    "float": "FLOAT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "string": "STRING",
    "large_string": "STRING",
    "string_view": "STRING",
    "binary": "BINARY",
    "large_binary": "BINARY",
    "binary_view": "BINARY",
    "date32[day]": "DATE",
    "date64[ms]": "DATE",
    "null": "INT",
}


def sql_type(kind: "pa.DataType") -> str | None:
    """The SQL type as which Spark reads an Arrow type from Parquet; None where values would differ.

    Stamps in nanoseconds are read as integers (`spark.sql.legacy.parquet.nanosAsLong`).
    """
    import pyarrow.types as is_

    if is_.is_timestamp(kind):
        return "BIGINT" if kind.unit == "ns" else "TIMESTAMP" if kind.tz else "TIMESTAMP_NTZ"
    if is_.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})" if is_small(kind) else None
    if is_.is_fixed_size_binary(kind):
        return "BINARY"
    if is_.is_dictionary(kind):
        return sql_type(kind.value_type)
    return _nested(kind) if is_.is_nested(kind) else _SAME.get(str(kind))


def is_small(decimal: "pa.DataType") -> bool:
    """Whether a decimal fits into Spark's."""
    return bool(decimal.precision <= LARGEST_PRECISION and 0 <= decimal.scale <= decimal.precision)


def _nested(kind: "pa.DataType") -> str | None:
    import pyarrow.types as is_

    if is_.is_map(kind):
        return _map(kind)
    if is_.is_struct(kind):
        return _struct(list(kind))
    element = sql_type(kind.value_type) if is_.is_list(kind) or is_.is_large_list(kind) else None
    return element and f"ARRAY<{element}>"


def _map(kind: "pa.DataType") -> str | None:
    """The type of a map whose keys are texts or integers: only these have one spelling in Spark's JSON."""
    import pyarrow.types as is_

    key, item = sql_type(kind.key_type), sql_type(kind.item_type)
    has_plain_keys = is_.is_integer(kind.key_type) or key == "STRING"
    return f"MAP<{key},{item}>" if has_plain_keys and key and item else None


def _struct(fields: "list[pa.Field]") -> str | None:
    names, kinds = {field.name for field in fields}, [sql_type(field.type) for field in fields]
    if not fields or len(names) < len(fields) or None in kinds:
        return None
    quoted = ("`" + field.name.replace("`", "``") + "`" for field in fields)
    return f"STRUCT<{', '.join(f'{name}: {kind}' for name, kind in zip(quoted, kinds, strict=True))}>"
