"""The compiled part of `recommender.topn`: one block of users against all items.

`solve_block` is the algorithm; what follows it is in the order of use.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.jit import jit
from recommender.simd import ROWS, WIDTH, products, reached, trailing_zeros
from recommender.vectors import F32, F64, I32, I64, norms, true_scores

U32 = NDArray[np.uint32]

UNIT = 2.0**-24  # the relative error of one float32 operation
SPARE = 8  # roundings beside the f of a product: true score, cut, margin, and up to 4 in second order
TINY = 2.0**-120  # above what underflow can take from a product of float32 values
NEAR, FRESH = 1.25, 32  # times the floor, new candidates: when raising it early is likely to end a user
COUNTED = 512  # up to so many integers, counting sorts faster than comparing


class Catalogue(NamedTuple):
    """The items.

    Attributes
    ----------
    factors
        [items, f], in the order of their codes.
    norms, codes
        Of the items that can be listed, by norm descending. The place of an item is where it
        stands here. `ROWS` - 1 more codes follow.
    places
        The place of each code, or -1.
    """

    factors: F32
    norms: F64
    codes: I32
    places: I32


class Pools(NamedTuple):
    """The candidates of a block's users, and what else is known of each of these.

    Attributes
    ----------
    values, found
        [users, capacity]: score and place of each candidate, by place but for those of true score.
    held, clean, true
        How many are held; of these, all at the front, how many are known not to be excluded, and
        how many have their true score.
    floor
        A score that `wanted` candidates reach.
    wanted
        How long the list will be.
    length, slack
        The norm; the error of a computed score, as a multiple of the item's norm.
    hidden
        [users, words]: a bit for each place, set where the item is excluded.
    keys
        [capacity], scratch.
    """

    values: F32
    found: I32
    held: I64
    clean: I64
    true: I64
    floor: F32
    wanted: I64
    length: F64
    slack: F64
    hidden: U32
    keys: I32


class Scratch(NamedTuple):
    """Where a panel meets a tile.

    Attributes
    ----------
    cuts
        [WIDTH]: below which computed score an item cannot count for the user in this lane.
    scores
        [tile, WIDTH].
    rows, lanes
        [tile + 1]: which rows of `scores` have any that count, and in which lanes, as bits.
    """

    cuts: F32
    scores: F32
    rows: I64
    lanes: I64


@jit
def solve_block(
    users: F32,
    catalogue: Catalogue,
    exclusions: tuple[I64, I32],
    sizes: tuple[int, int],
    prune: bool,
    out: tuple[I64, I32, F32],
) -> int:
    """Fill the lists of one block of users; returns how many dot products it computed.

    Parameters
    ----------
    exclusions
        ``indptr`` and ``indices`` of the users' excluded item codes.
    sizes
        How many candidates a pool holds, more than a list has; and how many items a tile.
    prune
        Whether users may be done before the last item.
    out
        Where each user's list begins in the two arrays that follow, items and scores.
    """
    capacity, tile = sizes
    pools = _pools(users, catalogue, exclusions, capacity, out[0])
    active = np.flatnonzero((pools.wanted > 0) & (pools.length > 0))
    panels = _panels(users, active)
    scratch = _scratch(tile)
    left, computed = len(active), 0
    for start in range(0, len(catalogue.norms), tile):
        norm, stop = catalogue.norms[start], min(start + tile, len(catalogue.norms))
        if prune:
            left = _drop_finished(active, left, panels, users, pools, catalogue, norm)
        for first in range(0, left, WIDTH):
            lanes = active[first : min(first + WIDTH, left)]
            _set_cuts(scratch.cuts, lanes, pools, norm)
            hits = _score(panels[first // WIDTH], catalogue, start, stop, scratch)
            _collect(scratch, hits, start, lanes, users, pools, catalogue)
        computed += left * (stop - start)
    for user in range(len(users)):
        _write(user, users[user], pools, catalogue, out)
    return computed


@jit
def _pools(
    users: F32, catalogue: Catalogue, exclusions: tuple[I64, I32], capacity: int, bounds: I64
) -> Pools:
    count, length = len(users), norms(users)
    return Pools(
        np.empty((count, capacity), np.float32),
        np.empty((count, capacity), np.int32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, -np.inf, np.float32),
        bounds[1:] - bounds[:-1],
        length,
        length * (UNIT * (users.shape[1] + SPARE)),
        _hidden_bits(exclusions[0], exclusions[1], catalogue),
        np.empty(capacity, np.int32),
    )


@jit
def _hidden_bits(indptr: I64, indices: I32, catalogue: Catalogue) -> U32:
    bits = np.zeros((len(indptr) - 1, (len(catalogue.norms) + 31) // 32), np.uint32)
    for user in range(len(indptr) - 1):
        for at in range(indptr[user], indptr[user + 1]):
            place = catalogue.places[indices[at]]
            if place >= 0:
                bits[user, place >> 5] |= np.uint32(1) << np.uint32(place & 31)
    return bits


@jit
def _panels(users: F32, active: I64) -> F32:
    """The factors of users as columns, `WIDTH` to a panel; the last one ends in columns of zeros."""
    panels = np.zeros(((len(active) + WIDTH - 1) // WIDTH, users.shape[1], WIDTH), np.float32)
    for at in range(len(active)):
        panels[at // WIDTH, :, at % WIDTH] = users[active[at]]
    return panels


@jit
def _scratch(tile: int) -> Scratch:
    whole = (tile + ROWS - 1) // ROWS * ROWS
    return Scratch(
        np.empty(WIDTH, np.float32),
        np.empty((whole, WIDTH), np.float32),
        np.empty(tile + 1, np.int64),
        np.empty(tile + 1, np.int64),
    )


@jit
def _drop_finished(
    active: I64, left: int, panels: F32, users: F32, pools: Pools, catalogue: Catalogue, norm: float
) -> int:
    """Keep, at the front, the users for whom an item of this norm could still count."""
    at = 0
    while at < left:
        user = active[at]
        best = pools.length[user] * norm * (1 + 1e-6) + TINY
        is_near = pools.floor[user] <= best < NEAR * pools.floor[user]
        if is_near and pools.held[user] - pools.clean[user] >= FRESH:
            _shrink(user, users[user], pools, catalogue)
        if best >= pools.floor[user]:
            at += 1
        else:
            left -= 1
            active[at] = active[left]
            panels[at // WIDTH, :, at % WIDTH] = panels[left // WIDTH, :, left % WIDTH]
    return left


@jit
def _set_cuts(cuts: F32, lanes: I64, pools: Pools, norm: float) -> None:
    cuts[len(lanes) :] = np.inf
    for lane in range(len(lanes)):
        user = lanes[lane]
        cuts[lane] = pools.floor[user] - _margin(pools.slack[user], norm)


@jit
def _margin(slack: float, norm: float) -> np.float32:
    """By how much the computed score of an item of at most this norm may be off."""
    return np.float32(slack * norm + TINY)


@jit
def _score(panel: F32, catalogue: Catalogue, start: int, stop: int, scratch: Scratch) -> int:
    """Multiply a panel by a tile; returns how many rows of the scores have any that count."""
    hits = 0
    for first in range(0, stop - start, ROWS):
        products(panel, catalogue.factors, catalogue.codes, start + first, scratch.scores[first:])
        for row in range(first, min(first + ROWS, stop - start)):
            lanes = reached(scratch.scores, row, scratch.cuts)
            scratch.rows[hits], scratch.lanes[hits] = row, lanes
            hits += lanes != 0
    return hits


@jit
def _collect(
    scratch: Scratch, hits: int, start: int, lanes: I64, users: F32, pools: Pools, catalogue: Catalogue
) -> None:
    """Take the scores that count into the pools of their users."""
    at = 0
    while at < hits:  # one loop over rows and lanes, for a loop's end is a branch guessed wrong
        row, lane = scratch.rows[at], trailing_zeros(scratch.lanes[at])
        scratch.lanes[at] &= scratch.lanes[at] - 1
        at += scratch.lanes[at] == 0
        user = lanes[lane]
        held = pools.held[user]
        pools.values[user, held] = scratch.scores[row, lane]
        pools.found[user, held] = start + row
        pools.held[user] = held + 1
        if held + 1 == pools.values.shape[1]:
            _shrink(user, users[user], pools, catalogue)


@jit
def _shrink(user: int, factors: F32, pools: Pools, catalogue: Catalogue) -> None:
    """Raise a user's floor to what `wanted` of the candidates reach; drop those that cannot count."""
    values, found = pools.values[user], pools.found[user]
    true, wanted = pools.true[user], pools.wanted[user]
    held = _drop_hidden(values, found, pools.clean[user], pools.held[user], pools.hidden[user])
    if held > wanted:
        margin = _margin(pools.slack[user], catalogue.norms[found[min(true, held - 1)]])
        keys = pools.keys[:held]
        for at in range(held):
            keys[at] = _ordinal(values[at] - (margin if at >= true else np.float32(0)))
        floor = _float(_reached_by(keys, wanted, _ordinal(pools.floor[user])))
        pools.floor[user] = floor
        pools.true[user] = _keep(values, found, 0, true, 0, floor)
        held = _keep(values, found, true, held, pools.true[user], floor - margin)
    pools.held[user] = pools.clean[user] = held
    if held > wanted + (len(values) - wanted) // 2:  # too many scores nearly equal
        _settle(user, factors, pools, catalogue)


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
def _reached_by(keys: I32, n: int, low: int | np.int32) -> int:
    """The n-th largest of integers, or a smaller one that few more reach; `low` is one that `n` reach.

    Bisection, which counts without branches.
    """
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
            if count <= n + n // 32:
                break
    return int(lowest)


