"""Retrieval as of a day: ALS factors, item-item neighbours and popularity."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from lake import processor
from lake.feature_spec import WEIGHT
from lake.names import TableName
from lake.sections import RetrievalSection
from recommender import kernels
from recommender.arrays import Bool, Float32, Float64, Int32, Int64, csr_parts
from recommender.ids import Ids
from recommender.logarithms import log, log1p
from recommender.view import View

logger = logging.getLogger(__name__)

_PARTS = 64
"""The items are cut into so many parts, each for a thread: some have far more users than others."""
START = 0.005**2
"""What each factor gives to the score of a user and an item where ALS begins: it draws from 0 to 0.01."""


Solver = Callable[[Any, RetrievalSection], tuple[Float32, Float32]]
"""Fits ALS: from the confidence in each purchase, CSR float32 users x items, to user and item factors."""


@dataclass(frozen=True)
class Retrieval:
    """What finds candidates, by the codes of its own ids.

    Attributes
    ----------
    users, items
        The ids that it knows.
    user_factors, item_factors
        float32 ``[users, f]`` and ``[items, f]``; a row of zeros stands for "not known".
    similarity
        CSR float32, items x items: each item's nearest neighbours.
    popularity
        float32 ``[items]``, larger is more popular.
    """

    users: Ids
    items: Ids
    user_factors: Float32
    item_factors: Float32
    similarity: Any
    popularity: Float32


def fit(
    view: View, weights: Any, config: RetrievalSection, threads: int, solve: Solver | None = None
) -> Retrieval:
    """Fit retrieval on what was bought as of a day; the bytes do not depend on `threads`.

    Parameters
    ----------
    view
        Of all users.
    weights
        Their decayed purchases, CSR float32 users x items.
    solve
        Fits ALS instead of implicit.
    """
    user_factors, item_factors = als(weights, config, threads, solve)
    similarity = _neighbours(weights, config, threads)
    return Retrieval(view.users, view.items, user_factors, item_factors, similarity, popularity(view))


def popularity(view: View) -> Float32:
    """Users in the popular window, plus less than one by decayed purchases, float32 ``[items]``."""
    weight = view.column(TableName.ITEMS, WEIGHT).astype(np.float64)
    share = weight / (1 + weight.max(initial=0))
    score: Float32 = (view.users_lately + share).astype(np.float32)
    return score


def als(
    weights: Any, config: RetrievalSection, threads: int, solve: Solver | None = None
) -> tuple[Float32, Float32]:
    """User and item factors from decayed purchases, CSR float32 users x items; `solve` as for `fit`.

    A user or item without a purchase of any weight gets a row of zeros: "not known", and nobody's
    neighbour. So does one of whom ALS learns nothing; then a warning says so.
    """
    confidence = _weighty(weights)
    confidence.data = log1p(config.damping * confidence.data.astype(np.float64)).astype(np.float32)
    fitted = solve(confidence, config) if solve else _fitted(confidence, config, threads)
    if fitted is None:
        users, items = (np.zeros((rows, config.factors), np.float32) for rows in weights.shape)
        return users, items
    users, items = fitted
    # ALS leaves these where its random start put them, or at a norm of 1e-12.
    users[np.diff(confidence.indptr) == 0] = 0
    items[np.bincount(confidence.indices, minlength=confidence.shape[1]) == 0] = 0
    _forget_noise(confidence, users, items, config)
    return users, items


def _fitted(confidence: Any, config: RetrievalSection, threads: int) -> tuple[Float32, Float32] | None:
    """The factors that ALS fits; None, with a warning, where its equations have no solution in float32."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.recommender_base import ModelFitError

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=config.factors,
            regularization=config.regularization,
            alpha=config.alpha,
            iterations=config.iterations,
            num_threads=threads,
            random_state=config.seed,
        )
        _warn_of_kernels()
        try:
            model.fit(confidence, show_progress=False)
        except ModelFitError as error:
            logger.warning(
                "ALS learned nothing: %s; none of %d users and %d items has factors: "
                "raise retrieval.regularization (%g)",
                error, *confidence.shape, config.regularization,
            )  # fmt: skip
            return None
    return model.user_factors, model.item_factors


