"""The families of raw columns: types of Arrow for which `spark_jobs/casts.py` has the same rules."""

from typing import TYPE_CHECKING, Final

from lake.formats.sqltypes import is_small

if TYPE_CHECKING:
    import pyarrow as pa

TEXT: Final = "text"
"""The family of a column of texts that stand for values of any kind, as those of CSV."""
WHOLE: Final = "whole"
"""Integers that may exceed a signed 64-bit one: unsigned 64-bit, and decimals of scale 0."""
NOTHING: Final = "nothing"
"""The family of a column of Arrow's null type: every value is null."""
OTHER: Final = "other"


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
