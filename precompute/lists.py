"""The personal lists and the popular ones as tables of a release, and what must hold of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.settings import Dataset
from nightjar_reader import format as fmt
from precompute import columns
from precompute.items import Factors
from recommender.ids import Ids
from recommender.night import Night
from recommender.scoring import Lists, popular
from validation.expectations import check_lists
from validation.gate import CRITICAL, Check


def table(night: Night, lists: Lists, factors: Factors | None, id_type: fmt.IdType) -> pa.Table:
    """One row for every user of the night, sorted by id.

    Parameters
    ----------
    factors
        Whose user codes the rows name; null codes without.
    """
    schema = fmt.lists_schema(id_type)
    offsets = lists.indptr.astype(np.int32)
    codes = pa.nulls(len(night.users), pa.int32()) if factors is None else codes_column(factors.user_codes)
    parts = {
        fmt.USER_ID: night.users.values,
        fmt.ITEM_IDS: columns.as_lists(
            offsets, night.items.take(lists.items), schema.field(fmt.ITEM_IDS).type
        ),
        fmt.SCORES: columns.as_lists(offsets, pa.array(lists.scores), schema.field(fmt.SCORES).type),
        fmt.FALLBACK: pa.array(lists.fallback, pa.int8()),
        fmt.CODE: codes,
    }
    return pa.table(parts, schema=schema)


def codes_column(codes: NDArray[np.int32]) -> pa.Array:
    """Codes as a column; -1 is null."""
    return pa.array(codes, pa.int32(), mask=codes < 0)


def write(folder: Path, lists: pa.Table, buckets: int) -> None:
    """Write every bucket's file, also of those without a user."""
    bucket = columns.buckets(lists[fmt.USER_ID].combine_chunks(), buckets)
    for number in range(buckets):
        rows = pa.array(np.flatnonzero(bucket == number))
        columns.write(lists.take(rows), folder / fmt.lists_path(number), fmt.USER_ID)


def popular_table(night: Night, allowed: NDArray[np.bool_], data: Dataset) -> pa.Table:
    """The global list of popular items: one row, whose segment is null."""
    schema = fmt.popular_schema(data.id_type)
    codes, scores = popular(night, allowed, data.lists.popular)
    offsets = np.array([0, len(codes)], np.int32)
    parts = {
        fmt.SEGMENT: pa.nulls(1, pa.string()),
        fmt.ITEM_IDS: columns.as_lists(offsets, night.items.take(codes), schema.field(fmt.ITEM_IDS).type),
        fmt.SCORES: columns.as_lists(offsets, pa.array(scores), schema.field(fmt.SCORES).type),
    }
    return pa.table(parts, schema=schema)


def check(lists: pa.Table, night: Night, items: Ids, data: Dataset) -> list[Check]:
    """Whether a release with these lists may be published.

    Parameters
    ----------
    lists
        As `table` gives them.
    items
        What a list may contain.

    Returns
    -------
    list of Check
        Those of `validation.expectations.check_lists`, then that every user of the night has a
        list and that all items are in the catalogue.
    """
    found = check_lists(lists, data.id_type, data.lists.length)
    return [*found, _all_users(lists, night), _all_listed(lists, items)]


def _all_users(lists: pa.Table, night: Night) -> Check:
    missing = int((Ids.of(lists[fmt.USER_ID]).codes(night.users.values) < 0).sum())
    return Check(
        "every_user_has_a_list", CRITICAL, missing == 0, f"{missing} users without", "a list for every user"
    )


def _all_listed(lists: pa.Table, items: Ids) -> Check:
    unknown = pc.unique(pc.list_flatten(lists[fmt.ITEM_IDS]))
    strange = int((items.codes(unknown) < 0).sum())
    expected = "only items of the catalogue"
    return Check("items_in_catalogue", CRITICAL, strange == 0, f"{strange} other items", expected)