def _forget_noise(confidence: Any, users: Float32, items: Float32, config: RetrievalSection) -> None:
    """Set factors that have no meaning to zero.

    Where purchases weigh too little, each iteration shrinks all factors by the same part, until only
    noise is left: rows of any norm, down to 1e-22, whose lists are chance. The best possible score is
    about 1 where ALS learns something. That of noise ends below the mean score of the start. A single
    row of a small norm is one of small weights: it points where it should, and stays.

    Users and items that no purchases join, not even through others, shrink on their own: two shops
    without a common item, for example. So each such group is judged by its own best score. A group of
    one user, or of one item, has nothing to learn from others: it stays unless every group is noise.
    """
    of_user, of_item = _groups(confidence)
    groups = 1 + max(of_user.max(initial=-1), of_item.max(initial=-1))
    best = _longest(users, of_user, groups) * _longest(items, of_item, groups)
    buyers, bought = np.bincount(of_user, minlength=groups), np.bincount(of_item, minlength=groups)
    is_noise = ~((best >= START * config.factors) & np.isfinite(best))
    alone = 0 if is_noise.all() else 1
    is_noise &= (buyers > alone) & (bought > alone)
    users[is_noise[of_user]], items[is_noise[of_item]] = 0, 0
    if is_noise.any():
        unknown = buyers[is_noise].sum(), bought[is_noise].sum()
        _warn_of_noise(unknown, confidence.shape, best[is_noise].max(), config)


def _groups(confidence: Any) -> tuple[Int32, Int32]:
    """The group of each user and each item: purchases join its members, directly or through others."""
    users, items = confidence.shape
    ends = np.full(items, confidence.nnz, confidence.indptr.dtype)
    joined = csr_matrix(
        (np.ones(confidence.nnz), confidence.indices + users, np.concatenate([confidence.indptr, ends])),
        shape=(users + items, users + items),
    )
    group = connected_components(joined, directed=True, connection="weak")[1]
    return group[:users], group[users:]


