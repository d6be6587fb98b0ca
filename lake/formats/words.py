"""Words for values that Spark has no type for; different values have different words."""

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from lake.formats.content import distinct

if TYPE_CHECKING:
    import pyarrow as pa

_A_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_YEAR_1: Final = -62_135_596_800
_YEAR_10000: Final = 253_402_300_800


def in_words(array: "pa.Array") -> "pa.Array":
    """Each value in words."""
    import pyarrow as pa

    return pa.array(map(_words, array), pa.string())


def _words(scalar: "pa.Scalar") -> str | None:
    value = _value(scalar)
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(scalar: "pa.Scalar") -> Any:
    """A value as JSON has it: bytes of a text that is no UTF-8 escaped, bytes in base 64, a map as a list."""
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.ListScalar):
        return [_value(item) for item in scalar.values]
    if isinstance(scalar, pa.StructScalar):
        fields = distinct([field.name for field in scalar.type])
        return {name: _value(scalar[index]) for index, name in enumerate(fields)}
    if isinstance(scalar, pa.ExtensionScalar):
        return str(scalar.as_py())
    return _plain(scalar)


def _plain(scalar: "pa.Scalar") -> Any:
    """A value that holds no other values."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_timestamp(scalar.type):
        return _stamp(scalar)
    if is_.is_decimal(scalar.type):  # Arrow's own words are 0E-38 for zero
        return f"{scalar.as_py():f}"
    if isinstance(scalar, pa.StringScalar):
        return scalar.as_buffer().to_pybytes().decode(errors="backslashreplace")
    if isinstance(scalar, pa.BinaryScalar):
        return base64.b64encode(scalar.as_buffer().to_pybytes()).decode()
    try:
        text = scalar.cast(pa.string()).as_py()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return str(scalar.as_py())
    return scalar.as_py() if is_.is_integer(scalar.type) or is_.is_boolean(scalar.type) else text


def _stamp(scalar: "pa.Scalar") -> str | int:
    """A stamp by the calendar, in UTC if it has a zone; its number where Arrow cannot write the year.

    No zone is looked up: a file may name one that does not exist.
    """
    import pyarrow as pa

    unit, number = scalar.type.unit, scalar.value
    if not _YEAR_1 <= number // _A_SECOND[unit] < _YEAR_10000:
        return int(number)
    return str(pa.scalar(number, pa.timestamp(unit)).cast(pa.string())) + ("Z" if scalar.type.tz else "")
