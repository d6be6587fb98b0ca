"""The candidates of `recommender.topn`: a pool for each user, cut back when it is full."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.jit import jit
from recommender.selection import float_of, floor_of_keys, in_order, ordinal, ranking_keys
from recommender.vectors import F32, F64, I32, I64, true_scores

U32 = NDArray[np.uint32]
Users = Any  # an array of `USER`

UNIT, UNIT64 = 2.0**-24, 2.0**-52  # relative errors: one operation in float32, two in float64
TINY = 2.0**-120  # above what underflow can take from a product of float32 values


class Catalogue(NamedTuple):
    """The items.

    Attributes
    ----------
    factors
        [items, f], in the order of their codes.
    lengths, codes
        Of the items that can be listed, by length in the metric descending. The place of an item is
        where it stands here. `ROWS` - 1 more codes follow.
    norms
        The largest Euclidean norm of the items from this place on.
    places
        The place of each code, or -1.
    users_metric
        [f, f], or [0, f] where the length of a user is the norm.
    """

    factors: F32
    lengths: F64
    codes: I32
    norms: F64
    places: I32
    users_metric: F64


USER = np.dtype(
    [(name, np.int64) for name in ("wanted", "held", "clean", "true")]
    + [(name, np.float64) for name in ("length", "slack", "floor")]
)
"""What is known of each user of a block.

wanted
    How long the list will be.
held, clean, true
    How many candidates are held; of these, all at the front, how many are known not to be excluded, and
    how many have their true score.
length
    In the metric.
slack
    The error of a computed score, as a multiple of the item's norm.
floor
    A float32 score that `wanted` items not excluded are known to reach.
"""


class Pools(NamedTuple):
    """The candidates of a block's users. Few arrays, for passing each on costs as much as ten products.

    Attributes
    ----------
    users
        `USER` of each.
    values, found
        [users, capacity]: score and place of each candidate, by place but for those of true score.
    hidden
        [users, words]: a bit for each place, set where the item is excluded.
    keys
        [capacity], scratch.
    """

    users: Users
    values: F32
    found: I32
    hidden: U32
    keys: I32


@jit
def margin_of(slack: float, norm: float) -> np.float32:
    """By how much the computed score of an item of at most this norm may be off."""
    return np.float32(slack * norm + TINY)


@jit
def shrink(user: int, factors: F32, pools: Pools, catalogue: Catalogue) -> None:
    """Raise a user's floor to what `wanted` of the candidates reach; drop those that cannot count."""
    this, values, found = pools.users[user], pools.values[user], pools.found[user]
    true, wanted = this.true, this.wanted
    held = _drop_hidden(values, found, this.clean, this.held, pools.hidden[user])
    if held > wanted:
        margin = margin_of(this.slack, catalogue.norms[found[min(true, held - 1)]])
        keys = pools.keys[:held]
        for at in range(held):
            keys[at] = ordinal(values[at] - (margin if at >= true else np.float32(0)))
        floor = float_of(floor_of_keys(keys, wanted, ordinal(np.float32(this.floor))))
        this.floor = floor
        this.true = _keep(values, found, 0, true, 0, floor)
        held = _keep(values, found, true, held, this.true, floor - margin)
    this.held = this.clean = held
    if held > wanted + (len(values) - wanted) // 2:  # too many scores nearly equal
        settle(user, factors, pools, catalogue)


@jit
def _drop_hidden(values: F32, found: I32, start: int, stop: int, hidden: U32) -> int:
    """Move those candidates together that are not excluded; returns where they end."""
    to = start
    for at in range(start, stop):
        place = found[at]
        values[to], found[to] = values[at], place
        to += 1 - (hidden[place >> 5] >> np.uint32(place & 31) & 1)
    return to


@jit
def _keep(values: F32, found: I32, start: int, stop: int, to: int, least: np.float32) -> int:
    """Move those candidates together that score at least this; returns where they end."""
    for at in range(start, stop):
        value = values[at]
        values[to], found[to] = value, found[at]
        to += value >= least
    return to


@jit
def settle(user: int, factors: F32, pools: Pools, catalogue: Catalogue) -> None:
    """Keep the best of a user's candidates by true score, in order."""
    this = pools.users[user]
    held, kept, true = this.held, min(this.wanted, this.held), this.true
    values, found = pools.values[user, :held], pools.found[user, :held]
    codes = catalogue.codes[found]
    if true < held:
        off = this.slack * catalogue.norms[found[true]] * (UNIT64 / UNIT)
        true_scores(factors, catalogue.factors, codes[true:], off, values[true:])
    keys = in_order(ranking_keys(values, codes))
    for at in range(kept):
        values[at] = float_of(~(keys[at] >> 32))
        found[at] = catalogue.places[keys[at] & 0xFFFFFFFF]
    this.held = this.clean = this.true = kept
    if kept == this.wanted:
        this.floor = values[kept - 1]


@jit
def write_list(
    user: int, factors: F32, pools: Pools, catalogue: Catalogue, out: tuple[I64, I32, F32]
) -> None:
    """Put a user's final list where it belongs."""
    this, (bounds, items, scores) = pools.users[user], out
    wanted, start = this.wanted, bounds[user]
    if this.length == 0:
        _write_first(catalogue.places, pools.hidden[user], items[start : start + wanted])
        scores[start : start + wanted] = 0
    elif wanted > 0:
        shrink(user, factors, pools, catalogue)
        settle(user, factors, pools, catalogue)
        for rank in range(wanted):
            items[start + rank] = catalogue.codes[pools.found[user, rank]]
            scores[start + rank] = pools.values[user, rank]


@jit
def _write_first(places: I32, hidden: U32, out: I32) -> None:
    """The first codes that are not excluded: the list of a user for whom all scores are 0."""
    code = 0
    for rank in range(len(out)):
        while places[code] < 0 or hidden[places[code] >> 5] >> np.uint32(places[code] & 31) & 1:
            code += 1
        out[rank] = code
        code += 1
