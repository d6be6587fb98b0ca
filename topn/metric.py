"""The lengths by which scores are bounded.

For every positive definite matrix A, ``u . y`` is at most the root of ``u A u`` times that of ``y A^-1 y``:
the bound of Cauchy-Schwarz in another metric. With A = 1 these are the norms. Where most users share a
direction that few items have, or the other way round, another A makes the bound much smaller.
"""

from dataclasses import dataclass

import numpy as np

from topn.arrays import Array, Float32, Float64

ROWS_A_FACTOR = 64  # with fewer users or items, lengths in a metric take longer than they save
SAMPLE = 4096  # rows, enough to know the directions of all
AT_ONCE = 256  # rows, to bound the memory
RIDGE = 0.1  # of a direction's mean square, added to each: bounds how far A is from 1


@dataclass(frozen=True)
class Metric:
    """What rows are multiplied by before their lengths are taken.

    Attributes
    ----------
    users, items
        float64 [f, f], lower triangular: ``users @ users.T`` is the inverse of ``items @ items.T``.
        Or [0, f] where lengths are taken of the rows as they are.
    """

    users: Float64
    items: Float64


def metric_of(users: Float32, items: Float32) -> Metric:
    """The metric in which bounds are small on average, for rows of length 1.

    The mean square of the users' lengths times that of the items' is least where A is the geometric mean of
    the items' second moments and the inverse of the users' (Bhatia, Positive Definite Matrices, chapter 4).
    As every A gives a right bound, a sample of the rows suffices.
    """
    factors = users.shape[1]
    if min(len(users), len(items)) < ROWS_A_FACTOR * factors:
        return Metric(np.empty((0, factors)), np.empty((0, factors)))
    of_users, of_items = _moments(users), _moments(items)
    root, inverse = _power(of_users, 0.5), _power(of_users, -0.5)
    mean = inverse @ _power(root @ of_items @ root, 0.5) @ inverse
    for_users, for_items = _lower(mean), _lower(np.linalg.inv(mean))
    # K' L is not quite 1, by rounding, and u . y = (u L) (K' L)^-1 (y K)'
    least = np.linalg.svd(for_items.T @ for_users, compute_uv=False)[-1]
    return Metric(for_users / least, for_items)


def _moments(rows: Float32) -> Float64:
    """Second moments of the directions of rows."""
    sample, factors = rows[:: -(-len(rows) // SAMPLE)], rows.shape[1]
    total = np.zeros((factors, factors))
    for at in range(0, len(sample), AT_ONCE):
        part = sample[at : at + AT_ONCE].astype(np.float64)
        # 1e-300 is below every other norm: rows of zeros stay zeros
        directions = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-300)
        total += directions.T @ directions
    moments: Float64 = total / len(sample) + RIDGE / factors * np.eye(factors)
    return moments


def _lower(matrix: Array) -> Float64:
    """The lower triangular matrix whose product with its transpose this is."""
    return np.linalg.cholesky(matrix).astype(np.float64, copy=False)


def _power(matrix: Float64, exponent: float) -> Float64:
    """A power of a symmetric positive definite matrix."""
    values, directions = np.linalg.eigh(matrix)
    power: Float64 = (directions * values**exponent) @ directions.T
    return power
