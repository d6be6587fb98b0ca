import math
from hashlib import sha256

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.logarithms import log, log1p, log2


def near(value, right):
    """Whether a value is the right one, or one of its two neighbours among doubles."""
    return abs(value - right) <= math.ulp(right)


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_log_is_right_but_for_the_last_digit(value):
    assert near(log(value), math.log(value))


@given(st.floats(min_value=0, max_value=1e300))
def test_log1p_is_right_but_for_the_last_digit(value):
    assert near(log1p(value), math.log1p(value))


def test_exact_values():
    assert log([1.0]).tolist() == [0.0]
    assert log1p([0.0, 1e-20]).tolist() == [0.0, 1e-20]
    assert log2([1, 2, 4, 8, 1024]).tolist() == [0.0, 1.0, 2.0, 3.0, 10.0]


def test_the_bytes_are_those_that_every_processor_gives():
    """Sums and products have one right result; numpy's own logarithm has two, with and without AVX-512."""
    values = log1p(np.arange(1, 200_000) / 7.0)
    assert sha256(values.tobytes()).hexdigest()[:16] == "4470a665f9e9e29a"
