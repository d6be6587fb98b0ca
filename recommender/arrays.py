"""The numpy arrays that recommender, training and precompute pass around: one name for one type."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def csr_parts(matrix: Any) -> tuple[Int64, Int32, Float32]:
    """A CSR matrix as arrays of the types that the kernels are compiled for."""
    typed = ((matrix.indptr, np.int64), (matrix.indices, np.int32), (matrix.data, np.float32))
    indptr, indices, values = (part.astype(kind, copy=False) for part, kind in typed)
    return indptr, indices, values
