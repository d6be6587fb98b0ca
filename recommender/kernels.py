"""The loops over users and candidates that numpy cannot express, compiled by numba.

Each gives the same bytes on every run: a result depends on one user's rows alone, and sums run
in index order.
"""

from pathlib import Path
from typing import Any

import numpy as np

from recommender.arrays import Bool, Float32, Float64, Int8, Int32, Int64
from topn import Compiler

jit = Compiler(Path(__file__)).jit


def csr_parts(matrix: Any, values: type[np.floating[Any]] = np.float32) -> tuple[Int64, Int32, Any]:
    """A CSR matrix as arrays of the types that the kernels are compiled for."""
    typed = ((matrix.indptr, np.int64), (matrix.indices, np.int32), (matrix.data, values))
    indptr, indices, data = (part.astype(kind, copy=False) for part, kind in typed)
    return indptr, indices, data


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
    """The `n` largest positive scores of each row of (weights x similarity), ties by code.

    Parameters
    ----------
    allowed
        bool ``[items]``; the others are left out.
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
    total = np.zeros(len(links) - 1, np.float64)
    for row in range(len(users)):
        own = slice(indptr[users[row]], indptr[users[row] + 1])
        _add_up(items[own], weights[own], links, linked, strength, total)
        if not repeats:
            total[items[own]] = 0
        mine = slice(row * n, (row + 1) * n)
        sizes[row] = _keep_largest(items[own], links, linked, total, allowed, best[mine], scores[mine])
        _clear(items[own], links, linked, total)
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
    """Insert what `_add_up` touched into `best` in order; each sum becomes 0 once it is read."""
    size = 0
    for item in bought:
        for j in range(links[item], links[item + 1]):
            code, value = linked[j], np.float32(total[linked[j]])
            total[code] = 0
            if allowed[code] and value > 0:
                size = _insert(code, value, size, best, scores)
    return size


@jit
def _insert(code: int, value: np.float32, size: int, best: Int32, scores: Float32) -> int:
    at = size
    while at > 0 and (scores[at - 1] < value or (scores[at - 1] == value and best[at - 1] > code)):
        if at < len(best):
            best[at], scores[at] = best[at - 1], scores[at - 1]
        at -= 1
    if at < len(best):
        best[at], scores[at] = code, value
    return min(size + 1, len(best))


@jit
def alike(
    indptr: Int64,
    users: Int32,
    weights: Float64,
    bounds: Int64,
    items: Int32,
    strengths: Float64,
    first: int,
    last: int,
    n: int,
) -> tuple[Int64, Int32, Float64]:
    """The `n` largest entries of rows `first` to `last` of (items x users) x (users x items).

    Which of equal ones stay at the end follows from the order of users and items, as it does in implicit.

    Parameters
    ----------
    indptr, users, weights
        Each item's users, as a CSR matrix.
    bounds, items, strengths
        Each user's items, as a CSR matrix.

    Returns
    -------
    tuple
        How many each row has, int64; item codes int32 and entries float64, one row after the other.
    """
    n_items = len(indptr) - 1
    total, seen = np.zeros(n_items, np.float64), np.full(n_items, -1, np.int32)
    touched = np.empty(n_items + 1, np.int32)
    sizes = np.zeros(last - first, np.int64)
    near = np.empty((last - first) * n, np.int32)
    scores = np.empty((last - first) * n, np.float64)
    end = 0
    for item in range(first, last):
        count = 0
        for k in range(indptr[item], indptr[item + 1]):
            own = slice(bounds[users[k]], bounds[users[k] + 1])
            count = _add_row(weights[k], items[own], strengths[own], item, total, seen, touched, count)
        size = _keep(touched[:count], total, near[end : end + n], scores[end : end + n])
        sizes[item - first] = size
        end += size
    return sizes, near[:end].copy(), scores[:end].copy()


@jit
def _add_row(
    weight: float,
    items: Int32,
    strengths: Float64,
    row: int,
    total: Float64,
    seen: Int32,
    touched: Int32,
    count: int,
) -> int:
    """Add a user's items, times a weight; `touched` gets those that are new to the row, without a branch."""
    for k in range(len(items)):
        code = items[k]
        touched[count] = code
        count += seen[code] != row
        seen[code] = row
        total[code] += strengths[k] * weight
    return count


@jit
def _keep(touched: Int32, total: Float64, codes: Int32, scores: Float64) -> int:
    """Put the largest totals into a heap, the lowest first, from the last touched on; all become 0."""
    size = 0
    for code in touched[::-1]:
        score = total[code]
        total[code] = 0
        if size < len(scores):
            _rise(code, score, size, codes, scores)
            size += 1
        elif score > scores[0]:
            _sink(code, score, codes, scores)
    return size


@jit
def _rise(code: int, score: float, at: int, codes: Int32, scores: Float64) -> None:
    """Add an entry to a heap, whose end is `at`."""
    while at > 0:
        parent = (at - 1) >> 1
        if not _is_below(score, code, scores[parent], codes[parent]):
            break
        codes[at], scores[at] = codes[parent], scores[parent]
        at = parent
    codes[at], scores[at] = code, score


@jit
def _sink(code: int, score: float, codes: Int32, scores: Float64) -> None:
    """Replace the lowest entry of a heap."""
    at, child = 0, 1
    while child < len(scores):
        if child + 1 < len(scores) and _is_below(
            scores[child + 1], codes[child + 1], scores[child], codes[child]
        ):
            child += 1
        if _is_below(score, code, scores[child], codes[child]):
            break
        codes[at], scores[at] = codes[child], scores[child]
        at, child = child, 2 * child + 1
    codes[at], scores[at] = code, score


@jit
def _is_below(score: float, code: int, other: float, other_code: int) -> bool:
    return score < other or (score == other and code < other_code)
