"""The personal lists and the popular ones as tables of a release, and what must hold of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.dataset import Dataset
from lake.sections import ListsSection
from nightjar_reader import format as fmt
from precompute import columns
from precompute.items import Factors
from recommender.arrays import Bool, Int32, Int64, UInt64
from recommender.asof import Block
from recommender.candidates import most_popular
from recommender.ids import Ids
from recommender.retrieval import popularity
from recommender.scoring import Lists
from recommender.view import View
from validation.counts import Batches
from validation.expectations import check_lists
from validation.gate import CRITICAL, WARNING, Check

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # any two odd numbers would do


def table(block: Block, lists: Lists, factors: Factors | None, id_type: fmt.IdType) -> pa.Table:
    """One row for every user of a block, sorted by id.

    Parameters
    ----------
    factors
        Their user codes fill the column of codes; it is null without them.
    """
    view, schema = block.view, fmt.lists_schema(id_type)
    offsets = lists.indptr.astype(np.int32)
    codes = np.full(len(block.users), -1, np.int32) if factors is None else factors.user_codes[block.users]
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


class Writer:
    """Writes the file of every bucket, also of one without users, as blocks of users come."""

    def __init__(self, folder: Path, buckets: int, id_type: fmt.IdType) -> None:
        schema = fmt.lists_schema(id_type)
        paths = (folder / fmt.lists_path(number) for number in range(buckets))
        self._files = [columns.PartWriter(path, schema, fmt.USER_ID) for path in paths]

    def add(self, rows: pa.Table) -> None:
        """Write the users of a block, sorted by id; they come after those of all blocks before."""
        bucket = columns.buckets(rows[fmt.USER_ID].combine_chunks(), len(self._files))
        for number in np.unique(bucket):
            self._files[number].add(rows.take(pa.array(np.flatnonzero(bucket == number))))

    def close(self) -> None:
        """End all files."""
        for file in self._files:
            file.close()


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


def check(rows: Batches, made: "Totals", view: View, items: Ids, data: Dataset) -> list[Check]:
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


class Totals:
    """What the lists of all blocks add up to.

    Attributes
    ----------
    users, recommendations
        How many users, and items of theirs.
    fallback, empty
        How many users have a list that is not their own, and none.
    unexplained
        How many have none though an item that anybody had is left for them.
    """

    def __init__(self, items: int) -> None:
        self.users = self.recommendations = self.fallback = self.empty = self.unexplained = 0
        self._recommended = np.zeros(items, bool)
        self._alike = Alike()

    def add(self, view: View, lists: Lists, repeats: bool) -> None:
        """Take the lists of a block's view into account."""
        sizes = np.diff(lists.indptr)
        without = np.flatnonzero(sizes == 0).astype(np.int32)
        self.users += len(sizes)
        self.recommendations += len(lists.items)
        self.fallback += int((lists.fallback == fmt.FALLBACK_GLOBAL).sum())
        self.empty += len(without)
        self.unexplained += int((_left(view, without, repeats) > 0).sum())
        self._recommended[lists.items] = True
        self._alike.add(lists)

    def counts(self) -> dict[str, int]:
        """The counts of the manifest that are about lists; `check_shares` judges some of them."""
        return {
            "users": self.users,
            "recommendations": self.recommendations,
            "users_with_global_fallback": self.fallback,
            "users_with_the_same_list": self._alike.most,
            "empty_lists": self.empty,
            "items_recommended": int(self._recommended.sum()),
        }


def _left(view: View, users: Int32, repeats: bool) -> Int64:
    """How many of the listed items are left for each user, who may not get again what was seen."""
    left = np.full(len(users), view.listed.sum())
    return left if repeats or not len(users) else left - _listed_and_seen(view, users)


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


class Alike:
    """Counts the users who share the most common list.

    Of each list two sums over its items, modulo 2^64, and its length are held: that no two lists differ
    and have all three in common is as good as certain.
    """

    def __init__(self) -> None:
        self._parts: list[UInt64] = []

    def add(self, lists: Lists) -> None:
        """Take some users into account."""
        start, sizes = lists.indptr[:-1], np.diff(lists.indptr)
        sums = np.zeros((2, len(sizes)), np.uint64)
        for at in range(int(sizes.max(initial=0))):
            longer = np.flatnonzero(sizes > at)
            item = lists.items[start[longer] + at].astype(np.uint64) + np.uint64(1)
            sums[:, longer] = sums[:, longer] * _ODD[:, None] + item
        self._parts.append(np.vstack([sums, sizes.astype(np.uint64)])[:, sizes > 0])

    @property
    def most(self) -> int:
        """How many there are; 0 where no two users have the same list."""
        keys = np.concatenate([np.zeros((3, 0), np.uint64), *self._parts], axis=1)
        keys = keys[:, np.lexsort(keys)]
        starts = np.flatnonzero(np.append((np.diff(keys, axis=1) != 0).any(axis=0), True))
        largest = int(np.diff(starts, prepend=-1).max()) if keys.size else 0
        return largest if largest > 1 else 0


def _empty_for_a_reason(made: Totals, view: View) -> Check:
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


def _listed_and_seen(view: View, users: Int32) -> Int64:
    """How many of the listed items each user has seen."""
    seen = view.weights[np.maximum(users, 0)]
    owner = np.repeat(np.arange(len(users)), np.diff(seen.indptr))
    return np.bincount(owner[view.listed[seen.indices]], minlength=len(users))


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
