"""The loops over users and candidates that numpy cannot express, compiled by numba.

Each gives the same bytes on every run: a result depends on one user's rows alone, and sums run
in index order.
"""

from pathlib import Path

import numpy as np

from recommender.arrays import Bool, Float32, Float64, Int8, Int32, Int64
from topn import Compiler

jit = Compiler(Path(__file__)).jit

LEAST = np.nextafter(np.float32(0), np.float32(1))
"""The least positive score."""


@jit
def mix(
    start: Int64, stop: Int64, pool: Int32, banned: Int64, banned_items: Int32, limit: int, n_items: int
) -> tuple[Int64, Int32, Int8]:
    """Draw unique items from ranked sources: all of the first one, then one of each other in turn.

    Parameters
    ----------
    start, stop
        ``[sources, users]``: where in `pool` a source's items of a user lie, best first.
    banned
        ``[users + 1]``: where in `banned_items` the items lie that a user must not get.
    limit
        The most items a user gets.

    Returns
    -------
    tuple
        ``indptr`` int64 ``[users + 1]``, ``items`` int32, and ``sources`` int8, the source that
        gave each item.
    """
    n_sources, n_users = start.shape
    seen = np.full(n_items, -1, np.int64)
    indptr = np.zeros(n_users + 1, np.int64)
    items = np.empty(n_users * limit, np.int32)
    sources = np.empty(n_users * limit, np.int8)
    at = start.copy()
    size = 0
    for user in range(n_users):
        for k in range(banned[user], banned[user + 1]):
            seen[banned_items[k]] = user
        end = size + limit
        source = 0
        idle = 0
        while size < end and idle < n_sources:
            while at[source, user] < stop[source, user] and seen[pool[at[source, user]]] == user:
                at[source, user] += 1
            if at[source, user] < stop[source, user]:
                item = pool[at[source, user]]
                seen[item] = user
                items[size] = item
                sources[size] = source
                size += 1
                idle = 0
                if source == 0:
                    continue
            else:
                idle += 1
            source = source + 1 if source + 1 < n_sources else min(1, n_sources - 1)
        indptr[user + 1] = size
    return indptr, items[:size].copy(), sources[:size].copy()


@jit
def spread(
    indptr: Int64,
    items: Int32,
    weights: Float32,
    links: Int64,
    linked: Int32,
    strength: Float32,
    users: Int32,
    starts: Int64,
    targets: Int32,
) -> Float32:
    """(weights x similarity) of users at some items of each, float32 ``[len(targets)]``.

    Parameters
    ----------
    indptr, items, weights
        The users' rows, as a CSR matrix.
    links, linked, strength
        Each item's neighbours and their similarity, as a CSR matrix.
    starts
        ``[len(users) + 1]``: where in `targets` the items of each of `users` lie.
    """
    out = np.empty(len(targets), np.float32)
    total = np.zeros(len(links) - 1, np.float64)
    for row in range(len(users)):
        own = slice(indptr[users[row]], indptr[users[row] + 1])
        _add_up(items[own], weights[own], links, linked, strength, total)
        for k in range(starts[row], starts[row + 1]):
            out[k] = total[targets[k]]
        _clear(items[own], links, linked, total)
    return out


@jit
def nearest(
    indptr: Int64,
    items: Int32,
    weights: Float32,
    links: Int64,
    linked: Int32,
    strength: Float32,
    users: Int32,
    allowed: Bool,
    repeats: bool,
    n: int,
) -> tuple[Int64, Int32, Float32]:
    """The `n` largest positive scores of each row of (weights x links), ties by code.

    Parameters
    ----------
    indptr, items, weights
        A row for each user: what it holds, and how much of it.
    links, linked, strength
        A row for each of these items: what is near to it, and how near.
    allowed
        bool, one for each code in `linked`; the others are left out.
    repeats
        Whether the user's own items may be among them.

    Returns
    -------
    tuple
        How many each user has, int64 ``[users]``; items int32 and scores float32, from
        ``n * user`` on, best first.
    """
    sizes = np.zeros(len(users), np.int64)
    best = np.zeros(len(users) * n, np.int32)
    scores = np.zeros(len(users) * n, np.float32)
    total = np.zeros(len(allowed), np.float64)
    for row in range(len(users)):
        own = slice(indptr[users[row]], indptr[users[row] + 1])
        _add_up(items[own], weights[own], links, linked, strength, total)
        if not repeats:
            total[items[own]] = 0
        mine = slice(row * n, (row + 1) * n)
        sizes[row] = _keep_largest(items[own], links, linked, total, allowed, best[mine], scores[mine])
    return sizes, best, scores


@jit
def _add_up(
    bought: Int32, weights: Float32, links: Int64, linked: Int32, strength: Float32, total: Float64
) -> None:
    """Add up what is near to the items bought; nothing else is touched, so a row costs what it holds."""
    for k in range(len(bought)):
        for j in range(links[bought[k]], links[bought[k] + 1]):
            total[linked[j]] += np.float64(weights[k]) * np.float64(strength[j])


@jit
def _clear(bought: Int32, links: Int64, linked: Int32, total: Float64) -> None:
    for item in bought:
        for j in range(links[item], links[item + 1]):
            total[linked[j]] = 0


@jit
def _keep_largest(
    bought: Int32,
    links: Int64,
    linked: Int32,
    total: Float64,
    allowed: Bool,
    best: Int32,
    scores: Float32,
) -> int:
    """Keep the largest of what `_add_up` touched, best first; each sum becomes 0 once it is read."""
    size, least = 0, LEAST
    for item in bought:
        for j in range(links[item], links[item + 1]):
            code, value = linked[j], np.float32(total[linked[j]])
            total[code] = 0
            # Nearly all: to call a function for each takes twice as long.
            if value < least or not allowed[code]:
                continue
            size = _insert(code, value, size, best, scores)
            if size == len(best):
                least = scores[0]
    for last in range(size - 1, 0, -1):  # the least goes to the end, the next to it before that
        code, value = best[last], scores[last]
        best[last], scores[last] = best[0], scores[0]
        _sink(code, value, last, best, scores)
    return size


@jit
def _insert(code: int, value: np.float32, size: int, best: Int32, scores: Float32) -> int:
    """Put an item into a heap whose first is the least, in place of that one where the heap is full."""
    if size < len(best):
        _rise(code, value, size, best, scores)
        return size + 1
    if size and _is_less(scores[0], best[0], value, code):
        _sink(code, value, size, best, scores)
    return size


@jit
def _is_less(value: np.float32, code: int, other: np.float32, other_code: int) -> bool:
    return bool(value < other or (value == other and code > other_code))


@jit
def _rise(code: int, value: np.float32, at: int, best: Int32, scores: Float32) -> None:
    """Put an item at the end of a heap, or above those that are larger."""
    while at > 0:
        above = (at - 1) // 2
        if not _is_less(value, code, scores[above], best[above]):
            break
        best[at], scores[at] = best[above], scores[above]
        at = above
    best[at], scores[at] = code, value


@jit
def _sink(code: int, value: np.float32, size: int, best: Int32, scores: Float32) -> None:
    """Put an item in place of the first of a heap, or below those that are less."""
    at = 0
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _is_less(scores[below + 1], best[below + 1], scores[below], best[below]):
            below += 1
        if _is_less(value, code, scores[below], best[below]):
            break
        best[at], scores[at] = best[below], scores[below]
        at = below
    best[at], scores[at] = code, value
