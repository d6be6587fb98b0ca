"""The view of an as-of day that lists are made from: the feature tables of its users, or of some, by code."""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from lake.feature_spec import FEATURES, USERS, WEIGHT, Window, within
from lake.names import TableName
from recommender.arrays import Bool, Float32, Int32, Int64
from recommender.ids import Ids


@dataclass(frozen=True)
class FeatureRows:
    """Feature rows by a sorted integer key, and what a key without a row has.

    Attributes
    ----------
    keys
        int64 ``[rows]``, ascending and distinct.
    values
        float32 ``[rows + 1, features]``; the last row is what an absent key has.
    """

    keys: Int64
    values: Float32

    def gather(self, keys: Int64) -> Float32:
        """The rows of some keys, float32 ``[len(keys), features]``."""
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = -1
        is_known = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        rows: Float32 = self.values[np.where(is_known, at, -1)]
        return rows


@dataclass(frozen=True)
class Origin:
    """What made the feature tables of a night: a booster fits those of its own origin alone.

    Attributes
    ----------
    version, config_digest
        Of the features stage, as the record says.
    """

    version: int = 0
    config_digest: str = ""


@dataclass(frozen=True)
class View:
    """Everything that candidates and scores of one as-of day are made from, for all of its users or some.

    Attributes
    ----------
    day
        The as-of day.
    users, items
        The ids seen as of the day; of users those whom the view is for.
    user, item
        float32 ``[users, features]`` and ``[items, features]``, by code.
    pair
        Rows by ``user * len(items) + item``.
    category
        Rows by ``user * categories + subcategory``.
    categories
        How many subcategories there are.
    subcategory
        int32 ``[items]``, -1 where the catalogue names none.
    listed
        bool ``[items]``: the item is in the catalogue as of the day; all True without a catalogue.
    origin
        What made the tables.
    popular_window
        The window in which users make an item popular.
    """

    day: dt.date
    users: Ids
    items: Ids
    user: Float32
    item: Float32
    pair: FeatureRows
    category: FeatureRows
    categories: int
    subcategory: Int32
    listed: Bool
    origin: Origin = Origin()
    popular_window: Window = "medium"

    def column(self, table: str, name: str) -> Float32:
        """One feature of a table, by code (users, items) or by row (pairs, categories)."""
        held: dict[str, Float32] = {
            TableName.USERS: self.user,
            TableName.ITEMS: self.item,
            TableName.PAIRS: self.pair.values[:-1],
            TableName.CATEGORIES: self.category.values[:-1],
        }
        names = [feature.name for feature in FEATURES[table]]
        values: Float32 = held[table][:, names.index(name)]
        return values

    @property
    def users_lately(self) -> Float32:
        """How many users bought an item in the popular window, by code."""
        return self.column(TableName.ITEMS, within(USERS, self.popular_window))

    @cached_property
    def weights(self) -> Any:
        """The decayed purchases as a float32 CSR matrix, users x items, sorted by item."""
        return self.pairs(WEIGHT)

    def pairs(self, name: str) -> Any:
        """One feature of the pairs as a float32 CSR matrix, users x items, sorted by item."""
        width = max(1, len(self.items))
        indptr = np.searchsorted(self.pair.keys, np.arange(len(self.users) + 1) * width)
        indices = (self.pair.keys % width).astype(np.int32)
        values = np.ascontiguousarray(self.column(TableName.PAIRS, name))
        return csr_matrix((values, indices, indptr), shape=(len(self.users), len(self.items)))
