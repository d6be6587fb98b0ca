"""The view of one as-of day that lists are made from: its feature tables by dense codes."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from lake import tables
from lake.records import Record, Records
from lake.schemas import FEATURES, ITEM, SUBCATEGORY, USER
from lake.settings import Dataset
from lake.storage import Storage
from recommender.ids import Ids, Int32

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
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
        found = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        rows: Float32 = self.values[np.where(found, at, -1)]
        return rows


@dataclass(frozen=True)
class Night:
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
    """

    day: dt.date
    users: Ids
    items: Ids
    user: Float32
    item: Float32
    pair: Rows
    category: Rows
    categories: int
    subcategory: Int32
    listed: NDArray[np.bool_]

    def column(self, table: str, name: str) -> Float32:
        """One feature of a table, by code (users, items) or by row (pairs, categories)."""
        held: dict[str, Float32] = {
            "user_features": self.user,
            "item_features": self.item,
            "user_item_features": self.pair.values[:-1],
            "user_category_features": self.category.values[:-1],
        }
        names = [feature.name for feature in FEATURES[table]]
        values: Float32 = held[table][:, names.index(name)]
        return values

    @cached_property
    def m60(self) -> Any:
        """The decayed purchases as a float32 CSR matrix, users x items, sorted by item."""
        return self.pairs("m60")

    def pairs(self, name: str) -> Any:
        """One feature of the pairs as a float32 CSR matrix, users x items, sorted by item."""
        width = max(1, len(self.items))
        indptr = np.searchsorted(self.pair.keys, np.arange(len(self.users) + 1) * width)
        indices = (self.pair.keys % width).astype(np.int32)
        values = np.ascontiguousarray(self.column("user_item_features", name))
        return csr_matrix((values, indices, indptr), shape=(len(self.users), len(self.items)))


def load(storage: Storage, records: Records, features: Record, data: Dataset) -> Night:
    """Read a day's feature tables and its catalogue, exactly the files that the record names.

    Parameters
    ----------
    features
        The features record of the day; its pin says which catalogue.
    """
    found = {name: _read(storage, name, data, features.tables[name]) for name in FEATURES}
    pins = features.inputs_of("catalogue")
    catalogue = [_read(storage, "catalogue", data, tables.pinned(records, pin)) for pin in pins[-1:]]
    return build(features.day, found, catalogue[0] if catalogue else None)


def _read(storage: Storage, name: str, data: Dataset, content: Any) -> pa.Table:
    columns = [ITEM, SUBCATEGORY] if name == "catalogue" else None
    return tables.read(storage, name, data.id_type, content.files, columns)


def build(day: dt.date, found: Mapping[str, pa.Table], catalogue: pa.Table | None) -> Night:
    """The night of feature tables in memory.

    Parameters
    ----------
    found
        The four feature tables, by name, in any order of rows.
    catalogue
        At least `item_id` and `subcategory`; None where the data set has no catalogue.
    """
    users = Ids.of(found["user_features"][USER])
    items = Ids.of(found["item_features"][ITEM])
    kinds = Ids.of(found["user_category_features"][SUBCATEGORY])
    pairs, categories = found["user_item_features"], found["user_category_features"]
    return Night(
        day=day,
        users=users,
        items=items,
        user=_dense("user_features", found, users.codes(found["user_features"][USER])),
        item=_dense("item_features", found, items.codes(found["item_features"][ITEM])),
        pair=_rows(
            "user_item_features", found, users.codes(pairs[USER]), items.codes(pairs[ITEM]), len(items)
        ),
        category=_rows(
            "user_category_features",
            found,
            users.codes(categories[USER]),
            kinds.codes(categories[SUBCATEGORY]),
            len(kinds),
        ),
        categories=len(kinds),
        subcategory=_subcategory(items, kinds, catalogue),
        listed=_listed(items, catalogue),
    )


def _values(table: str, found: Mapping[str, pa.Table]) -> Float32:
    columns = (found[table][feature.name] for feature in FEATURES[table])
    return np.column_stack([column.to_numpy().astype(np.float32) for column in columns])


def _dense(table: str, found: Mapping[str, pa.Table], codes: Int32) -> Float32:
    values = _values(table, found)
    out = np.empty_like(values)
    out[codes] = values
    return out


def _rows(table: str, found: Mapping[str, pa.Table], users: Int32, others: Int32, width: int) -> Rows:
    keys = users.astype(np.int64) * width + others
    order = np.argsort(keys, kind="stable")
    absent = np.array([[feature.absent for feature in FEATURES[table]]], np.float32)
    return Rows(keys[order], np.concatenate([_values(table, found)[order], absent]))


def _subcategory(items: Ids, kinds: Ids, catalogue: pa.Table | None) -> Int32:
    out = np.full(len(items), -1, np.int32)
    if catalogue is not None:
        codes = items.codes(catalogue[ITEM])
        out[codes[codes >= 0]] = kinds.codes(catalogue[SUBCATEGORY])[codes >= 0]
    return out


def _listed(items: Ids, catalogue: pa.Table | None) -> NDArray[np.bool_]:
    if catalogue is None:
        return np.ones(len(items), bool)
    out = np.zeros(len(items), bool)
    codes = items.codes(catalogue[ITEM])
    out[codes[codes >= 0]] = True
    return out
