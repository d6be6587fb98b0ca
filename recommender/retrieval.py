"""Retrieval as of a day: ALS factors, item-item neighbours and popularity."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from threadpoolctl import threadpool_limits

from lake import processor, sections
from recommender.ids import Ids, Int32
from recommender.logarithms import log, log1p
from recommender.night import Float32, Night

logger = logging.getLogger(__name__)

DAMPING = 4.0
"""ALS sees log(1 + DAMPING * m60): the tenth purchase says less than the first."""

START = 0.005**2
"""What each factor gives to the score of a user and an item where ALS begins: it draws from 0 to 0.01."""

BM25_K1, BM25_B = 1.2, 0.75


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


def fit(night: Night, config: sections.Retrieval, threads: int) -> Retrieval:
    """Fit retrieval on what was bought as of a day; the bytes do not depend on `threads`."""
    user_factors, item_factors = als(night.m60, config, threads)
    similarity = _neighbours(night, config, threads)
    return Retrieval(night.users, night.items, user_factors, item_factors, similarity, popularity(night))


def popularity(night: Night) -> Float32:
    """Users in the last 28 days, plus less than one by decayed purchases, float32 ``[items]``."""
    m60 = night.column("item_features", "m60").astype(np.float64)
    share = m60 / (1 + m60.max(initial=0))
    score: Float32 = (night.column("item_features", "users_28") + share).astype(np.float32)
    return score


def als(m60: Any, config: sections.Retrieval, threads: int) -> tuple[Float32, Float32]:
    """User and item factors from decayed purchases, CSR float32 users x items.

    Who has no purchase of any weight gets a row of zeros: "not known", and nobody's neighbour. So does
    everybody where ALS learns nothing, which a warning tells.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    confidence = _weighty(m60)
    confidence.data = log1p(DAMPING * confidence.data.astype(np.float64)).astype(np.float32)
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
        model.fit(confidence, show_progress=False)
    # ALS leaves these where its random start put them, or at a norm of 1e-12.
    model.user_factors[np.diff(confidence.indptr) == 0] = 0
    model.item_factors[np.bincount(confidence.indices, minlength=confidence.shape[1]) == 0] = 0
    return _learned(model.user_factors, model.item_factors, config)


def _learned(users: Float32, items: Float32, config: sections.Retrieval) -> tuple[Float32, Float32]:
    """The factors, or zeros where they have no meaning.

    Where purchases weigh too little, each iteration shrinks all factors by the same part, until only
    noise is left: rows of any norm, down to 1e-22, whose lists are chance. So the best score there may
    be, which is about 1 where something is learned, ends below a mean score of the start. Single rows of
    a small norm are those of small weights; they point where they should, and stay.
    """
    best, least = _longest(users) * _longest(items), START * config.factors
    if best >= least:
        return users, items
    logger.warning(
        "ALS learned nothing: expected a user and an item of a score above %.1e, with which it begins, "
        "found %.1e at most; none of %d users and %d items has factors: raise events.weights or "
        "retrieval.alpha (%g), or lower retrieval.regularization (%g)",
        least, best, len(users), len(items), config.alpha, config.regularization,
    )  # fmt: skip
    return np.zeros_like(users), np.zeros_like(items)


def _longest(rows: Float32) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max(initial=0)))


def _weighty(m60: Any) -> Any:
    """The purchases whose weight is above zero, as a matrix of its own."""
    kept = m60.copy()
    kept.eliminate_zeros()
    return kept


def _warn_of_kernels() -> None:
    """Say when a BLAS that sums in another order was loaded before the one kernel was asked for."""
    others = set(processor.blas_kernels()) - {processor.BLAS_KERNEL}
    if others:
        logger.warning(
            "BLAS runs %s, expected %s: factors will differ from those of other machines; "
            "start this process with OPENBLAS_CORETYPE=%s",
            ", ".join(sorted(others)),
            processor.BLAS_KERNEL,
            processor.BLAS_KERNEL,
        )


def _neighbours(night: Night, config: sections.Retrieval, threads: int) -> Any:
    from implicit.nearest_neighbours import ItemItemRecommender

    model = ItemItemRecommender(K=config.neighbours, num_threads=threads)
    model.fit(_bm25(_weighty(night.m60)), show_progress=False)
    similarity = csr_matrix(model.similarity, dtype=np.float32)
    similarity.eliminate_zeros()
    similarity.sort_indices()
    return similarity


def _bm25(m60: Any) -> Any:
    """Purchases weighted by BM25, items as documents and users as terms, CSR float64 users x items.

    As `implicit.nearest_neighbours.bm25_weight` does, but for its logarithms, whose last digit is left
    to the processor.
    """
    purchases = coo_matrix(m60.T)
    sizes = np.ravel(purchases.sum(axis=1, dtype=np.float64))
    rarity = log(purchases.shape[0]) - log1p(np.bincount(purchases.col, minlength=purchases.shape[1]))
    norms = (1.0 - BM25_B) + BM25_B * sizes / (sizes.mean() or 1.0)
    lengths = BM25_K1 * norms[purchases.row] + purchases.data
    purchases.data = purchases.data * (BM25_K1 + 1.0) / lengths * rarity[purchases.col]
    return purchases.T.tocsr()


def align(retrieval: Retrieval, night: Night) -> Retrieval:
    """A retrieval of an earlier day, by the codes of this one.

    Users and items that it does not know get rows of zeros; popularity is this day's.
    """
    if retrieval.users == night.users and retrieval.items == night.items:
        return retrieval
    users = retrieval.users.codes(night.users.values)
    items = retrieval.items.codes(night.items.values)
    return replace(
        retrieval,
        users=night.users,
        items=night.items,
        user_factors=_rows(retrieval.user_factors, users),
        item_factors=_rows(retrieval.item_factors, items),
        similarity=_renumber(retrieval.similarity, items),
        popularity=popularity(night),
    )


def known(factors: Float32) -> NDArray[np.bool_]:
    """Which rows of factors are of something known, bool ``[rows]``."""
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
