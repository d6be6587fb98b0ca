"""What must hold of the lists of a release, and the list of popular items."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.dataset import Dataset
from lake.sections import ListsSection
from nightjar_reader import format as fmt
from recommender import columns
from recommender.arrays import Bool
from recommender.candidates import most_popular
from recommender.ids import Ids
from recommender.retrieval import popularity
from recommender.userlists import Made
from recommender.view import View
from validation.counts import Batches
from validation.expectations import check_lists
from validation.gate import CRITICAL, WARNING, Check


def written(folder: Path, buckets: int) -> Batches:
    """The lists that were written, a bucket at a time."""

    def read(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for number in range(buckets):
            with pq.ParquetFile(folder / fmt.lists_path(number)) as file:
                yield from file.read(columns=list(names), use_threads=False).combine_chunks().to_batches()

    return read


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


def check(rows: Batches, made: Made, view: View, items: Ids, data: Dataset) -> list[Check]:
    """Whether a release with these lists may be published.

    Parameters
    ----------
    rows
        The lists as they were written.
    made
        What they add up to.
    view
        Of all users.
    items
        What a list may contain.

    Returns
    -------
    list of Check
        Those of `validation.expectations.check_lists`, then that every user of the view has a
        list, that a list is empty only where nothing is left, and that all items are in the
        catalogue.
    """
    return [
        *check_lists(rows, data.lists.length),
        _all_users(rows, view),
        _empty_for_a_reason(made, view),
        _all_listed(rows, items),
    ]


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


def _empty_for_a_reason(made: Made, view: View) -> Check:
    """Whether nothing is left for whoever has an empty list: the user has seen all items that are listed.

    Where no item of the events is listed at all, every list is empty, and a stranger gets nothing either:
    the catalogue is not of these events.
    """
    name = "empty_for_a_reason"
    if not view.listed.any() and not made.recommendations:
        found = f"none of {len(view.items)} items of the events is in the catalogue; every list is empty"
        return Check(name, CRITICAL, False, found, "a catalogue of items that the events name")
    wrong = made.unexplained
    found, expected = f"{wrong} of {made.empty} empty lists", "none where an item that anybody had is left"
    return Check(name, CRITICAL, wrong == 0, found, expected)


def _all_users(rows: Batches, view: View) -> Check:
    without = np.ones(len(view.users), bool)
    for batch in rows([fmt.USER_ID]):
        codes = view.users.codes(batch[fmt.USER_ID])
        without[codes[codes >= 0]] = False
    missing = int(without.sum())
    return Check(
        "every_user_has_a_list", CRITICAL, missing == 0, f"{missing} users without", "a list for every user"
    )


def _all_listed(rows: Batches, items: Ids) -> Check:
    strangers = [_unlisted(batch, items) for batch in rows([fmt.ITEM_IDS])]
    strange = len(pc.unique(pa.chunked_array(strangers, items.values.type)))
    expected = "only items of the catalogue"
    return Check("items_in_catalogue", CRITICAL, strange == 0, f"{strange} other items", expected)


def _unlisted(batch: pa.RecordBatch, items: Ids) -> pa.Array:
    unique = pc.unique(pc.list_flatten(batch[fmt.ITEM_IDS]))
    return unique.filter(pa.array(items.codes(unique) < 0))
