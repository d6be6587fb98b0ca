"""Exact top-N of every user over all items: matrix products that stop early.

Items are met by falling norm. For each user a pool holds the candidates so far, and a *floor* is a
score that N of them are known to reach. By Cauchy-Schwarz no item of norm ``y`` scores above
``|u| y``: a user whose floor is above that is done (Teflioudi and others, LEMP, SIGMOD 2015).

A score is the float64 dot product in index order, rounded to float32. The float32 products only
select: they are off by at most ``e``, about ``(f + 2) 2^-24 |u| |y|``, so an item is dropped only
where its ``s + e`` is below the N-th best ``s - e``. The survivors are scored again. So no result
depends on tiles, threads, the processor's vectors, or which users share a block.

Here are the checks, the order of the items and the threads; `recommender.topn_kernel` is what a
thread does with a block of users.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from lake import settings
from recommender import topn_kernel as kernel
from recommender.simd import ROWS, WIDTH

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]

LARGEST = 3e38  # scores above it would not be float32
TILE_ITEMS = 256
BLOCK_USERS = 10 * WIDTH
CHECKED_USERS = 65536
BLOCKS_A_THREAD = 4  # so that threads end at about the same time
LEAST_SPARE = 32  # candidates that a pool has room for beyond a list


@dataclass(frozen=True)
class TopN:
    """The best items of every user; those of user ``u`` lie at ``indptr[u]:indptr[u + 1]``.

    Attributes
    ----------
    indptr
        int64 [users + 1].
    items
        int32, item codes, by score descending, then code ascending.
    scores
        float32, beside `items`.
    computed
        The fraction of all dot products of users and allowed items that were computed.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    scores: Floats
    computed: float = 1.0


def top_n(
    user_factors: Floats,
    item_factors: Floats,
    n: int,
    *,
    exclude: csr_matrix | None = None,
    allowed: Mask | None = None,
    memory_mib: int = 64,
    threads: int | None = None,
    on_progress: Progress | None = None,
    prune: bool = True,
) -> TopN:
    """Find the `n` items with the largest dot product for every user, exactly.

    Parameters
    ----------
    user_factors, item_factors
        float32 [users, f] and [items, f], finite; copied unless each row follows the one before.
    n
        How many items at most; a user with fewer that are left gets those.
    exclude
        users x items; what is stored (whatever its value) is left out for that user.
    allowed
        bool [items]; the others are left out for all.
    memory_mib
        What all threads may take beside inputs and outputs. Not less than 50 bytes an item are
        taken, and what one user a thread needs: 16 bytes an item of a list and a bit an item.
    threads
        How many threads; None for all that the process may run on.
    on_progress
        Called with users done and users in all, in the calling thread.
    prune
        False computes every dot product: for measurements.

    Raises
    ------
    ValueError
        When shapes or types do not fit, `n` is below 1, a factor is not finite, or a code in
        `exclude` is not an item's.
    """
    users, items = _checked_factors(user_factors, item_factors)
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    mask = _checked_mask(allowed, len(items))
    hidden = _checked_exclusions(exclude, len(users), len(items))
    catalogue = _catalogue(items, mask, n + int(np.diff(hidden.indptr).max(initial=0)))
    _check_users(users, catalogue.norms.max(initial=0))
    bounds = _list_bounds(hidden, mask, n)
    out = bounds, np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.float32)
    work = _Work(users, catalogue, hidden, min(n, len(catalogue.norms)), prune, out)
    computed = work.run(max(1, threads or settings.cores()), memory_mib, on_progress)
    return TopN(*out, computed / max(1, len(users) * int(mask.sum())))


def _catalogue(items: Floats, allowed: Mask, most: int) -> kernel.Catalogue:
    """The allowed items by falling norm; of those with the same factors the first `most`."""
    lengths = kernel.norms(items)
    _refuse_infinite(lengths, "item_factors", 0)
    codes = np.flatnonzero(allowed).astype(np.int32)
    codes = codes[np.argsort(-lengths[codes], kind="stable")]
    codes = codes[kernel.among_first(items, lengths, codes, most)]
    places = np.full(len(items), -1, np.int32)
    places[codes] = np.arange(len(codes), dtype=np.int32)
    padded = np.append(codes, np.repeat(codes[-1:], ROWS - 1))
    return kernel.Catalogue(items, lengths[codes], padded, places)


def _list_bounds(hidden: csr_matrix, allowed: Mask, n: int) -> npt.NDArray[np.int64]:
    """Where the users' lists begin and end, when all that are left and `n` at most are listed."""
    bounds = np.zeros(hidden.shape[0] + 1, np.int64)
    last_user = np.full(len(allowed), -1, np.int32)
    for block in _blocks(hidden.shape[0], CHECKED_USERS):
        lengths = bounds[block.start + 1 : block.stop + 1]
        kernel.list_lengths(*_rows(hidden, block), block.start, allowed, last_user, n, lengths)
    return np.cumsum(bounds, out=bounds)


