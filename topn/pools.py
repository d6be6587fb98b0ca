"""The candidates: a pool for each user, cut back when it is full."""

from typing import Any, NamedTuple

import numpy as np

from topn.arrays import Float32, Int32, Int64, UInt32
from topn.jit import jit
from topn.ordering import OrderedItems
from topn.selection import float_of, floor_of_keys, in_order, ordinal, ranking_keys
from topn.vectors import true_scores

Users = Any  # an array of `USER`

UNIT, UNIT64 = 2.0**-24, 2.0**-52  # relative errors: one operation in float32, two in float64
TINY = 2.0**-120  # above what underflow can take from a product of float32 values

USER = np.dtype(
    [(name, np.int64) for name in ("n", "held", "clean", "true")]
    + [(name, np.float64) for name in ("length", "slack", "floor")]
)
"""What is known of a user of a block.

n
    How long the list will be.
held, clean, true
    How many candidates are held; how many of them, from the first on, are known not to be excluded; and
    how many, from the first on, have their true score.
length
    In the metric.
slack
    The error of a computed score, as a multiple of the item's norm.
floor
    A float32 score that `n` items not excluded are known to reach.
"""


class Pools(NamedTuple):
    """The candidates of a block's users, in few arrays, as passing an array costs as much as ten products.

    Attributes
    ----------
    users
        `USER` [users].
    values, places
        float32 and int32 [users, capacity]: score and place of each candidate. Those with their true
        score come first, the best before the others; the rest follow by place.
    hidden
        uint32 [users, words]: a bit for each place, set where the item is excluded.
    keys
        int32 [capacity], scratch.
    """

    users: Users
    values: Float32
    places: Int32
    hidden: UInt32
    keys: Int32


@jit
def margin_of(slack: float, norm: float) -> np.float32:
    """By how much the computed score of an item of at most this norm may be off."""
    return np.float32(slack * norm + TINY)


@jit
def shrink(user: int, factors: Float32, pools: Pools, ordered: OrderedItems) -> None:
    """Raise a user's floor to what `n` of the candidates reach; drop those that cannot count."""
    state, values, places = pools.users[user], pools.values[user], pools.places[user]
    true, n = state.true, state.n
    held = _drop_hidden(values, places, state.clean, state.held, pools.hidden[user])
    if held > n:
        margin = margin_of(state.slack, ordered.norms[places[min(true, held - 1)]])
        keys = pools.keys[:held]
        for at in range(held):
            keys[at] = ordinal(values[at] - (margin if at >= true else np.float32(0)))
        floor = float_of(floor_of_keys(keys, n, ordinal(np.float32(state.floor))))
        state.floor = floor
        state.true = _keep(values, places, 0, true, 0, floor)
        held = _keep(values, places, true, held, state.true, floor - margin)
    state.held = state.clean = held
    if held > n + (len(values) - n) // 2:  # too many scores are nearly equal
        settle(user, factors, pools, ordered)


@jit
def _drop_hidden(values: Float32, places: Int32, start: int, stop: int, hidden: UInt32) -> int:
    """Close the gaps that excluded candidates leave; returns where the others end."""
    to = start
    for at in range(start, stop):
        place = places[at]
        values[to], places[to] = values[at], place
        to += 1 - (hidden[place >> 5] >> np.uint32(place & 31) & 1)
    return to


@jit
def _keep(values: Float32, places: Int32, start: int, stop: int, to: int, least: np.float32) -> int:
    """Move the candidates of at least this score to `to`, without gaps; returns where they end."""
    for at in range(start, stop):
        value = values[at]
        values[to], places[to] = value, places[at]
        to += value >= least
    return to


@jit
def settle(user: int, factors: Float32, pools: Pools, ordered: OrderedItems) -> None:
    """Keep the best of a user's candidates by true score, in order."""
    state = pools.users[user]
    held, kept, true = state.held, min(state.n, state.held), state.true
    values, places = pools.values[user, :held], pools.places[user, :held]
    codes = ordered.codes[places]
    if true < held:
        off = state.slack * ordered.norms[places[true]] * (UNIT64 / UNIT)
        true_scores(factors, ordered.factors, codes[true:], off, values[true:])
    keys = in_order(ranking_keys(values, codes))
    for at in range(kept):
        values[at] = float_of(~(keys[at] >> 32))
        places[at] = ordered.places[keys[at] & 0xFFFFFFFF]
    state.held = state.clean = state.true = kept
    if kept == state.n:
        state.floor = values[kept - 1]


@jit
def write_list(
    user: int, factors: Float32, pools: Pools, ordered: OrderedItems, out: tuple[Int64, Int32, Float32]
) -> None:
    """Write a user's final list into the result."""
    state, (bounds, items, scores) = pools.users[user], out
    n, start = state.n, bounds[user]
    if state.length == 0:
        _write_first(ordered.places, pools.hidden[user], items[start : start + n])
        scores[start : start + n] = 0
    elif n > 0:
        shrink(user, factors, pools, ordered)
        settle(user, factors, pools, ordered)
        for rank in range(n):
            items[start + rank] = ordered.codes[pools.places[user, rank]]
            scores[start + rank] = pools.values[user, rank]


@jit
def _write_first(places: Int32, hidden: UInt32, out: Int32) -> None:
    """The first codes that are not excluded: the list of a user for whom all scores are 0."""
    code = 0
    for rank in range(len(out)):
        while places[code] < 0 or hidden[places[code] >> 5] >> np.uint32(places[code] & 31) & 1:
            code += 1
        out[rank] = code
        code += 1
