"""Exact top-N of every user over all items: blocked matrix products that stop early.

Items are sorted by norm, largest first, and met in tiles. For each user a buffer holds the
candidates so far and a *floor*, which N scores are known to reach. By Cauchy-Schwarz no item of
norm ``y`` scores above ``|u| y``: a user whose floor is above that is done.

A score is the float64 dot product in index order, rounded to float32. The float32 matrix product
only selects: it is off by at most ``e``, about ``(f + 2) 2^-24 |u| |y|``, so an item is dropped
only where its ``s + e`` is below the N-th best ``s - e``. The survivors are scored again. So no
result depends on BLAS, tiles, threads, or which users share a block.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from lake import settings
from recommender.topn_kernel import CHUNK, LARGEST, Catalogue, hidden_counts, norms, solve_block

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

TILE_ITEMS = 512
BLOCK_USERS = 256


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
        The fraction of all dot products that had to be computed.
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
    allowed: npt.NDArray[np.bool_] | None = None,
    memory_mib: int = 64,
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> TopN:
    """Find the `n` items with the largest dot product for every user, exactly.

    Parameters
    ----------
    user_factors, item_factors
        float32 [users, f] and [items, f], finite.
    n
        How many items at most; a user with fewer that are left gets those.
    exclude
        users x items; what is stored (whatever its value) is left out for that user.
    allowed
        bool [items]; the others are left out for all.
    memory_mib
        What the tiles and buffers of all threads may take, beside inputs, one sorted copy of
        the items, and outputs. At least one user a thread is worked on, however small it is.
    threads
        How many threads; None for all that the process may run on.
    on_progress
        Called with users done and users in all, in the calling thread.

    Raises
    ------
    ValueError
        When shapes or types do not fit, `n` is below 1, a factor is not finite, or a code in
        `exclude` is not an item's.
    """
    users, items = _checked_factors(user_factors, item_factors)
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    catalogue = _sorted_catalogue(items, _checked_mask(allowed, len(items)))
    hidden = _checked_exclusions(exclude, len(users), len(items))
    user_norms = _checked_norms(users, "user_factors")
    _refuse_overflow(user_norms, catalogue.norms)
    n = min(n, max(1, len(catalogue.norms)))
    left = len(catalogue.norms) - hidden_counts(hidden.indptr, hidden.indices, catalogue.places)
    indptr = np.concatenate([[0], np.cumsum(np.minimum(left, n))]).astype(np.int64)
    result = TopN(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    work = _Work(users, user_norms, catalogue, hidden, n, result)
    computed = work.run(_threads(threads), memory_mib, on_progress)
    return TopN(indptr, result.items, result.scores, computed / max(1, len(users) * len(catalogue.norms)))


def _sorted_catalogue(items: Floats, allowed: npt.NDArray[np.bool_]) -> Catalogue:
    lengths = _checked_norms(items, "item_factors")
    chosen = np.flatnonzero(allowed)
    codes = chosen[np.argsort(-lengths[chosen], kind="stable")].astype(np.int32)
    places = np.full(len(items), -1, np.int32)
    places[codes] = np.arange(len(codes), dtype=np.int32)
    return Catalogue(np.ascontiguousarray(items[codes]), lengths[codes], codes, places)


@dataclass(frozen=True)
class _Work:
    users: Floats
    norms: npt.NDArray[np.float64]
    catalogue: Catalogue
    hidden: csr_matrix
    n: int
    result: TopN

    def run(self, threads: int, memory_mib: int, on_progress: Progress | None) -> int:
        """Solve all blocks, `threads` at a time, each with one BLAS thread; count the dot products."""
        capacity = self.n + max(self.n, 256) + CHUNK
        size = _block_size(memory_mib, threads, capacity, self.users.shape[1])
        blocks = [slice(at, min(at + size, len(self.users))) for at in range(0, len(self.users), size)]
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
            return sum(_in_turn(pool, lambda block: self._solve(block, capacity), blocks, on_progress))

    def _solve(self, block: slice, capacity: int) -> int:
        out = self.result
        indptr = self.hidden.indptr[block.start : block.stop + 1]
        computed: int = solve_block(
            np.ascontiguousarray(self.users[block]),
            self.norms[block],
            self.catalogue,
            (indptr.astype(np.int64), self.hidden.indices),
            self.n,
            (capacity, TILE_ITEMS),
            (out.indptr[block.start : block.stop + 1], out.items, out.scores),
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


def _block_size(memory_mib: int, threads: int, capacity: int, factors: int) -> int:
    per_user = 4 * (TILE_ITEMS + 2 * capacity + 2 * factors)
    return max(1, min(BLOCK_USERS, memory_mib * 2**20 // (threads * per_user)))


def _threads(threads: int | None) -> int:
    return max(1, threads or settings.cores())


def _checked_factors(users: Floats, items: Floats) -> tuple[Floats, Floats]:
    for name, factors in (("user_factors", users), ("item_factors", items)):
        if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype != np.float32:
            raise ValueError(f"{name}: expected a float32 array [rows, factors], found {_shape(factors)}")
    if users.shape[1] != items.shape[1] or users.shape[1] == 0:
        raise ValueError(f"factors do not fit: user_factors {users.shape}, item_factors {items.shape}")
    return users, items


def _shape(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _checked_mask(allowed: npt.NDArray[np.bool_] | None, items: int) -> npt.NDArray[np.bool_]:
    if allowed is None:
        return np.ones(items, bool)
    if allowed.shape != (items,) or allowed.dtype != np.bool_:
        raise ValueError(f"allowed: expected bool [{items}], found {_shape(allowed)}")
    return allowed


def _checked_exclusions(exclude: csr_matrix | None, users: int, items: int) -> csr_matrix:
    if exclude is None:
        return csr_matrix((users, items), dtype=np.int8)
    if exclude.format != "csr" or exclude.shape != (users, items):
        raise ValueError(f"exclude: expected CSR {(users, items)}, found {exclude.format} {exclude.shape}")
    codes = exclude.indices
    if len(codes) and (codes.min() < 0 or codes.max() >= items):
        raise ValueError(f"exclude: expected item codes 0..{items - 1}, found {codes.min()}..{codes.max()}")
    if not exclude.has_canonical_format:
        exclude = exclude.copy()
        exclude.sum_duplicates()
    return exclude


def _checked_norms(factors: Floats, name: str) -> npt.NDArray[np.float64]:
    lengths = norms(factors)
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise ValueError(f"{name}: row {bad[0]} (of {len(bad)} such) holds NaN or infinity")
    return lengths


def _refuse_overflow(user_norms: npt.NDArray[np.float64], item_norms: npt.NDArray[np.float64]) -> None:
    if len(user_norms) and len(item_norms) and user_norms.max() * item_norms.max() > LARGEST:
        raise ValueError("factors are too large: their dot products would overflow float32")
