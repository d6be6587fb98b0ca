"""The ranker's features of (user, item) pairs, gathered by code."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from lake.feature_spec import DERIVED, IN_MATRIX
from lake.feature_spec import FEATURES as COLUMNS
from recommender import kernels
from recommender.arrays import Bool, Float32, Int32, Int64, csr_parts
from recommender.candidates import Candidates
from recommender.retrieval import Retrieval, known
from recommender.view import View
from topn import dots

FEATURES: Final[tuple[str, ...]] = (
    *(f"{short}.{feature.name}" for short, table in IN_MATRIX.items() for feature in COLUMNS[table]),
    *(feature.name for feature in DERIVED),
)
"""The columns of `matrix`, in order: those of the feature tables, then the derived ones."""


def matrix(view: View, retrieval: Retrieval, users: Int32, candidates: Candidates) -> Float32:
    """Gather the features of candidates.

    Parameters
    ----------
    retrieval
        By the view's codes.
    users
        int32 ``[users]``: the user code of each row of `candidates`.

    Returns
    -------
    float32 array
        ``[candidates, len(FEATURES)]``; NaN where a feature is not known.
    """
    user, item = users[candidates.rows].astype(np.int32), candidates.items
    out = np.empty((len(item), len(FEATURES)), np.float32)
    at = 0
    for part in _gathered(view, user, item):
        out[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    for values in _derived(out, view, retrieval, users, candidates):
        out[:, at] = values
        at += 1
    return out


def _gathered(view: View, user: Int32, item: Int32) -> Iterator[Float32]:
    """The rows of each feature table, one table at a time: together they would be a second matrix."""
    yield view.pair.gather(user.astype(np.int64) * len(view.items) + item)
    yield view.category.gather(_category_keys(view, user, item))
    yield view.user[user]
    yield view.item[item]


def _category_keys(view: View, user: Int32, item: Int32) -> Int64:
    kind = view.subcategory[item].astype(np.int64)
    return np.where(kind < 0, np.int64(-1), user.astype(np.int64) * view.categories + kind)


def _derived(
    gathered: Float32, view: View, retrieval: Retrieval, users: Int32, candidates: Candidates
) -> Iterator[Float32]:
    def column(name: str) -> Float32:
        values: Float32 = gathered[:, FEATURES.index(name)]
        return values

    by_retrieval = {
        "als": lambda: _als(retrieval, users[candidates.rows], candidates.items),
        "item_item": lambda: _item_item(view, retrieval, users, candidates),
    }
    for feature in DERIVED:
        yield feature.formula(column) if feature.formula else by_retrieval[feature.name]()


def _als(retrieval: Retrieval, user: Int32, item: Int32) -> Float32:
    scores: Float32 = dots(retrieval.user_factors, retrieval.item_factors, user, item)
    missing: Bool = ~known(retrieval.user_factors)[user] | ~known(retrieval.item_factors)[item]
    scores[missing] = np.nan
    return scores


def _item_item(view: View, retrieval: Retrieval, users: Int32, candidates: Candidates) -> Float32:
    bought, near = csr_parts(view.weights), csr_parts(retrieval.similarity)
    users = users.astype(np.int32)
    scores: Float32 = kernels.spread(*bought, *near, users, candidates.indptr, candidates.items)
    return scores
