"""Binary ranking metrics of one list per user, cut at k, and their bootstrap intervals.

All of them work on `hits`, a matrix with one row per user and one column per rank; what is not
recommended counts as a miss. Sums run in a fixed order, so that no result depends on threads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.arrays import Bool, Float64, Int32, Int64
from recommender.logarithms import log2

_AT_ONCE = 64
"""Draws that are looked up together: a bit each, so as many as an integer has."""


@dataclass(frozen=True)
class Estimate:
    """A mean over users, and its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def head(indptr: Int64, items: Int32, users: Int32, cut: int) -> Int32:
    """The first `cut` items of each user's list as int32 [len(users), cut], -1 where it is shorter.

    Examples
    --------
    >>> items = np.int32([7, 8, 9, 5])  # three of the first user, one of the second
    >>> head(np.int64([0, 3, 4]), items, np.int32([0, 1]), 2).tolist()
    [[7, 8], [5, -1]]
    """
    places = indptr[users][:, None] + np.arange(cut)
    is_item = places < indptr[users + 1][:, None]
    first = np.full(is_item.shape, -1, dtype=np.int32)
    first[is_item] = items[places[is_item]]
    return first


def discounts(cut: int) -> Float64:
    """1 / log2(rank + 1) of the ranks 1..cut.

    Examples
    --------
    >>> discounts(3).round(4).tolist()
    [1.0, 0.6309, 0.5]
    """
    return 1.0 / log2(np.arange(2, cut + 2))


def ideal(counts: npt.ArrayLike, cut: int) -> Float64:
    """The DCG of a perfect list of each user, who has `counts` true items; 0 where there are none.

    Examples
    --------
    >>> ideal([0, 1, 5], cut=2).round(4).tolist()
    [0.0, 1.0, 1.6309]
    """
    best = np.concatenate([[0.0], np.cumsum(discounts(cut))])
    return np.asarray(best[np.minimum(counts, cut)], dtype=np.float64)


def per_user(hits: Bool, counts: Int32) -> dict[str, Float64]:
    """NDCG, recall, hit rate and MAP of each user.

    Parameters
    ----------
    hits
        bool [users, cut]: whether the item at that rank is true.
    counts
        int32 [users]: how many true items each has, at least 1.

    Returns
    -------
    dict
        float64 [users] by metric, each between 0 and 1.

    Examples
    --------
    >>> hits = np.array([[True, False], [False, True]])
    >>> metrics = per_user(hits, np.int32([1, 2]))
    >>> {name: values.round(4).tolist() for name, values in metrics.items()}
    {'ndcg': [1.0, 0.3869], 'recall': [1.0, 0.5], 'hit_rate': [1.0, 1.0], 'map': [1.0, 0.25]}
    """
    cut = hits.shape[1]
    ranks = np.arange(1, cut + 1)
    precision = np.cumsum(hits, axis=1) / ranks
    return {
        "ndcg": (hits * discounts(cut)).sum(axis=1) / ideal(counts, cut),
        "recall": hits.sum(axis=1) / counts,
        "hit_rate": hits.any(axis=1).astype(np.float64),
        "map": (hits * precision).sum(axis=1) / np.minimum(counts, cut),
    }


def mean_over_list(lists: Int32, values: Float64) -> Float64:
    """The mean of an item's value over each user's list, 0 for an empty list.

    Parameters
    ----------
    lists
        int32 [users, cut], -1 where there is no item.
    values
        float64 [items].

    Examples
    --------
    >>> lists = np.int32([[0, 1], [1, -1], [-1, -1]])
    >>> mean_over_list(lists, np.array([1.0, 3.0])).tolist()
    [2.0, 3.0, 0.0]
    """
    is_item = lists >= 0
    total = np.where(is_item, values[lists], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(is_item.sum(axis=1), 1), dtype=np.float64)


def resamples(users: int, draws: int, seed: int) -> Int32:
    """How often each user is in each bootstrap sample: int32 [draws, users], each row sums to `users`.

    Examples
    --------
    >>> resamples(users=3, draws=2, seed=0).sum(axis=1).tolist()
    [3, 3]
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((draws, users), np.int32)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, users, users), minlength=users)
    return counts


def estimate(values: Float64, samples: Int32) -> Estimate:
    """The mean of one value per user, with the interval that the resamples give.

    Examples
    --------
    >>> samples = np.int32([[2, 0], [1, 1], [0, 2]])
    >>> estimate(np.array([0.0, 1.0]), samples)
    Estimate(value=0.5, low=0.025, high=0.975)
    """
    means = np.array([(sample * values).sum() for sample in samples]) / len(values)
    return _interval(float(values.mean()), means)


def estimate_coverage(lists: Int32, samples: Int32, items: int) -> Estimate:
    """The share of all `items` that stand in at least one user's list.

    A resample holds fewer distinct users and so fewer items. Only its spread counts: the interval is
    shifted so that the median of the resamples is the value.

    Examples
    --------
    >>> lists = np.int32([[0, 1], [1, 2]])  # three of four items
    >>> estimate_coverage(lists, np.int32([[1, 1], [1, 1]]), items=4)
    Estimate(value=0.75, low=0.75, high=0.75)
    """
    users, ranks = np.nonzero(lists >= 0)
    listed = lists[users, ranks]
    by_item = np.argsort(listed, kind="stable")
    item_users, (codes, starts) = users[by_item], np.unique(listed[by_item], return_index=True)
    some = [samples[first : first + _AT_ONCE] for first in range(0, len(samples), _AT_ONCE)]
    shares = np.concatenate([_covered(drawn > 0, item_users, starts) for drawn in some]) / items
    value = len(codes) / items
    return _interval(value, shares + (value - float(np.median(shares))))


def _covered(drawn: Bool, item_users: Int64, starts: Int64) -> Int64:
    """How many items some drawn user has in the list, in each of up to `_AT_ONCE` draws.

    Parameters
    ----------
    drawn
        bool [draws, users].
    item_users
        int64: the users of the first item, then those of the second, and so on.
    starts
        int64 [items]: where those of each begin.
    """
    bits = np.zeros((drawn.shape[1], _AT_ONCE // 8), np.uint8)
    bits[:, : -(-len(drawn) // 8)] = np.packbits(drawn, axis=0).T
    any_user = np.bitwise_or.reduceat(bits.view(np.uint64)[item_users], starts)
    is_covered = np.unpackbits(any_user.view(np.uint8), axis=1, count=len(drawn))
    return np.asarray(is_covered.sum(axis=0, dtype=np.int64))


def _interval(value: float, draws: Float64) -> Estimate:
    # 95% is the custom; a champion stands while zero lies below `high`
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def means(vectors: Mapping[str, Float64], samples: Int32) -> dict[str, Estimate]:
    """`estimate` of each metric.

    Examples
    --------
    >>> means({"recall": np.array([1.0, 1.0])}, np.int32([[2, 0], [1, 1]]))
    {'recall': Estimate(value=1.0, low=1.0, high=1.0)}
    """
    return {name: estimate(values, samples) for name, values in vectors.items()}
