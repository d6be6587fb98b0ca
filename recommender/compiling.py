"""Compiles every kernel before a night needs it; `nightjar prepare kernels` does so at installation."""

import numpy as np
from scipy.sparse import eye_array

from recommender import kernels
from recommender.arrays import csr_parts
from recommender.candidates import mix, nothing
from topn import dots, top_n


def compile_kernels() -> None:
    """Call each kernel on a few rows of the types that nights have, so that later processes load its code."""
    factors, codes = np.ones((64, 1), np.float32), np.arange(2, dtype=np.int32)
    top_n(factors, factors, 1, threads=1)  # of so many rows that lengths are taken in a metric
    dots(factors, factors, codes, codes)
    matrix = csr_parts(eye_array(2, format="csr", dtype=np.float32))
    kernels.nearest(*matrix, *matrix, codes, np.ones(2, bool), True, 1)
    kernels.spread(*matrix, *matrix, codes, np.arange(3), codes)
    mix([nothing(2)], 1, 2)