def _longest(rows: Float32, group: Int32, groups: int) -> Float64:
    """The length of the longest row of each group."""
    squares = np.zeros(groups)
    np.maximum.at(squares, group, np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return np.asarray(np.sqrt(squares))


def _warn_of_noise(
    unknown: tuple[int, int], every: tuple[int, int], best: float, config: RetrievalSection
) -> None:
    logger.warning(
        "ALS learned nothing of %d of %d users and %d of %d items, who have no factors: expected a user and "
        "an item of a score above %.1e, with which it begins, found %.1e at most; raise events.weights or "
        "retrieval.alpha (%g), or lower retrieval.regularization (%g)",
        unknown[0], every[0], unknown[1], every[1], START * config.factors, best, config.alpha,
        config.regularization,
    )  # fmt: skip


def _weighty(weights: Any) -> Any:
    """The purchases whose weight is above zero, as a matrix of its own."""
    kept = weights.copy()
    kept.eliminate_zeros()
    return kept


def _warn_of_kernels() -> None:
    """Warn of a BLAS that was loaded before its kernel was set, and so sums in another order."""
    others = set(processor.blas_kernels()) - {processor.BLAS_KERNEL}
    if others:
        logger.warning(
            "BLAS runs %s, expected %s: factors will differ from those of other machines; "
            "start this process with OPENBLAS_CORETYPE=%s",
            ", ".join(sorted(others)),
            processor.BLAS_KERNEL,
            processor.BLAS_KERNEL,
        )


def _neighbours(weights: Any, config: RetrievalSection, threads: int) -> Any:
    """The items that most users of an item bought too, by the products of their BM25 weights, ties by code.

    They are those of `implicit.nearest_neighbours.ItemItemRecommender`, which leaves ties to chance and
    takes 1.7 times as long.
    """
    bought = _bm25(_weighty(weights), config)
    items = np.arange(bought.shape[1], dtype=np.int32)
    by_item, by_user = csr_parts(bought.T.tocsr()), csr_parts(bought)
    everything = np.ones(len(items), bool)

    def nearest(some: Int32) -> tuple[Int64, Int32, Float32]:
        sizes, near, scores = kernels.nearest(*by_item, *by_user, some, everything, True, config.neighbours)
        taken = np.arange(config.neighbours) < sizes[:, np.newaxis]
        return sizes, near[taken.ravel()], scores[taken.ravel()]

    with ThreadPoolExecutor(threads) as pool:
        sizes, near, scores = zip(*pool.map(nearest, np.array_split(items, _PARTS)), strict=True)
    indptr = np.cumsum(np.concatenate([np.zeros(1, np.int64), *sizes]))
    similarity = csr_matrix((np.concatenate(scores), np.concatenate(near), indptr), (len(items), len(items)))
    similarity.sort_indices()
    return similarity


def _bm25(weights: Any, config: RetrievalSection) -> Any:
    """Purchases weighted by BM25, items as documents and users as terms, CSR float64 users x items.

    Does what `implicit.nearest_neighbours.bm25_weight` does, but with our own logarithms: the last digit
    of numpy's depends on the processor.
    """
    purchases = coo_matrix(weights.T)
    sizes = np.ravel(purchases.sum(axis=1, dtype=np.float64))
    rarity = log(purchases.shape[0]) - log1p(np.bincount(purchases.col, minlength=purchases.shape[1]))
    norms = (1.0 - config.bm25_b) + config.bm25_b * sizes / (sizes.mean() or 1.0)
    lengths = config.bm25_k1 * norms[purchases.row] + purchases.data
    purchases.data = purchases.data * (config.bm25_k1 + 1.0) / lengths * rarity[purchases.col]
    return purchases.T.tocsr()


def align(retrieval: Retrieval, view: View) -> Retrieval:
    """A retrieval of an earlier day, by the codes of this one.

    Users and items that it does not know get rows of zeros; popularity is this day's.
    """
    if retrieval.users == view.users and retrieval.items == view.items:
        return retrieval
    users = retrieval.users.codes(view.users.values)
    items = retrieval.items.codes(view.items.values)
    return replace(
        retrieval,
        users=view.users,
        items=view.items,
        user_factors=_rows(retrieval.user_factors, users),
        item_factors=_rows(retrieval.item_factors, items),
        similarity=_renumber(retrieval.similarity, items),
        popularity=popularity(view),
    )


def of_users(retrieval: Retrieval, codes: Int32, users: Ids) -> Retrieval:
    """A retrieval of some of its users alone.

    Parameters
    ----------
    codes, users
        Their codes, and their ids.
    """
    return replace(retrieval, users=users, user_factors=retrieval.user_factors[codes])


def known(factors: Float32) -> Bool:
    """Which rows of factors are known, so not all zeros, bool ``[rows]``."""
    return np.asarray(factors.any(axis=1))


def _rows(factors: Float32, codes: Int32) -> Float32:
    padded = np.concatenate([factors, np.zeros((1, factors.shape[1]), np.float32)])
    return np.ascontiguousarray(padded[codes])


def _renumber(similarity: Any, old: Int32) -> Any:
    """Rows and columns in a new order; `old` is the old code of each new one, -1 for none."""
    new = np.flatnonzero(old >= 0)
    place = csr_matrix(
        (np.ones(len(new), np.float32), (new, old[new])), shape=(len(old), similarity.shape[0])
    )
    moved = (place @ similarity @ place.T).tocsr()
    moved.sort_indices()
    return moved
