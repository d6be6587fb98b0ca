"""One block of users against all items: what a thread does, compiled.

`solve_block` is the algorithm; what follows it is in the order of use.
"""

from typing import NamedTuple

import numpy as np

from topn.arrays import Float32, Int32, Int64, UInt32
from topn.jit import jit
from topn.ordering import OrderedItems
from topn.pools import TINY, UNIT, USER, Pools, Users, margin_of, shrink, write_list
from topn.selection import floors_of_lanes
from topn.simd import ROWS, WIDTH, products, reached, trailing_zeros
from topn.vectors import lengths_in, norms

# Roundings beside the f of a product: true score, cut, margin, shrinking, and up to 4 in second order.
SPARE = 8
ROUNDING = 1 + 1e-6  # of floors to float32, and of lengths
# A floor is raised before the pool is full if that is likely to end the user:
NEAR = 1.25  # the user's bound is below so many times the floor,
FRESH = 32  # and so many candidates came after the last `shrink`.


class Scratch(NamedTuple):
    """Space for panels of `WIDTH` users, each in a lane, for a tile of items, and for the scores of both.

    Attributes
    ----------
    panels
        float32 [panels, f, WIDTH].
    items
        float32 [tile, f]: the factors of the tile's items in the order of their places. A processor fetches
        what lies side by side before it is asked for.
    cuts
        float32 [WIDTH]: an item whose computed score is below it cannot count for the user in this lane.
    scores
        float32 [tile, WIDTH].
    rows, lanes
        int64 [tile]: the rows of `scores` that have any that count, and their lanes, as bits.
    """

    panels: Float32
    items: Float32
    cuts: Float32
    scores: Float32
    rows: Int64
    lanes: Int64


