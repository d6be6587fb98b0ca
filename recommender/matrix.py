"""The ranker's features of (user, item) pairs, gathered by code."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lake.schemas import FEATURES as COLUMNS
from recommender import kernels
from recommender.candidates import Candidates, item_item_scores
from recommender.ids import Int32
from recommender.night import Float32, Int64, Night
from recommender.retrieval import Retrieval, known

TABLES: Final = {
    "pair": "user_item_features",
    "category": "user_category_features",
    "user": "user_features",
    "item": "item_features",
}
DERIVED: Final = ("category_share", "rate", "rate_28", "als", "item_item")

FEATURES: Final[tuple[str, ...]] = (
    *(f"{short}.{feature.name}" for short, table in TABLES.items() for feature in COLUMNS[table]),
    *DERIVED,
)
"""The columns of `matrix`, in order: those of the feature tables, then the derived ones.

* ``category_share``: pair.m60 / (category.m60 + 1e-9), how much of the subcategory this item is;
* ``rate``, ``rate_28``: pair.days / user.trips, pair.days_28 / (user.trips_28 + 1);
* ``als``: the dot product of factors, NaN where the user or the item has none;
* ``item_item``: (the user's m60 row x similarity) at the item.
"""

ITEM_ITEM_USERS: Final = 64
"""Users whose item-item scores are held at a time."""


def matrix(night: Night, retrieval: Retrieval, users: Int32, found: Candidates) -> Float32:
    """Gather the features of candidates.

    Parameters
    ----------
    retrieval
        By the night's codes.
    users
        int32 ``[users]``: the user code of each row of `found`.

    Returns
    -------
    float32 array
        ``[candidates, len(FEATURES)]``; NaN where a feature is not known.
    """
    user, item = users[found.rows].astype(np.int32), found.items
    out = np.empty((len(item), len(FEATURES)), np.float32)
    parts = (
        night.pair.gather(user.astype(np.int64) * len(night.items) + item),
        night.category.gather(_category_keys(night, user, item)),
        night.user[user],
        night.item[item],
    )
    at = 0
    for part in parts:
        out[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    out[:, at:] = _derived(out, night, retrieval, users, found)
    return out


def _category_keys(night: Night, user: Int32, item: Int32) -> Int64:
    kind = night.subcategory[item].astype(np.int64)
    return np.where(kind < 0, np.int64(-1), user.astype(np.int64) * night.categories + kind)


def _derived(
    known_part: Float32, night: Night, retrieval: Retrieval, users: Int32, found: Candidates
) -> Float32:
    def column(name: str) -> Float32:
        values: Float32 = known_part[:, FEATURES.index(name)]
        return values

    derived = (
        column("pair.m60") / (column("category.m60") + np.float32(1e-9)),
        column("pair.days") / column("user.trips"),
        column("pair.days_28") / (column("user.trips_28") + 1),
        _als(retrieval, users[found.rows], found.items),
        _item_item(night, retrieval, users, found),
    )
    return np.column_stack(derived)


def _als(retrieval: Retrieval, user: Int32, item: Int32) -> Float32:
    scores: Float32 = kernels.dots(retrieval.user_factors, retrieval.item_factors, user, item)
    missing: NDArray[np.bool_] = ~known(retrieval.user_factors)[user] | ~known(retrieval.item_factors)[item]
    scores[missing] = np.nan
    return scores


def _item_item(night: Night, retrieval: Retrieval, users: Int32, found: Candidates) -> Float32:
    owner = found.rows
    out = np.empty(len(found.items), np.float32)
    for first in range(0, len(users), ITEM_ITEM_USERS):
        last = min(first + ITEM_ITEM_USERS, len(users))
        rows = slice(found.indptr[first], found.indptr[last])
        dense = item_item_scores(night, retrieval, users[first:last])
        out[rows] = dense[owner[rows] - first, found.items[rows]]
    return out
