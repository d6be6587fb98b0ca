"""Logarithms whose last digit is the same on every processor.

Where a processor has AVX-512, numpy runs other code for its logarithms, and the last digit may differ.
The functions here use only ``+ - * /`` on float64, whose results IEEE 754 fixes. The method is that of
FreeBSD's ``e_log.c`` (fdlibm): the error is less than one unit in the last place.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from recommender.arrays import Float64

_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_EVEN: Final = (3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01)
_ODD: Final = (
    6.666666666666735130e-01,
    2.857142874366239149e-01,
    1.818357216161805012e-01,
    1.479819860511658591e-01,
)


def log(values: npt.ArrayLike) -> Float64:
    """Natural logarithm of positive finite numbers, float64."""
    fraction, power = np.frexp(np.asarray(values, np.float64))
    low = fraction < np.sqrt(0.5)
    fraction, power = np.where(low, 2 * fraction, fraction), np.where(low, power - 1, power)
    rest = fraction - 1
    share = rest / (2 + rest)
    square = share * share
    fourth = square * square
    series = fourth * _polynomial(_EVEN, fourth) + square * _polynomial(_ODD, fourth)
    half = 0.5 * rest * rest
    logarithm: Float64 = power * _LN2_HIGH - ((half - (share * (half + series) + power * _LN2_LOW)) - rest)
    return logarithm


def _polynomial(coefficients: tuple[float, ...], values: Float64) -> Float64:
    total: Float64 = np.full_like(values, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = coefficient + values * total
    return total


def log1p(values: npt.ArrayLike) -> Float64:
    """``log(1 + values)`` of finite numbers above -1, float64, also where they are tiny."""
    values = np.asarray(values, np.float64)
    total = 1 + values
    rounded_off: Float64 = log(total) + (values - (total - 1)) / total
    return rounded_off


def log2(values: npt.ArrayLike) -> Float64:
    """Logarithm to base 2 of positive finite numbers, float64."""
    return log(values) / _LN2


_LN2: Final = _LN2_HIGH + _LN2_LOW