@jit
def _settle(user: int, factors: F32, pools: Pools, catalogue: Catalogue) -> None:
    """Keep the best of a user's candidates by true score, in order."""
    held, kept = pools.held[user], min(pools.wanted[user], pools.held[user])
    values, found = pools.values[user, :held], pools.found[user, :held]
    codes = catalogue.codes[found]
    true_scores(factors, catalogue.factors, codes, pools.true[user], values)
    keys = _sorted(_keys(values, codes))
    for at in range(kept):
        values[at] = _float(~(keys[at] >> 32))
        found[at] = catalogue.places[keys[at] & 0xFFFFFFFF]
    pools.held[user] = pools.clean[user] = pools.true[user] = kept
    if kept == pools.wanted[user]:
        pools.floor[user] = values[kept - 1]


@jit
def _keys(scores: F32, codes: I32) -> I64:
    """Integers that sort by score descending, then code ascending."""
    keys = np.empty(len(codes), np.int64)
    for at in range(len(codes)):
        keys[at] = (np.int64(~_ordinal(scores[at])) << 32) | np.int64(codes[at])
    return keys


@jit
def _sorted(keys: I64) -> I64:
    """Integers of which no two are equal, ascending."""
    if len(keys) > COUNTED:
        return np.sort(keys)
    ordered = np.empty_like(keys)
    for at in range(len(keys)):
        rank = np.int64(0)
        for other in range(len(keys)):
            rank += np.int64(keys[other] < keys[at])
        ordered[rank] = keys[at]
    return ordered


