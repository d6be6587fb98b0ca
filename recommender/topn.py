"""Exact top-N of every user over all items: matrix products that stop early.

Items are met by falling length. For each user a pool holds the candidates so far, and a *floor* is a
score that N of them are known to reach. By Cauchy-Schwarz no item of length ``y`` scores above
``|u| y``: a user whose floor is above that is done (Teflioudi and others, LEMP, SIGMOD 2015).

A score is the float64 dot product in index order, rounded to float32. The float32 products only
select: they are off by at most ``e``, about ``(f + 2) 2^-24 |u| |y|`` (Higham, Accuracy and Stability
of Numerical Algorithms, section 3.1; `kernel.SPARE` is what is taken for the 2), so an item is dropped
only where its ``s + e`` is below the N-th best ``s - e``. The survivors are scored again. So no result
depends on tiles, threads, the processor's vectors, or which users share a block. In this error ``|u|`` and
``|y|`` are Euclidean norms; the lengths that end a user may be of another metric.

Here are the order of the items and the threads; `recommender.topn_kernel` is what a thread does with
a block of users, `recommender.topn_pools` what happens to the candidates, `recommender.metric` what is
taken for lengths, `recommender.topn_inputs` what is refused.
"""

import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from lake import settings
from recommender import topn_inputs as inputs
from recommender import topn_kernel as kernel
from recommender import vectors
from recommender.metric import metric_of
from recommender.simd import ROWS, WIDTH
from recommender.topn_inputs import Exclusions, Floats, blocks
from recommender.topn_pools import Catalogue, Pools
from recommender.vectors import Mask

Space = tuple[Pools, kernel.Scratch]
Progress = Callable[[int, int], None]

FIRST_ITEMS = 1024  # by so many the first floors are found, high enough that few more candidates are taken
TILE_ITEMS = 256
BLOCK_PANELS = 10
MOST_SHARES = 1000  # of the users, for what waits for a thread takes memory
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
    computed: float


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
        What all threads may take beside inputs and outputs. Not less than 70 bytes an item and 100
        bytes a pair of factors are taken, and what one thread needs for `WIDTH` users: each 16
        bytes an item of a list and a bit an item. Fewer threads work where it does not suffice for all.
    threads
        How many threads at most; None for as many as the process may run on.
    on_progress
        Called with users done and users in all, in the calling thread.
    prune
        False computes every dot product: for measurements.

    Raises
    ------
    ValueError
        When shapes or types do not fit, `n` is below 1, a factor is not finite, dot products
        could overflow, or `exclude` is malformed or has a code that is not an item's.
    """
    users, items = inputs.checked_factors(user_factors, item_factors)
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    mask = inputs.checked_mask(allowed, len(items))
    hidden = inputs.checked_exclusions(exclude, len(users), len(items))
    norms = inputs.checked_norms(users, items, mask)
    n = min(operator.index(n), max(1, len(items)))
    catalogue = _catalogue(users, items, norms, mask, n + hidden.most())
    bounds = _list_bounds(hidden, mask, n)
    out = bounds, np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.float32)
    work = _Work(users, catalogue, hidden, min(n, len(catalogue.norms)), prune, out)
    computed = work.run(max(1, threads or settings.cores()), memory_mib, on_progress)
    return TopN(*out, computed / max(1, len(users) * int(mask.sum())))


def _catalogue(users: Floats, items: Floats, norms: vectors.F64, allowed: Mask, most: int) -> Catalogue:
    """The allowed items by falling length in the metric; of those with the same factors the first `most`."""
    metric = metric_of(users, items)
    lengths = vectors.lengths_in(items, metric.items) if len(metric.items) else norms
    codes = _by_length(items, lengths, np.flatnonzero(allowed).astype(np.int32))
    codes = codes[vectors.among_first(items, lengths, codes, most)]
    places = np.full(len(items), -1, np.int32)
    places[codes] = np.arange(len(codes), dtype=np.int32)
    padded = np.append(codes, np.repeat(codes[-1:], ROWS - 1))
    longest = np.maximum.accumulate(norms[codes][::-1])[::-1].copy()
    return Catalogue(items, lengths[codes], padded, longest, places, metric.users)


def _by_length(
    items: Floats, lengths: npt.NDArray[np.float64], codes: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """Codes by falling length; those of the same factors side by side and ascending."""
    codes = codes[np.argsort(-lengths[codes])]
    equal = lengths[codes[1:]] == lengths[codes[:-1]]
    tied = np.zeros(len(codes), bool)
    tied[1:] |= equal
    tied[:-1] |= equal
    alike = np.sort(codes[tied])
    codes[tied] = alike[np.lexsort((vectors.mixes(items, alike), -lengths[alike]))]
    return codes


def _list_bounds(hidden: Exclusions, allowed: Mask, n: int) -> npt.NDArray[np.int64]:
    """Where the users' lists begin and end, when all that are left and `n` at most are listed."""
    bounds = np.zeros(len(hidden.indptr), np.int64)
    last_user = np.full(len(allowed), -1, np.int32)
    for block in blocks(len(bounds) - 1, inputs.CHECKED_USERS):
        lengths = bounds[block.start + 1 : block.stop + 1]
        inputs.list_lengths(*hidden.rows(block), block.start, allowed, last_user, n, lengths)
    return np.cumsum(bounds, out=bounds)


