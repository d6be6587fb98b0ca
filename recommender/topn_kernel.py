"""The compiled part of `recommender.topn`: one block of users against all items."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.jit import jit

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

UNIT = 2.0**-24  # the relative error of one float32 operation
TINY = 2.0**-120  # above what underflow can take from a product of float32 values
LARGEST = 3e38  # scores above it would not be float32
CHUNK = 32


class Catalogue(NamedTuple):
    """The allowed items, by norm descending: factors, norms, codes; and the place of each code, or -1."""

    factors: F32
    norms: F64
    codes: I32
    places: I32


class Pool(NamedTuple):
    """A user's candidates.

    Attributes
    ----------
    values, found
        Score and place of each.
    state
        How many are held; how many of these, all at the front, have their true score.
    scratch
        Room for as many values.
    """

    values: F32
    found: I32
    state: I64
    scratch: F32


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
def hidden_counts(indptr: I32, indices: I32, places: I32) -> I64:
    """How many of the allowed items each user does not want."""
    counts = np.zeros(len(indptr) - 1, np.int64)
    for user in range(len(counts)):
        for at in range(indptr[user], indptr[user + 1]):
            counts[user] += places[indices[at]] >= 0
    return counts


@jit
def solve_block(
    users: F32,
    user_norms: F64,
    catalogue: Catalogue,
    hidden: tuple[I64, I32],
    n: int,
    sizes: tuple[int, int],
    out: tuple[I64, I32, F32],
) -> int:
    """Fill the lists of one block of users; returns how many dot products it computed.

    Parameters
    ----------
    hidden
        ``indptr`` and ``indices`` of the users' excluded item codes.
    sizes
        How many candidates a user's pool holds, and how many items a tile has.
    out
        Where each user's list begins in the two arrays that follow, items and scores.
    """
    factors, lengths = catalogue.factors, catalogue.norms
    capacity, tile = sizes
    count = len(users)
    seen_ptr, seen = _hidden_places(hidden[0], hidden[1], catalogue.places)
    cursor = seen_ptr[:-1].copy()
    values = np.empty((count, capacity), np.float32)
    found = np.empty((count, capacity), np.int32)
    scratch = np.empty(capacity, np.float32)
    state = np.zeros((count, 2), np.int64)  # candidates held; of them, at the front, with their true score
    floor = np.full(count, -np.inf, np.float32)
    slack = user_norms * (UNIT * (users.shape[1] + 8))
    active, rows = np.arange(count), users.copy()
    scores = np.empty(count * tile, np.float32)
    computed = 0
    for start in range(0, len(lengths), tile):
        size = min(tile, len(lengths) - start)
        left = _drop_finished(active, rows, user_norms, floor, lengths[start])
        active, rows = active[:left], rows[:left]
        if left == 0:
            break
        computed += left * size
        part = scores[: left * size].reshape(left, size)
        np.dot(rows, factors[start : start + size].T, part)
        for at in range(left):
            u = active[at]
            cursor[u] = _hide(part[at], seen, cursor[u], seen_ptr[u + 1], start)
            pool = Pool(values[u], found[u], state[u], scratch)
            floor[u] = _scan(part[at], start, floor[u], pool, users[u], slack[u], catalogue, n)
    for u in range(count):
        pool = Pool(values[u], found[u], state[u], scratch)
        _write(pool, users[u], slack[u], catalogue, n, out[0][u], out[1], out[2])
    return computed


@jit
def _hidden_places(indptr: I64, indices: I32, places: I32) -> tuple[I64, I32]:
    """The places of the excluded items of a block's users, ascending for each user."""
    seen_ptr = np.zeros(len(indptr), np.int64)
    seen = np.empty(indptr[-1] - indptr[0], np.int32)
    end = 0
    for user in range(len(indptr) - 1):
        for at in range(indptr[user], indptr[user + 1]):
            if places[indices[at]] >= 0:
                seen[end] = places[indices[at]]
                end += 1
        seen[seen_ptr[user] : end].sort()
        seen_ptr[user + 1] = end
    return seen_ptr, seen


@jit
def _drop_finished(active: I64, rows: F32, user_norms: F64, floor: F32, norm: float) -> int:
    """Keep, at the front, the users for whom an item of this norm could still count."""
    left = 0
    for at in range(len(active)):
        u = active[at]
        if user_norms[u] * norm * (1 + 1e-6) + TINY >= floor[u]:
            if left != at:
                active[left] = u
                rows[left] = rows[at]
            left += 1
    return left


@jit
def _hide(row: F32, seen: I32, cursor: int, end: int, start: int) -> int:
    """Make the excluded items of this tile worse than any; returns the place of the next one."""
    while cursor < end and seen[cursor] < start + len(row):
        row[seen[cursor] - start] = -np.inf
        cursor += 1
    return cursor