@jit
def _ordinal(score: np.float32) -> np.int32:
    """An integer in the order of the floats."""
    bits = np.float32(score).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


@jit
def _float(ordinal: int) -> np.float32:
    """The float of an `_ordinal`."""
    return np.int32(ordinal ^ ((ordinal >> 63) & 0x7FFFFFFF)).view(np.float32)


@jit
def _write(user: int, factors: F32, pools: Pools, catalogue: Catalogue, out: tuple[I64, I32, F32]) -> None:
    """Put a user's final list where it belongs."""
    bounds, items, scores = out
    if pools.length[user] == 0:
        end = bounds[user] + pools.wanted[user]
        _write_first(catalogue.places, pools.hidden[user], items[bounds[user] : end])
        scores[bounds[user] : end] = 0
    elif pools.wanted[user] > 0:
        _shrink(user, factors, pools, catalogue)
        _settle(user, factors, pools, catalogue)
        for rank in range(pools.wanted[user]):
            items[bounds[user] + rank] = catalogue.codes[pools.found[user, rank]]
            scores[bounds[user] + rank] = pools.values[user, rank]


@jit
def _write_first(places: I32, hidden: U32, out: I32) -> None:
    """The first codes that are not excluded: the list of a user for whom all scores are 0."""
    code = 0
    for rank in range(len(out)):
        while places[code] < 0 or hidden[places[code] >> 5] >> np.uint32(places[code] & 31) & 1:
            code += 1
        out[rank] = code
        code += 1
