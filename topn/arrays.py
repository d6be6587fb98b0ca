"""One name for each type of array, and how arrays are cut and handed to compiled code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
UInt32 = NDArray[np.uint32]


def blocks(count: int, size: int, start: int = 0) -> list[slice]:
    """Slices of at most `size` from `start` to `count`."""
    return [slice(at, min(at + size, count)) for at in range(start, count, size)]


def fixed(array: Array) -> Array:
    """The same values read-only, row after row.

    Numba compiles a function anew for arrays of another layout, or that may be written to. This gives all
    callers' arrays one type.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
