"""Exact top-N of every user over all items: a matrix product that stops early.

Users meet the items by falling length. Each user has a pool of candidates and a *floor*: a score that at
least N of the candidates reach. By Cauchy-Schwarz no item of length ``y`` scores above ``|u| y``, so a
user whose floor is above that is done (Teflioudi and others, LEMP, SIGMOD 2015).

The score of an item is the float64 dot product in index order, rounded to float32. The float32 products
only select. They are off by at most ``e``, about ``(f + 2) 2^-24 |u| |y|`` (Higham, Accuracy and Stability
of Numerical Algorithms, section 3.1; we take `solver.SPARE` for the 2). So an item of score ``s`` is dropped
only if its ``s + e`` is below the N-th best ``s - e``, and the items that are left are scored again. No
result depends on tiles, threads, the processor's vectors, or which users share a block. In this error
``|u|`` and ``|y|`` are Euclidean norms; the lengths that end a user may be of another metric.

This module hands blocks of users to threads. `topn.arguments` checks the arguments, `topn.ordering` puts
the items in order, and `topn.metric` says what a length is. `topn.solver` is what a thread does with a
block of users; `topn.pools` holds the candidates.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from joblib import cpu_count
from scipy.sparse import csr_matrix

from topn import solver
from topn.arguments import Problem, checked
from topn.arrays import Float32, Int32, Int64, Mask, blocks
from topn.exclusions import list_bounds
from topn.ordering import OrderedItems, order_items
from topn.pools import Pools
from topn.simd import WIDTH

Space = tuple[Pools, solver.Scratch]
Progress = Callable[[int, int], None]

FIRST_ITEMS = 1024  # of the first tile, which sets the floors: so many that few candidates follow
TILE_ITEMS = 256  # of each later tile, after which users may be done
BLOCK_USERS = 480  # of one block at most: they share one reading of a tile
MOST_SHARES = 1000  # of the users, as each share that waits for a thread takes memory
BLOCKS_A_THREAD = 4  # at least, so that threads end at about the same time
LEAST_SPARE = 32  # candidates beyond a list that a pool has room for, so that it is seldom cut back


@dataclass(frozen=True)
class TopN:
    """The best items of every user; those of user ``u`` lie at ``indptr[u]:indptr[u + 1]``.

    Attributes
    ----------
    indptr
        int64 [users + 1].
    items
        int32 [indptr[-1]], item codes, by score descending, then code ascending.
    scores
        float32 [indptr[-1]], beside `items`.
    computed
        The fraction of all dot products of users and allowed items that were computed.
    """

    indptr: Int64
    items: Int32
    scores: Float32
    computed: float


def top_n(
    user_factors: Float32,
    item_factors: Float32,
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
        How many items at most; a user for whom fewer are left gets those.
    exclude
        users x items; what is stored (whatever its value) is left out for that user.
    allowed
        bool [items]; the others are left out for all.
    memory_mib
        What all threads may take beside arguments and result. They take at least 70 bytes an item, 100
        bytes a pair of factors, and what one thread needs for a few users (docs/topn.md).
    threads
        How many threads at most; None for as many as the process has cores.
    on_progress
        Called with users done and users in all, in the calling thread.
    prune
        False computes every dot product: for measurements.

    Raises
    ------
    ValueError
        When shapes or types do not fit, `n` is below 1, a factor is not finite, dot products
        could overflow, or `exclude` is malformed or has a code that is not an item's.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> users, items = np.float32([[1, 0], [1, 2]]), np.float32([[3, 0], [1, 1], [1, 1], [0, 2]])
    >>> best = top_n(users, items, 2, exclude=csr_matrix([[1, 0, 0, 0], [0, 0, 0, 0]]))
    >>> best.items.reshape(2, 2).tolist(), best.scores.reshape(2, 2).tolist()
    ([[1, 2], [3, 0]], [[1.0, 1.0], [4.0, 3.0]])
    """
    problem = checked(user_factors, item_factors, n, exclude, allowed)
    bounds = list_bounds(problem.exclusions, problem.allowed, problem.n)
    lists = bounds, np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.float32)
    work = _Work(problem, order_items(problem), prune, lists)
    computed = work.run(max(1, threads or cpu_count()), memory_mib, on_progress)
    return TopN(*lists, computed / max(1, len(problem.users) * int(problem.allowed.sum())))


@dataclass(frozen=True)
class _Work:
    problem: Problem
    ordered: OrderedItems
    prune: bool
    lists: tuple[Int64, Int32, Float32]

    @property
    def capacity(self) -> int:
        """How many candidates of a user are held at most."""
        n = min(self.problem.n, len(self.ordered.norms))
        return n + max(n, LEAST_SPARE)

    def run(self, threads: int, memory_mib: int, on_progress: Progress | None) -> int:
        """Solve all blocks, `threads` at a time; count the dot products."""
        threads, size = self._affordable(threads, memory_mib)
        users = len(self.problem.users)
        shares = blocks(users, max(1, -(-users // (size * MOST_SHARES))) * size)
        spaces: SimpleQueue[Space] = SimpleQueue()
        for _ in range(threads):
            spaces.put(self._space(size))
        with ThreadPoolExecutor(threads) as pool:
            return sum(_as_solved(pool, lambda share: self._solve(share, size, spaces), shares, on_progress))

    def _affordable(self, threads: int, memory_mib: int) -> tuple[int, int]:
        """How many threads, and how many users each has at a time."""
        (users, factors), items = self.problem.users.shape, len(self.ordered.norms)
        # bytes that a user, a thread and a panel take
        of_user = 8 * self.capacity + 4 * factors + items // 8 + 80
        of_thread, of_panel = 4 * _tallest() * (factors + WIDTH + 4) + 24 * self.capacity, WIDTH * of_user
        room = memory_mib * 2**20 - 48 * items
        threads = max(1, min(threads, room // (of_thread + of_panel)))
        even = -(-users // (threads * BLOCKS_A_THREAD * WIDTH))
        affordable = (room // threads - of_thread) // of_panel
        return threads, WIDTH * max(1, min(affordable, even, BLOCK_USERS // WIDTH))

    def _space(self, size: int) -> Space:
        items, factors = len(self.ordered.norms), self.problem.users.shape[1]
        return solver.workspace(size, factors, items, self.capacity, _tallest())

    def _solve(self, share: slice, size: int, spaces: SimpleQueue[Space]) -> int:
        space = spaces.get()
        try:
            return sum(self._solve_block(block, space) for block in blocks(share.stop, size, share.start))
        finally:
            spaces.put(space)

    def _solve_block(self, block: slice, space: Space) -> int:
        bounds, items, scores = self.lists
        computed: int = solver.solve_block(
            self.problem.users[block],
            self.ordered,
            self.problem.exclusions.rows(block),
            (FIRST_ITEMS, TILE_ITEMS),
            self.prune,
            space,
            (bounds[block.start : block.stop + 1], items, scores),
        )
        return computed


def _tallest() -> int:
    """How many items a tile has at most."""
    return max(FIRST_ITEMS, TILE_ITEMS)


def _as_solved(
    pool: ThreadPoolExecutor, solve: Callable[[slice], int], shares: list[slice], on_progress: Progress | None
) -> Iterator[int]:
    """What `solve` returns for each share, in the order in which they end; an error cancels the rest."""
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
