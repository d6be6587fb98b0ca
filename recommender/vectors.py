"""Compiled functions over vectors of factors, one a row."""

import numpy as np
from numpy.typing import NDArray

from recommender.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@jit
def norms(factors: F32) -> F64:
    """Lengths of the rows, float64."""
    lengths = np.empty(factors.shape[0], np.float64)
    for row in range(factors.shape[0]):
        total = 0.0
        for d in range(factors.shape[1]):
            total += np.float64(factors[row, d]) * np.float64(factors[row, d])
        lengths[row] = np.sqrt(total)
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
def true_scores(user: F32, items: F32, codes: I32, start: int, scores: F32) -> None:
    """Float64 dot products in index order (each product is exact), as float32; never -0."""
    last = len(codes) - 1
    for at in range(start, len(codes), 4):  # side by side, for the additions of one sum wait for each other
        second, third, fourth = min(at + 1, last), min(at + 2, last), min(at + 3, last)
        i, j, k, m = codes[at], codes[second], codes[third], codes[fourth]
        a = b = c = d = 0.0
        for f in range(len(user)):
            weight = np.float64(user[f])
            a += weight * np.float64(items[i, f])
            b += weight * np.float64(items[j, f])
            c += weight * np.float64(items[k, f])
            d += weight * np.float64(items[m, f])
        scores[at], scores[second] = np.float32(a) + np.float32(0), np.float32(b) + np.float32(0)
        scores[third], scores[fourth] = np.float32(c) + np.float32(0), np.float32(d) + np.float32(0)
