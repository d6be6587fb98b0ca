"""The lists of a day's users as files of a release: those of all buckets, or of some of them.

A bucket's file has the same bytes whichever other buckets are made with it, and where.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake.dataset import Dataset
from nightjar_reader import format as fmt
from recommender import columns
from recommender.arrays import Int32, Int64, UInt64
from recommender.asof import AsOf, Block
from recommender.bundle import Bundle
from recommender.retrieval import Retrieval, align, known, of_users
from recommender.scoring import ListMaker, Lists
from recommender.view import View

_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # any two odd numbers would do


@dataclass(frozen=True)
class Making:
    """All that the lists of a day are made from.

    Attributes
    ----------
    bundle
        What the decision names; None without one.
    threads
        Change nothing in the result.
    """

    as_of: AsOf
    bundle: Bundle | None
    data: Dataset
    threads: int

    @cached_property
    def retrieval(self) -> Retrieval | None:
        """The bundle's, by the codes of the day."""
        return align(self.bundle.retrieval, self.as_of.small) if self.bundle else None

    @cached_property
    def _codes(self) -> Int32:
        return user_codes(self.as_of.small, self.retrieval)

    @cached_property
    def _buckets(self) -> Int64:
        return columns.buckets(self.as_of.small.users.values, self.data.lists.buckets)

    def write(self, folder: Path, buckets: Sequence[int]) -> "Totals":
        """Write the files of some buckets, a block of their users at a time; gives what they add up to."""
        data, small = self.data, self.as_of.small
        writer = Writer(folder, buckets, data.lists.buckets, data.id_type)
        totals, made = Totals(len(small.items)), partial(self._made, codes=self._codes)
        for rows, added in self.as_of.each(made, self.threads, self._users_of(buckets)):
            writer.add(rows)
            totals.merge(added)
        writer.close()
        return totals

    def _made(self, block: Block, codes: Int32) -> "tuple[pa.Table, Totals]":
        lists, totals = self._lists(block), Totals(len(block.view.items))
        totals.add(block.view, lists, self.data.repeats)
        return table(block, lists, codes, self.data.id_type), totals

    def _users_of(self, buckets: Sequence[int]) -> Int32 | None:
        if len(buckets) == self.data.lists.buckets:
            return None
        return np.flatnonzero(np.isin(self._buckets, buckets)).astype(np.int32)

    def _lists(self, block: Block) -> Lists:
        mine = of_users(self.retrieval, block.users, block.view.users) if self.retrieval else None
        maker = ListMaker(block.view, self.data, self.data.lists.length, block.view.listed)
        return maker.personal(self.bundle, mine)


def user_codes(view: View, retrieval: Retrieval | None) -> Int32:
    """For each user of a view the row in the user factors of its release, or -1.

    Parameters
    ----------
    view
        Of all users.
    retrieval
        By the view's codes; a release has no factors without one, nor where it knows no listed item.
    """
    if retrieval is None or not (view.listed & known(retrieval.item_factors)).any():
        return np.full(len(view.users), -1, np.int32)
    users = known(retrieval.user_factors)
    return np.where(users, np.cumsum(users) - 1, -1).astype(np.int32)


def table(block: Block, lists: Lists, user_codes: Int32, id_type: fmt.IdType) -> pa.Table:
    """One row for every user of a block, sorted by id.

    Parameters
    ----------
    user_codes
        Of all users of the day; the column of codes is null where they are -1.
    """
    view, schema = block.view, fmt.lists_schema(id_type)
    offsets, codes = lists.indptr.astype(np.int32), user_codes[block.users]
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
    """Writes the files of some buckets, also of one without users, as blocks of their users come.

    Parameters
    ----------
    numbers
        The buckets to write.
    buckets
        How many there are in all.
    """

    def __init__(self, folder: Path, numbers: Sequence[int], buckets: int, id_type: fmt.IdType) -> None:
        schema = fmt.lists_schema(id_type)
        paths = {number: folder / fmt.lists_path(number) for number in numbers}
        self._files = {
            number: columns.PartWriter(path, schema, fmt.USER_ID) for number, path in paths.items()
        }
        self._buckets = buckets

    def add(self, rows: pa.Table) -> None:
        """Write the users of a block, sorted by id; they come after those of all blocks before."""
        bucket = columns.buckets(rows[fmt.USER_ID].combine_chunks(), self._buckets)
        for number in np.unique(bucket):
            self._files[number].add(rows.take(pa.array(np.flatnonzero(bucket == number))))

    def close(self) -> None:
        """End all files."""
        for file in self._files.values():
            file.close()


