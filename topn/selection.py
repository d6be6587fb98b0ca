"""Compiled selection among scores, by counting instead of comparing where that is faster.

A processor guesses every second comparison of new scores wrong; counts need no guess.
"""

import numpy as np

from topn.arrays import Float32, Int32, Int64
from topn.jit import jit
from topn.simd import WIDTH, counts_reaching

COUNTED = 512  # up to so many integers, counting sorts faster than comparing
HALF = 1 << 23  # from the ordinal of half a float to that of the float
FURTHEST = 1 << 33  # more than there are floats: no step need be longer


@jit
def ordinal(score: np.float32) -> np.int32:
    """An integer in the order of the floats."""
    bits = np.float32(score).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


@jit
def float_of(number: int) -> np.float32:
    """The float of an `ordinal`."""
    return np.int32(number ^ ((number >> 63) & 0x7FFFFFFF)).view(np.float32)


@jit
def _enough(n: int) -> int:
    """How many scores may reach a floor for `n`: a few more, to end the search for it sooner."""
    return n + n // 32


@jit
def floor_of_keys(keys: Int32, n: int, low: int | np.int32) -> int:
    """The n-th largest of integers, or a little less, which few more reach; `n` must reach `low`."""
    lowest, highest = np.int64(low), np.int64(keys.max())
    while lowest < highest:
        middle = lowest + (highest - lowest + 1) // 2
        count = np.int32(0)
        for at in range(len(keys)):
            count += np.int32(keys[at] >= np.int32(middle))
        if count < n:
            highest = middle - 1
        else:
            lowest = middle
            if count <= _enough(n):
                break
    return int(lowest)


@jit
def floors_of_lanes(scores: Float32, n: Int64) -> Float32:
    """For every column a float that `n` of its scores reach, and few more; -inf if it has fewer scores.

    Parameters
    ----------
    scores
        float32 [rows, WIDTH].
    n
        int64 [WIDTH].
    """
    lowest, highest = np.full(WIDTH, ordinal(np.float32(-np.inf)), np.int64), _highest(scores)
    middle, counts = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int32)
    cuts = np.empty(WIDTH, np.float32)
    step = HALF
    while (lowest < highest).any():
        for lane in range(WIDTH):  # halving the highest score comes near sooner than bisecting all floats
            middle[lane] = max((lowest[lane] + highest[lane] + 1) >> 1, highest[lane] - step)
            cuts[lane] = float_of(middle[lane])
        counts_reaching(scores, cuts, counts)
        for lane in range(WIDTH):
            if counts[lane] < n[lane]:
                highest[lane] = middle[lane] - 1
            else:
                lowest[lane] = middle[lane]
                highest[lane] = middle[lane] if counts[lane] <= _enough(n[lane]) else highest[lane]
        step = min(2 * step, FURTHEST)
    for lane in range(WIDTH):
        cuts[lane] = float_of(lowest[lane])
    return cuts


@jit
def _highest(scores: Float32) -> Int64:
    highest = np.full(WIDTH, -np.inf, np.float32)
    for row in range(len(scores)):
        for lane in range(WIDTH):
            highest[lane] = max(highest[lane], scores[row, lane])
    ordinals = np.empty(WIDTH, np.int64)
    for lane in range(WIDTH):
        ordinals[lane] = ordinal(highest[lane])
    return ordinals


@jit
def ranking_keys(scores: Float32, codes: Int32) -> Int64:
    """Integers that sort by score descending, then code ascending."""
    keys = np.empty(len(codes), np.int64)
    for at in range(len(codes)):
        keys[at] = (np.int64(~ordinal(scores[at])) << 32) | np.int64(codes[at])
    return keys


@jit
def in_order(keys: Int64) -> Int64:
    """Sort integers of which no two are equal."""
    if len(keys) > COUNTED:
        return np.sort(keys)
    ordered = np.empty_like(keys)
    for at in range(len(keys)):
        rank = np.int64(0)
        for other in range(len(keys)):
            rank += np.int64(keys[other] < keys[at])
        ordered[rank] = keys[at]
    return ordered
