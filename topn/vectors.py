"""Compiled functions over vectors of factors, one a row."""

import numpy as np

from topn.arrays import Float32, Float64, Int32, Mask
from topn.jit import jit, jit_in_any_order


@jit
def dots(left: Float32, right: Float32, rows: Int32, columns: Int32) -> Float32:
    """Score pairs of rows as `top_n` does: float64 sums in index order, rounded to float32.

    Parameters
    ----------
    left, right
        float32 [users, f] and [items, f].
    rows, columns
        int32 [pairs]: which row of `left`, and which of `right`.

    Returns
    -------
    float32 array
        [pairs].

    Examples
    --------
    >>> import numpy as np
    >>> users, items = np.float32([[1, 2]]), np.float32([[3, 0], [1, 1]])
    >>> dots(users, items, np.int32([0, 0]), np.int32([0, 1])).tolist()
    [3.0, 3.0]
    """
    out = np.empty(len(rows), np.float32)
    for k in range(len(rows)):
        total = 0.0
        for f in range(left.shape[1]):
            total += np.float64(left[rows[k], f]) * np.float64(right[columns[k], f])
        out[k] = total
    return out


@jit
def norms(factors: Float32) -> Float64:
    """Euclidean norms of the rows, float64."""
    lengths = np.empty(factors.shape[0], np.float64)
    for row in range(factors.shape[0]):
        total = 0.0
        for d in range(factors.shape[1]):
            total += np.float64(factors[row, d]) * np.float64(factors[row, d])
        lengths[row] = np.sqrt(total)
    return lengths


@jit_in_any_order
def lengths_in(factors: Float32, metric: Float64) -> Float64:
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
def mixes(factors: Float32, codes: Int32) -> Float64:
    """A number for each of these rows. Sorted by it, rows of the same factors lie side by side."""
    mixed = np.empty(len(codes), np.float64)
    weights = np.sqrt(np.arange(2.0, factors.shape[1] + 2))
    for at in range(len(codes)):
        total = 0.0
        for d in range(factors.shape[1]):
            total += np.float64(factors[codes[at], d]) * weights[d]
        mixed[at] = total
    return mixed


@jit
def among_first(factors: Float32, lengths: Float64, codes: Int32, most: int) -> Mask:
    """Which items, sorted by length, have fewer than `most` items of the same factors before them.

    `most` is how many items a list and the exclusions of one user have together. No list needs the items
    after them: those before score the same and have lower codes.
    """
    first = np.ones(len(codes), np.bool_)
    run = 0
    for at in range(1, len(codes)):
        code, previous = codes[at], codes[at - 1]
        equal = lengths[code] == lengths[previous] and (factors[code] == factors[previous]).all()
        run = run + 1 if equal else 0
        first[at] = run < most
    return first


@jit
def true_scores(user: Float32, items: Float32, codes: Int32, off: float, scores: Float32) -> None:
    """Score items for a user as `dots` does, but faster, and never -0.

    A sum in any order comes first. If it could round to another float32 than the sum in index order, the
    sum in index order is taken.

    Parameters
    ----------
    off
        By how much sums in two orders may differ, at most. Each product of two factors is exact.
    scores
        float32 [codes], which takes the result.
    """
    weights = user.astype(np.float64)
    for at in range(len(codes)):
        total = _dot(weights, items[codes[at]])
        score = np.float32(total - off)
        if score != np.float32(total + off):
            score = dots(user.reshape(1, -1), items, np.zeros(1, np.int32), codes[at : at + 1])[0]
        scores[at] = score + np.float32(0)


@jit_in_any_order
def _dot(weights: Float64, item: Float32) -> float:
    total = 0.0
    for d in range(len(weights)):
        total += weights[d] * np.float64(item[d])
    return total
