"""The items in the order in which users meet them."""

from typing import NamedTuple

import numpy as np

from topn import vectors
from topn.arguments import Problem
from topn.arrays import Float32, Float64, Int32
from topn.metric import metric_of


class OrderedItems(NamedTuple):
    """The items by falling length. The *place* of an item is its position in this order.

    Attributes
    ----------
    factors
        float32 [items, f], in the order of their codes.
    lengths
        float64 [places], in the metric, descending; only of the items that a list may have.
    codes
        int32 [places], beside `lengths`.
    norms
        float64 [places], the largest Euclidean norm from this place on.
    places
        int32 [items], the place of each code, or -1.
    users_metric
        float64 [f, f], for the users' lengths, or [0, f] where the length of a user is the norm.
    """

    factors: Float32
    lengths: Float64
    codes: Int32
    norms: Float64
    places: Int32
    users_metric: Float64


def order_items(problem: Problem) -> OrderedItems:
    """Put the allowed items in order, by falling length.

    Of items with the same factors only the first by code are kept: as many as a list and the exclusions
    of one user can use up.
    """
    items, most = problem.items, problem.n + problem.exclusions.most()
    metric = metric_of(problem.users, items)
    lengths = vectors.lengths_in(items, metric.items) if len(metric.items) else problem.norms
    codes = _by_length(items, lengths, np.flatnonzero(problem.allowed).astype(np.int32))
    codes = codes[vectors.among_first(items, lengths, codes, most)]
    places = np.full(len(items), -1, np.int32)
    places[codes] = np.arange(len(codes), dtype=np.int32)
    longest = np.maximum.accumulate(problem.norms[codes][::-1])[::-1].copy()
    return OrderedItems(items, lengths[codes], codes, longest, places, metric.users)


def _by_length(items: Float32, lengths: Float64, codes: Int32) -> Int32:
    """Sort codes by falling length. Items of the same factors lie side by side, their codes ascending."""
    codes = codes[np.argsort(-lengths[codes])]
    equal = lengths[codes[1:]] == lengths[codes[:-1]]
    tied = np.zeros(len(codes), bool)
    tied[1:] |= equal
    tied[:-1] |= equal
    tied_codes = np.sort(codes[tied])
    codes[tied] = tied_codes[np.lexsort((vectors.mixes(items, tied_codes), -lengths[tied_codes]))]
    return codes