def workspace(users: int, factors: int, items: int, capacity: int, tile: int) -> tuple[Pools, Scratch]:
    """What one thread needs for blocks of so many users, pools of this capacity and tiles of this height."""
    pools = Pools(
        np.empty(users, USER),
        np.empty((users, capacity), np.float32),
        np.empty((users, capacity), np.int32),
        np.empty((users, (items + 31) // 32), np.uint32),
        np.empty(capacity, np.int32),
    )
    panels, rows = -(-users // WIDTH), -(-tile // ROWS) * ROWS
    return pools, Scratch(
        np.empty((panels, factors, WIDTH), np.float32),
        np.empty((rows, factors), np.float32),
        np.empty(WIDTH, np.float32),
        np.empty((rows, WIDTH), np.float32),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
    )


@jit
def solve_block(
    factors: Float32,
    ordered: OrderedItems,
    exclusions: tuple[Int64, Int32],
    tiles: tuple[int, int],
    prune: bool,
    space: tuple[Pools, Scratch],
    out: tuple[Int64, Int32, Float32],
) -> int:
    """Fill the lists of one block of users; returns how many dot products it computed.

    Parameters
    ----------
    factors
        float32 [users, f].
    exclusions
        `indptr`, int64 [users + 1], and `indices` of the users' excluded item codes.
    tiles
        How many items the first tile has, and each of the others.
    prune
        Whether users may be done before the last item.
    space
        A `workspace` for at least so many users.
    out
        Where each user's list begins in the next two arrays, which are the lists' items and scores.
    """
    (pools, scratch), bounds = space, out[0]
    _open(factors, ordered, exclusions, pools, bounds)
    active = _active(pools.users[: len(factors)])
    _fill_panels(scratch.panels, factors, active)
    unfinished, computed, start, stop = len(active), 0, 0, min(tiles[0], len(ordered.norms))
    while start < stop and unfinished > 0:
        if prune:
            unfinished = _drop_finished(active, unfinished, scratch.panels, factors, pools, ordered, start)
        _fill_items(scratch.items, ordered, start, stop)
        for first in range(0, unfinished, WIDTH):
            lanes = active[first : min(first + WIDTH, unfinished)]
            panel = scratch.panels[first // WIDTH]
            _set_cuts(scratch.cuts, lanes, pools.users, ordered.norms[start])
            for row in range(0, stop - start, ROWS):
                products(panel, scratch.items, scratch.cuts, row, scratch.scores, scratch.lanes)
            if start == 0:
                _set_floors(lanes, pools, ordered, stop, scratch)
            hits = _note(scratch, stop - start)
            _collect(scratch, hits, start, lanes, factors, pools, ordered)
        computed += unfinished * (stop - start)
        start, stop = stop, min(stop + tiles[1], len(ordered.norms))
    for user in range(len(factors)):
        write_list(user, factors[user], pools, ordered, out)
    return computed


@jit
def _open(
    factors: Float32, ordered: OrderedItems, exclusions: tuple[Int64, Int32], pools: Pools, bounds: Int64
) -> None:
    """Empty the pools for these users."""
    lengths = norms(factors)
    for user in range(len(factors)):
        state = pools.users[user]
        state.n = bounds[user + 1] - bounds[user]
        state.held = state.clean = state.true = 0
        state.length = lengths[user]
        state.slack = lengths[user] * (UNIT * (factors.shape[1] + SPARE))
        state.floor = -np.inf
    if len(ordered.users_metric):
        lengths = lengths_in(factors, ordered.users_metric)
        for user in range(len(factors)):
            pools.users[user].length = lengths[user]
    _mark_hidden(pools.hidden[: len(factors)], exclusions[0], exclusions[1], ordered.places)


@jit
def _mark_hidden(hidden: UInt32, indptr: Int64, indices: Int32, places: Int32) -> None:
    hidden[:] = 0
    for user in range(len(hidden)):
        for at in range(indptr[user], indptr[user + 1]):
            place = places[indices[at]]
            if place >= 0:
                hidden[user, place >> 5] |= np.uint32(1) << np.uint32(place & 31)


@jit
def _active(users: Users) -> Int64:
    """The users for whom anything is to be computed."""
    active = np.empty(len(users), np.int64)
    count = 0
    for user in range(len(users)):
        active[count] = user
        count += users[user].n > 0 and users[user].length > 0
    return active[:count]


@jit
def _fill_panels(panels: Float32, factors: Float32, active: Int64) -> None:
    # A lane without a user must not hold the factors of an earlier one.
    panels[: (len(active) + WIDTH - 1) // WIDTH] = 0
    for at in range(len(active)):
        panels[at // WIDTH, :, at % WIDTH] = factors[active[at]]


@jit
def _fill_items(items: Float32, ordered: OrderedItems, start: int, stop: int) -> None:
    for place in range(start, stop):
        code = ordered.codes[place]
        for d in range(items.shape[1]):
            items[place - start, d] = ordered.factors[code, d]


@jit
def _drop_finished(
    active: Int64,
    unfinished: int,
    panels: Float32,
    factors: Float32,
    pools: Pools,
    ordered: OrderedItems,
    start: int,
) -> int:
    """Move to the front the users for whom items from this place on could count; returns how many."""
    at, users = 0, pools.users
    while at < unfinished:
        user = active[at]
        best = users[user].length * ordered.lengths[start] * ROUNDING + TINY
        is_near = users[user].floor <= best < NEAR * users[user].floor
        if is_near and users[user].held - users[user].clean >= FRESH:
            shrink(user, factors[user], pools, ordered)
        if best >= users[user].floor:
            at += 1
        else:
            unfinished -= 1
            active[at] = active[unfinished]
            panels[at // WIDTH, :, at % WIDTH] = panels[unfinished // WIDTH, :, unfinished % WIDTH]
    return unfinished


@jit
def _set_floors(lanes: Int64, pools: Pools, ordered: OrderedItems, stop: int, scratch: Scratch) -> None:
    """Set the floors of a panel by the scores of the first tile, and find anew which of them count."""
    _first_floors(scratch.scores[:stop], lanes, pools, ordered.norms[0])
    _set_cuts(scratch.cuts, lanes, pools.users, ordered.norms[0])
    for row in range(stop):
        scratch.lanes[row] = reached(scratch.scores, row, scratch.cuts)


@jit
def _first_floors(scores: Float32, lanes: Int64, pools: Pools, norm: float) -> None:
    """Set the users' floors by the scores of the first tile."""
    # Lanes without a user keep this. All their scores are 0, so their search ends at once.
    n = np.full(WIDTH, len(scores))
    for lane in range(len(lanes)):
        n[lane] = pools.users[lanes[lane]].n
        _hide(scores, lane, pools.hidden[lanes[lane]])
    floors = floors_of_lanes(scores, n)
    for lane in range(len(lanes)):
        user = pools.users[lanes[lane]]
        user.floor = floors[lane] - margin_of(user.slack, norm)


@jit
def _hide(scores: Float32, lane: int, hidden: UInt32) -> None:
    """Put the scores of a user's excluded items below all others."""
    for word in range((len(scores) + 31) // 32):
        bits = np.int64(hidden[word])
        while bits:
            place = 32 * word + trailing_zeros(bits)
            if place < len(scores):
                scores[place, lane] = -np.inf
            bits &= bits - 1


@jit
def _set_cuts(cuts: Float32, lanes: Int64, users: Users, norm: float) -> None:
    cuts[len(lanes) :] = np.inf
    for lane in range(len(lanes)):
        user = users[lanes[lane]]
        cuts[lane] = np.float32(user.floor) - margin_of(user.slack, norm)


@jit
def _note(scratch: Scratch, stop: int) -> int:
    """Close the gaps of the rows in which no score counts; returns how many rows are left."""
    rows, lanes, hits = scratch.rows, scratch.lanes, 0
    for row in range(stop):
        rows[hits], lanes[hits] = row, lanes[row]
        hits += lanes[hits] != 0
    return hits


@jit
def _collect(
    scratch: Scratch,
    hits: int,
    start: int,
    lanes: Int64,
    factors: Float32,
    pools: Pools,
    ordered: OrderedItems,
) -> None:
    """Take the scores that count into the pools of their users."""
    rows, bits, scores = scratch.rows, scratch.lanes, scratch.scores
    users, values, places = pools.users, pools.values, pools.places
    capacity, at = values.shape[1], 0
    while at < hits:  # one loop over rows and lanes, as the end of a loop is a branch guessed wrong
        row, lane = rows[at], trailing_zeros(bits[at])
        bits[at] &= bits[at] - 1
        at += bits[at] == 0
        user = lanes[lane]
        held = users[user].held
        values[user, held] = scores[row, lane]
        places[user, held] = start + row
        users[user].held = held + 1
        if held + 1 == capacity:
            shrink(user, factors[user], pools, ordered)
