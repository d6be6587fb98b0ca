"""The view of one as-of day that lists are made from: its feature tables by dense codes."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from lake import tables
from lake.dataset import Dataset
from lake.feature_spec import FEATURES, USERS, WEIGHT, Window, within
from lake.names import TableName
from lake.records import Record, Records
from lake.schemas import ITEM, SUBCATEGORY, USER
from lake.storage import Storage
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
    """Everything that candidates and scores of one as-of day are made from.

    Attributes
    ----------
    day
        The as-of day.
    users, items
        The ids seen as of the day.
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


def load(storage: Storage, records: Records, features: Record, data: Dataset) -> View:
    """Read a day's feature tables and its catalogue, exactly the files that the record names.

    Parameters
    ----------
    features
        The features record of the day; its pin says which catalogue.
    """
    pins = features.inputs_of(TableName.CATALOGUE)
    catalogue = [_read(storage, TableName.CATALOGUE, data, tables.pinned(records, pin)) for pin in pins[-1:]]

    def table(name: str) -> pa.Table:
        return _read(storage, name, data, features.tables[name])

    view = build(features.day, table, catalogue[0] if catalogue else None)
    return replace(view, origin=origin_of(features), popular_window=data.candidates.popular_window)


def origin_of(features: Record) -> Origin:
    """What made the tables of a features record."""
    return Origin(features.version, features.config_digest)


def _read(storage: Storage, name: str, data: Dataset, content: Any) -> pa.Table:
    columns = [ITEM, SUBCATEGORY] if name == TableName.CATALOGUE else None
    return tables.read(storage, name, data.id_type, content.files, columns)


def build(day: dt.date, table: Callable[[str], pa.Table], catalogue: pa.Table | None) -> View:
    """The view of a day by its feature tables and its catalogue.

    Each table is read, laid out and released before the next, so that no two are held at a time.

    Parameters
    ----------
    table
        Gives one of the four feature tables by its name, its rows in any order.
    catalogue
        At least `item_id` and `subcategory`; None where the data set has no catalogue.
    """
    users, user = _dense(TableName.USERS, table(TableName.USERS), USER)
    items, item = _dense(TableName.ITEMS, table(TableName.ITEMS), ITEM)
    pair = _rows(TableName.PAIRS, table(TableName.PAIRS), (USER, users), (ITEM, items))
    of_categories = table(TableName.CATEGORIES)
    kinds = Ids.of(of_categories[SUBCATEGORY])
    category = _rows(TableName.CATEGORIES, of_categories, (USER, users), (SUBCATEGORY, kinds))
    subcategory, listed = _catalogued(items, kinds, catalogue)
    return View(
        day=day,
        users=users,
        items=items,
        user=user,
        item=item,
        pair=pair,
        category=category,
        categories=len(kinds),
        subcategory=subcategory,
        listed=listed,
    )


def _dense(name: str, rows: pa.Table, key: str) -> tuple[Ids, Float32]:
    ids = Ids.of(rows[key])
    values = np.empty((len(rows), len(FEATURES[name])), np.float32)
    codes = ids.codes(rows[key])
    for at, feature in enumerate(FEATURES[name]):
        values[codes, at] = rows[feature.name].to_numpy()
    return ids, values


def _rows(name: str, rows: pa.Table, outer: tuple[str, Ids], inner: tuple[str, Ids]) -> FeatureRows:
    """Fill in the values column by column: there is one copy of a table beside the table itself."""
    (outer_key, outer_ids), (inner_key, inner_ids) = outer, inner
    keys = outer_ids.codes(rows[outer_key]).astype(np.int64) * len(inner_ids)
    keys += inner_ids.codes(rows[inner_key])
    order = np.argsort(keys, kind="stable")
    values = np.empty((len(rows) + 1, len(FEATURES[name])), np.float32)
    for at, feature in enumerate(FEATURES[name]):
        values[:-1, at] = rows[feature.name].to_numpy()[order]
        values[-1, at] = feature.absent
    return FeatureRows(keys[order], values)


def _catalogued(items: Ids, kinds: Ids, catalogue: pa.Table | None) -> tuple[Int32, Bool]:
    """`View.subcategory` and `View.listed`."""
    subcategory = np.full(len(items), -1, np.int32)
    if catalogue is None:
        return subcategory, np.ones(len(items), bool)
    codes, listed = items.codes(catalogue[ITEM]), np.zeros(len(items), bool)
    known = codes >= 0
    subcategory[codes[known]] = kinds.codes(catalogue[SUBCATEGORY])[known]
    listed[codes[known]] = True
    return subcategory, listed