@dataclass(frozen=True)
class Made:
    """What lists add up to.

    Attributes
    ----------
    users, recommendations, items
        How many users, items of theirs in all, and distinct ones.
    fallback, alike, empty
        How many users have a list that is not their own, the list that most users have, and none.
    unexplained
        How many have none though an item that anybody had is left for them.
    warnings
        Why the lists are not what the decision asked for.
    """

    users: int
    recommendations: int
    items: int
    fallback: int
    alike: int
    empty: int
    unexplained: int
    warnings: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """The counts of the manifest that are about lists."""
        return {
            "users": self.users,
            "recommendations": self.recommendations,
            "users_with_global_fallback": self.fallback,
            "users_with_the_same_list": self.alike,
            "empty_lists": self.empty,
            "items_recommended": self.items,
        }


class Totals:
    """Adds up the lists of blocks, in any order, and of groups of blocks that were added up elsewhere."""

    def __init__(self, items: int) -> None:
        self._sums = np.zeros(5, np.int64)
        self._recommended = np.zeros(items, bool)
        self._alike = Alike()
        self._warnings: tuple[str, ...] = ()

    def add(self, view: View, lists: Lists, repeats: bool) -> None:
        """Take the lists of a block's view into account."""
        sizes = np.diff(lists.indptr)
        without = np.flatnonzero(sizes == 0).astype(np.int32)
        fallback = (lists.fallback == fmt.FALLBACK_GLOBAL).sum()
        unexplained = (_left(view, without, repeats) > 0).sum()
        self._sums += (len(sizes), len(lists.items), fallback, len(without), unexplained)
        self._recommended[lists.items] = True
        self._alike.add(lists)
        self._warnings = lists.warnings  # the same for all users of a day

    def merge(self, other: "Totals") -> None:
        """Take other users of the same day into account."""
        self._sums += other._sums
        self._recommended |= other._recommended
        self._alike.merge(other._alike)
        self._warnings = other._warnings

    def made(self) -> Made:
        """What they add up to."""
        users, recommendations, fallback, empty, unexplained = self._sums.tolist()
        items = int(self._recommended.sum())
        alike, warnings = self._alike.most, self._warnings
        return Made(users, recommendations, items, fallback, alike, empty, unexplained, warnings)


def _left(view: View, users: Int32, repeats: bool) -> Int64:
    """How many of the listed items are left for each user, who may not get again what was seen."""
    left = np.full(len(users), view.listed.sum())
    return left if repeats or not len(users) else left - _listed_and_seen(view, users)


def _listed_and_seen(view: View, users: Int32) -> Int64:
    """How many of the listed items each user has seen."""
    seen = view.weights[np.maximum(users, 0)]
    owner = np.repeat(np.arange(len(users)), np.diff(seen.indptr))
    return np.bincount(owner[view.listed[seen.indices]], minlength=len(users))


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

    def merge(self, other: "Alike") -> None:
        """Take other users into account."""
        self._parts += other._parts

    @property
    def most(self) -> int:
        """How many there are; 0 where no two users have the same list."""
        keys = np.concatenate([np.zeros((3, 0), np.uint64), *self._parts], axis=1)
        keys = keys[:, np.lexsort(keys)]
        starts = np.flatnonzero(np.append((np.diff(keys, axis=1) != 0).any(axis=0), True))
        largest = int(np.diff(starts, prepend=-1).max()) if keys.size else 0
        return largest if largest > 1 else 0