@jit
def _scan(
    row: F32, start: int, floor: np.float32, pool: Pool, user: F32, slack: float, catalogue: Catalogue, n: int
) -> np.float32:
    """Take a tile's scores that may belong to the best `n` into the pool; returns the new floor."""
    values, found, state, _ = pool
    margin = slack * catalogue.norms[start] + TINY
    cut = max(np.float32(floor - margin), -np.float32(LARGEST))
    held, size = state[0], len(row)
    for begin in range(0, size, CHUNK):
        end = min(begin + CHUNK, size)
        hits = np.int32(0)
        for at in range(begin, end):
            hits += np.int32(row[at] >= cut)
        if hits == 0:
            continue
        if held + hits > len(values):
            state[0] = held
            floor = _shrink(pool, user, slack, catalogue, n)
            held = state[0]
            cut = max(np.float32(floor - margin), -np.float32(LARGEST))
        for at in range(begin, end):
            if row[at] >= cut:
                values[held] = row[at]
                found[held] = start + at
                held += 1
    state[0] = held
    if held > n and (start == 0 or held > len(values) // 2):
        floor = _shrink(pool, user, slack, catalogue, n)
    return floor


@jit
def _shrink(pool: Pool, user: F32, slack: float, catalogue: Catalogue, n: int) -> np.float32:
    """Drop the candidates that cannot be among the best `n`; returns the score that `n` of them reach."""
    values, found, state, scratch = pool
    norms = catalogue.norms
    held, true = state
    for at in range(held):
        scratch[at] = values[at] - _margin(at, true, slack, norms, found)
    floor = _nth_largest(scratch, held, n)
    kept = kept_true = 0
    for at in range(held):
        if values[at] + _margin(at, true, slack, norms, found) >= floor:
            values[kept] = values[at]
            found[kept] = found[at]
            kept += 1
            kept_true += at < true
    state[0], state[1] = kept, kept_true
    if kept > n + (len(values) - n) // 2:  # too many nearly equal scores for the margin to tell apart
        floor = _settle(pool, user, catalogue, n)
    return floor


@jit
def _margin(at: int, true: int, slack: float, norms: F64, found: I32) -> np.float32:
    """By how much a candidate's value may be off its true score."""
    return np.float32(0) if at < true else np.float32(slack * norms[found[at]] + TINY)


@jit
def _settle(pool: Pool, user: F32, catalogue: Catalogue, n: int) -> np.float32:
    """Keep the best `n` by true score, in order; returns the last one's score."""
    values, found, state, _ = pool
    keys = _sorted_keys(pool, user, catalogue)
    kept = min(n, len(keys))
    for at in range(kept):
        values[at] = _score_of(keys[at])
        found[at] = catalogue.places[keys[at] & 0xFFFFFFFF]
    state[0] = state[1] = kept
    last: np.float32 = values[kept - 1]
    return last


@jit
def _write(
    pool: Pool, user: F32, slack: float, catalogue: Catalogue, n: int, at: int, items: I32, scores: F32
) -> None:
    """Put a user's final list where it belongs."""
    if pool.state[0] > n:
        _shrink(pool, user, slack, catalogue, n)
    keys = _sorted_keys(pool, user, catalogue)[:n]
    for rank in range(len(keys)):
        items[at + rank] = keys[rank] & 0xFFFFFFFF
        scores[at + rank] = _score_of(keys[rank])


@jit
def _sorted_keys(pool: Pool, user: F32, catalogue: Catalogue) -> I64:
    """The candidates by true score descending, then code ascending: each as one integer."""
    _, found, state, _ = pool
    factors, codes = catalogue.factors, catalogue.codes
    keys = np.empty(state[0], np.int64)
    for at in range(state[0]):
        keys[at] = _key(_true_score(user, factors[found[at]]), codes[found[at]])
    keys.sort()
    return keys


@jit
def _true_score(user: F32, item: F32) -> np.float32:
    """The float64 dot product in index order (its products are exact), as float32; never -0."""
    total = 0.0
    for d in range(len(user)):
        total += np.float64(user[d]) * np.float64(item[d])
    return np.float32(total) + np.float32(0)


@jit
def _key(score: np.float32, code: int) -> np.int64:
    """An integer that sorts by score descending, then code ascending."""
    bits = np.int64(_bits(score))
    ascending = bits if bits >= 0 else bits ^ 0x7FFFFFFF
    return (~ascending << 32) | np.int64(code)


@jit
def _score_of(key: int) -> np.float32:
    ascending = ~(key >> 32)
    return _float(np.int32(ascending if ascending >= 0 else ascending ^ 0x7FFFFFFF))


@jit
def _bits(score: np.float32) -> np.int32:
    return np.float32(score).view(np.int32)


@jit
def _float(bits: np.int32) -> np.float32:
    return np.int32(bits).view(np.float32)


@jit
def _nth_largest(values: F32, count: int, n: int) -> np.float32:
    """The n-th largest of the first `count` values (quickselect; reorders them)."""
    low, high, rank = 0, count - 1, n - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            break
    found: np.float32 = values[rank]
    return found