@dataclass(frozen=True)
class _Work:
    users: Floats
    catalogue: Catalogue
    hidden: Exclusions
    n: int
    prune: bool
    out: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], Floats]

    @property
    def capacity(self) -> int:
        """How many candidates of a user are held at most."""
        return self.n + max(self.n, LEAST_SPARE)

    def run(self, threads: int, memory_mib: int, on_progress: Progress | None) -> int:
        """Solve all blocks, `threads` at a time; count the dot products."""
        threads, size = self._affordable(threads, memory_mib)
        shares = blocks(len(self.users), max(1, -(-len(self.users) // (size * MOST_SHARES))) * size)
        spaces: SimpleQueue[Space] = SimpleQueue()
        for _ in range(threads):
            spaces.put(self._space(size))
        with ThreadPoolExecutor(threads) as pool:
            return sum(_in_turn(pool, lambda share: self._solve(share, size, spaces), shares, on_progress))

    def _affordable(self, threads: int, memory_mib: int) -> tuple[int, int]:
        """How many threads, and how many users each has at a time."""
        items, factors = len(self.catalogue.norms), self.users.shape[1]
        user = 8 * self.capacity + 4 * factors + items // 8 + 80
        tile, panel = 4 * _tallest() * (WIDTH + 4) + 24 * self.capacity, WIDTH * user
        room = memory_mib * 2**20 - 48 * items
        threads = max(1, min(threads, room // (tile + panel)))
        even = -(-len(self.users) // (threads * BLOCKS_A_THREAD * WIDTH))
        return threads, WIDTH * max(1, min((room // threads - tile) // panel, even, BLOCK_PANELS))

    def _space(self, size: int) -> Space:
        items, factors = len(self.catalogue.norms), self.users.shape[1]
        return kernel.workspace(size, factors, items, self.capacity, _tallest())

    def _solve(self, share: slice, size: int, spaces: SimpleQueue[Space]) -> int:
        space = spaces.get()
        try:
            return sum(self._solve_block(block, space) for block in blocks(share.stop, size, share.start))
        finally:
            spaces.put(space)

    def _solve_block(self, block: slice, space: Space) -> int:
        bounds, items, scores = self.out
        computed: int = kernel.solve_block(
            self.users[block],
            self.catalogue,
            self.hidden.rows(block),
            (FIRST_ITEMS, TILE_ITEMS),
            self.prune,
            space,
            (bounds[block.start : block.stop + 1], items, scores),
        )
        return computed


def _tallest() -> int:
    """How many items a tile has at most."""
    return max(FIRST_ITEMS, TILE_ITEMS)


def _in_turn(
    pool: ThreadPoolExecutor, solve: Callable[[slice], int], shares: list[slice], on_progress: Progress | None
) -> Iterator[int]:
    """What `solve` says of each share, as they end; an error leaves the rest undone."""
    futures = {pool.submit(solve, share): share.stop - share.start for share in shares}
    done, total = 0, sum(futures.values())
    try:
        for future in as_completed(futures):
            yield future.result()
            done += futures[future]
            if on_progress:
                on_progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
