"""The personal lists and the popular ones as tables of a release, and what must hold of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Dataset
from lake.sections import ListsSection
from nightjar_reader import format as fmt
from precompute import columns
from precompute.items import Factors
from recommender.arrays import Bool, Int32, Int64
from recommender.candidates import most_popular
from recommender.ids import Ids
from recommender.retrieval import popularity
from recommender.scoring import Lists
from recommender.view import View
from validation.expectations import check_lists
from validation.gate import CRITICAL, WARNING, Check

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: any odd number would do


def table(view: View, lists: Lists, factors: Factors | None, id_type: fmt.IdType) -> pa.Table:
    """One row for every user of the view, sorted by id.

    Parameters
    ----------
    factors
        Their user codes fill the column of codes; it is null without them.
    """
    schema = fmt.lists_schema(id_type)
    offsets = lists.indptr.astype(np.int32)
    codes = np.full(len(view.users), -1, np.int32) if factors is None else factors.user_codes
    parts = {
        fmt.USER_ID: view.users.values,
        fmt.ITEM_IDS: columns.as_lists(
            offsets, view.items.take(lists.items), schema.field(fmt.ITEM_IDS).type
        ),
        fmt.SCORES: columns.as_lists(offsets, pa.array(lists.scores), schema.field(fmt.SCORES).type),
        fmt.FALLBACK: pa.array(lists.fallback, pa.int8()),
        fmt.CODE: pa.array(codes, pa.int32(), mask=codes < 0),
    }
    return pa.table(parts, schema=schema)


def write(folder: Path, lists: pa.Table, buckets: int) -> None:
    """Write the file of every bucket, also of one without users."""
    bucket = columns.buckets(lists[fmt.USER_ID].combine_chunks(), buckets)
    for number in range(buckets):
        rows = pa.array(np.flatnonzero(bucket == number))
        columns.write(lists.take(rows), folder / fmt.lists_path(number), fmt.USER_ID)


def popular_table(view: View, allowed: Bool, data: Dataset) -> pa.Table:
    """The global list of popular items: one row, whose segment is null."""
    schema = fmt.popular_schema(data.id_type)
    codes, scores = most_popular(popularity(view), allowed, data.lists.popular)
    offsets = np.array([0, len(codes)], np.int32)
    parts = {
        fmt.SEGMENT: pa.nulls(1, pa.string()),
        fmt.ITEM_IDS: columns.as_lists(offsets, view.items.take(codes), schema.field(fmt.ITEM_IDS).type),
        fmt.SCORES: columns.as_lists(offsets, pa.array(scores), schema.field(fmt.SCORES).type),
    }
    return pa.table(parts, schema=schema)


def check(lists: pa.Table, view: View, items: Ids, data: Dataset) -> list[Check]:
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
        Those of `validation.expectations.check_lists`, then that every user of the view has a
        list, that a list is empty only where nothing is left, and that all items are in the
        catalogue.
    """
    checks = check_lists(lists, data.id_type, data.lists.length)
    return [
        *checks,
        _all_users(lists, view),
        _empty_for_a_reason(lists, view, data.repeats),
        _all_listed(lists, items),
    ]


def shares(lists: Lists) -> dict[str, int]:
    """How many lists are not the user's own: what `check_shares` judges, as counts of the manifest."""
    return {
        "users_with_global_fallback": int((lists.fallback == fmt.FALLBACK_GLOBAL).sum()),
        "users_with_the_same_list": most_alike(lists),
        "empty_lists": int((np.diff(lists.indptr) == 0).sum()),
    }


def check_shares(counts: Mapping[str, int], sizes: ListsSection) -> list[Check]:
    """Warn of lists that are valid and of no use.

    Parameters
    ----------
    counts
        ``users`` and those of `shares`.
    sizes
        The largest shares that need no warning.
    """
    judged = (
        ("identical_lists", "users_with_the_same_list", sizes.max_identical_share, "one and the same list"),
        ("fallback_lists", "users_with_global_fallback", sizes.max_fallback_share, "a fallback"),
        ("empty_lists", "empty_lists", sizes.max_empty_share, "an empty list"),
    )
    users = counts["users"]
    return [_share(name, counts[count], users, most, what) for name, count, most, what in judged]


def _share(name: str, count: int, users: int, most: float, what: str) -> Check:
    share = count / max(users, 1)
    found = f"{count} of {users} users ({share:.2%}) get {what}"
    return Check(f"{name}_share", WARNING, share <= most, found, f"at most {most:.2%} of the users")


def most_alike(lists: Lists) -> int:
    """How many users share the most common list; 0 where no two users have the same one.

    Lists are grouped by a sum over their items, modulo 2^64; those of the largest group are then
    compared item by item.
    """
    start, sizes = lists.indptr[:-1], np.diff(lists.indptr)
    sums = np.zeros(len(sizes), np.uint64)
    for at in range(int(sizes.max(initial=0))):
        longer = np.flatnonzero(sizes > at)
        item = lists.items[start[longer] + at].astype(np.uint64) + np.uint64(1)
        sums[longer] = sums[longer] * _ODD + item
    _, first, times = np.unique(sums[sizes > 0], return_index=True, return_counts=True)
    if not len(first):
        return 0
    model = np.flatnonzero(sizes)[first[times.argmax()]]
    alike = np.flatnonzero((sums == sums[model]) & (sizes == sizes[model]))
    for at in range(int(sizes[model])):
        alike = alike[lists.items[start[alike] + at] == lists.items[start[model] + at]]
    return len(alike) if len(alike) > 1 else 0


def _empty_for_a_reason(lists: pa.Table, view: View, repeats: bool) -> Check:
    """Whether nothing is left for whoever has an empty list: the user has seen all items that are listed.

    Where no item of the events is listed at all, every list is empty, and a stranger gets nothing either:
    the catalogue is not of these events.
    """
    name, lengths = "empty_for_a_reason", pc.list_value_length(lists[fmt.ITEM_IDS]).fill_null(0)
    if not view.listed.any() and not pc.any(pc.greater(lengths, 0)).as_py():
        found = f"none of {len(view.items)} items of the events is in the catalogue; every list is empty"
        return Check(name, CRITICAL, False, found, "a catalogue of items that the events name")
    users = view.users.codes(lists[fmt.USER_ID].filter(pc.equal(lengths, 0)))
    left = np.full(len(users), view.listed.sum())
    if not repeats and len(users):
        left -= _listed_and_seen(view, users)
    wrong = int((left > 0).sum())
    found, expected = f"{wrong} of {len(users)} empty lists", "none where an item that anybody had is left"
    return Check(name, CRITICAL, wrong == 0, found, expected)


def _listed_and_seen(view: View, users: Int32) -> Int64:
    """How many of the listed items each user has seen."""
    seen = view.weights[np.maximum(users, 0)]
    owner = np.repeat(np.arange(len(users)), np.diff(seen.indptr))
    return np.bincount(owner[view.listed[seen.indices]], minlength=len(users))


def _all_users(lists: pa.Table, view: View) -> Check:
    missing = int((Ids.of(lists[fmt.USER_ID]).codes(view.users.values) < 0).sum())
    return Check(
        "every_user_has_a_list", CRITICAL, missing == 0, f"{missing} users without", "a list for every user"
    )


def _all_listed(lists: pa.Table, items: Ids) -> Check:
    unknown = pc.unique(pc.list_flatten(lists[fmt.ITEM_IDS]))
    strange = int((items.codes(unknown) < 0).sum())
    expected = "only items of the catalogue"
    return Check("items_in_catalogue", CRITICAL, strange == 0, f"{strange} other items", expected)