@dataclass(frozen=True)
class _Work:
    users: Floats
    catalogue: kernel.Catalogue
    hidden: csr_matrix
    n: int
    prune: bool
    out: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], Floats]

    def run(self, threads: int, memory_mib: int, on_progress: Progress | None) -> int:
        """Solve all blocks, `threads` at a time; count the dot products."""
        capacity = self.n + max(self.n, LEAST_SPARE)
        size = min(
            self._affordable_users(memory_mib, threads, capacity),
            -(-len(self.users) // (threads * BLOCKS_A_THREAD * WIDTH)) * WIDTH,
            BLOCK_USERS,
        )
        with ThreadPoolExecutor(threads) as pool:
            blocks = _blocks(len(self.users), max(1, size))
            return sum(_in_turn(pool, lambda block: self._solve(block, capacity), blocks, on_progress))

    def _affordable_users(self, memory_mib: int, threads: int, capacity: int) -> int:
        items, factors = len(self.catalogue.norms), self.users.shape[1]
        thread = (memory_mib * 2**20 - 24 * items) // threads - 4 * TILE_ITEMS * (WIDTH + 4)
        user: int = 8 * capacity + 4 * factors + items // 8 + 80
        return thread // user

    def _solve(self, block: slice, capacity: int) -> int:
        bounds, items, scores = self.out
        computed: int = kernel.solve_block(
            self.users[block],
            self.catalogue,
            _rows(self.hidden, block),
            (capacity, TILE_ITEMS),
            self.prune,
            (bounds[block.start : block.stop + 1], items, scores),
        )
        return computed


def _in_turn(
    pool: ThreadPoolExecutor, solve: Callable[[slice], int], blocks: list[slice], on_progress: Progress | None
) -> Iterator[int]:
    """What `solve` says of each block, as they end; an error leaves the rest undone."""
    futures = {pool.submit(solve, block): block.stop - block.start for block in blocks}
    done, total = 0, sum(futures.values())
    try:
        for future in as_completed(futures):
            yield future.result()
            done += futures[future]
            if on_progress:
                on_progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


def _rows(matrix: csr_matrix, block: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Indptr, from 0, and indices of some rows of a CSR matrix."""
    indptr = matrix.indptr[block.start : block.stop + 1].astype(np.int64)
    indices = matrix.indices[indptr[0] : indptr[-1]]
    return indptr - indptr[0], _fixed(indices.astype(np.int32, copy=False))


def _fixed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only array with its rows one after the other: one type for numba, whoever made it."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _checked_factors(users: Floats, items: Floats) -> tuple[Floats, Floats]:
    for name, factors in (("user_factors", users), ("item_factors", items)):
        if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype != np.float32:
            raise ValueError(f"{name}: expected a float32 array [rows, factors], found {_shape(factors)}")
    if users.shape[1] != items.shape[1] or users.shape[1] == 0:
        raise ValueError(f"factors do not fit: user_factors {users.shape}, item_factors {items.shape}")
    return _fixed(users), _fixed(items)


def _shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _checked_mask(allowed: Mask | None, items: int) -> Mask:
    if allowed is None:
        return _fixed(np.ones(items, bool))
    if not isinstance(allowed, np.ndarray) or allowed.shape != (items,) or allowed.dtype != np.bool_:
        raise ValueError(f"allowed: expected bool [{items}], found {_shape(allowed)}")
    return _fixed(allowed)


def _checked_exclusions(exclude: csr_matrix | None, users: int, items: int) -> csr_matrix:
    if exclude is None:
        return csr_matrix((users, items), dtype=np.int8)
    found = getattr(exclude, "format", type(exclude).__name__)
    if found != "csr" or exclude.shape != (users, items):
        raise ValueError(f"exclude: expected CSR {(users, items)}, found {found} {np.shape(exclude)}")
    codes = exclude.indices[: exclude.indptr[-1]]
    if len(codes) and (codes.min() < 0 or codes.max() >= items):
        raise ValueError(f"exclude: expected item codes 0..{items - 1}, found {codes.min()}..{codes.max()}")
    return exclude


def _check_users(users: Floats, longest_item: float) -> None:
    for block in _blocks(len(users), CHECKED_USERS):
        lengths = kernel.norms(users[block])
        _refuse_infinite(lengths, "user_factors", block.start)
        if lengths.max() * longest_item > LARGEST:
            raise ValueError("factors are too large: their dot products would overflow float32")


def _refuse_infinite(lengths: npt.NDArray[np.float64], name: str, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise ValueError(f"{name}: row {first + bad[0]} (of {len(bad)} such) holds NaN or infinity")
