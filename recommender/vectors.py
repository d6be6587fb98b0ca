"""Compiled functions over vectors of factors, one a row."""

import numpy as np
from numpy.typing import NDArray

from recommender.jit import jit, jit_in_any_order
from recommender.kernels import dots

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@jit
def norms(factors: F32) -> F64:
    """Euclidean norms of the rows, float64."""
    lengths = np.empty(factors.shape[0], np.float64)
    for row in range(factors.shape[0]):
        total = 0.0
        for d in range(factors.shape[1]):
            total += np.float64(factors[row, d]) * np.float64(factors[row, d])
        lengths[row] = np.sqrt(total)
    return lengths


@jit_in_any_order
def lengths_in(factors: F32, metric: F64) -> F64:
    """Lengths of the rows times a lower triangular matrix [f, f]."""
    lengths, row = np.empty(len(factors), np.float64), np.empty(len(metric), np.float64)
    for at in range(len(factors)):
        row[:] = 0
        for d in range(len(metric)):
            factor = np.float64(factors[at, d])
            for e in range(d + 1):
                row[e] += factor * metric[d, e]
        lengths[at] = np.sqrt((row * row).sum())
    return lengths


@jit
def mixes(factors: F32, codes: I32) -> F64:
    """A number for each of these rows, by which rows of the same factors lie together when sorted."""
    mixed = np.empty(len(codes), np.float64)
    weights = np.sqrt(np.arange(2.0, factors.shape[1] + 2))
    for at in range(len(codes)):
        total = 0.0
        for d in range(factors.shape[1]):
            total += np.float64(factors[codes[at], d]) * weights[d]
        mixed[at] = total
    return mixed


@jit
def among_first(factors: F32, lengths: F64, codes: I32, most: int) -> Mask:
    """Which of the items, sorted by length, have the same factors as less than `most` just before.

    The others are in no list: as many items as are listed and excluded of a user come before them.
    """
    first = np.ones(len(codes), np.bool_)
    run = 0
    for at in range(1, len(codes)):
        this, previous = codes[at], codes[at - 1]
        equal = lengths[this] == lengths[previous] and (factors[this] == factors[previous]).all()
        run = run + 1 if equal else 0
        first[at] = run < most
    return first


@jit
def true_scores(user: F32, items: F32, codes: I32, off: float, scores: F32) -> None:
    """Float64 dot products in index order (each product is exact), as float32; never -0.

    Parameters
    ----------
    off
        By how much two orders of summing may differ, at most: where both ends of that are rounded to the
        same float32, so is the sum in index order.
    """
    weights = user.astype(np.float64)
    for at in range(len(codes)):
        total = _dot(weights, items[codes[at]])
        score = np.float32(total - off)
        if score != np.float32(total + off):
            score = dots(user.reshape(1, -1), items, np.zeros(1, np.int32), codes[at : at + 1])[0]
        scores[at] = score + np.float32(0)


@jit_in_any_order
def _dot(weights: F64, item: F32) -> float:
    total = 0.0
    for d in range(len(weights)):
        total += weights[d] * np.float64(item[d])
    return total
