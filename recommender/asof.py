"""An as-of day: what is small of it in memory, and its users in blocks, read from the files of its features.

Everything per user is a function of the small side and a block, and gives the same for any size of a
block. Each file of a feature table of users is sorted by user, so that blocks are read in one pass.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from lake import tables
from lake.dataset import Dataset
from lake.errors import PermanentError
from lake.feature_spec import FEATURES, ITEMS, WEIGHT, Feature
from lake.names import TableName
from lake.plan import BLOCK_MIB
from lake.records import Record, Records
from lake.schemas import ITEM, SUBCATEGORY, USER, arrow_schema
from lake.storage import Storage
from recommender.arrays import Bool, Float32, Int32, Int64
from recommender.ids import Ids
from recommender.matrix import FEATURES as COLUMNS
from recommender.view import FeatureRows, Origin, View

Made = TypeVar("Made")
Files = Callable[[str, Sequence[str]], Sequence[Iterable[pa.RecordBatch]]]
"""Columns of a feature table: the batches of each of its files. What a file has of a user lies together,
and users ascend."""

_BATCH_ROWS: Final = 1 << 16  # of each file at a time: there may be dozens of files
_FLOAT = 4
_HELD: Final = 2  # a table's rows as Arrow has them, and in their order
_KEYS: Final = 32  # of a row: its key, its place in the order, and both while they are made
_CANDIDATE: Final = 100  # of a candidate: what its sources and the mixing of them hold
_CUTS: Final = 2  # blocks for each that is held, at least: threads end at about the same time
_MATRIX: Final = 2  # the matrix, and the widest of the tables that are gathered into it


@dataclass(frozen=True)
class Block:
    """Some users of a day.

    Attributes
    ----------
    users
        int32, ascending: their codes among all users of the day.
    view
        The view of these users alone: its user codes are places in `users`.
    """

    users: Int32
    view: View


@dataclass(frozen=True)
class AsOf:
    """An as-of day.

    Attributes
    ----------
    small
        The view of all users without what they have of items and categories.
    kinds
        The subcategories of the items.
    files
        Reads the tables of users and items, and of users and subcategories.
    limit
        How many candidates a user has at most.
    block_mib
        How much memory blocks take, with what is made of them; changes no result.
    at_hand
        How many blocks are held at a time; where several are, users are in more blocks than that.
    """

    small: View
    kinds: Ids
    files: Files
    limit: int
    block_mib: int = BLOCK_MIB
    at_hand: int = 1

    def blocks(self, users: Int32 | None = None) -> Iterator[Block]:
        """Users in blocks, ascending; all lie in exactly one.

        Parameters
        ----------
        users
            int32 codes, ascending; None for all users.

        Raises
        ------
        PermanentError
            When a file is damaged or not sorted by user.
        """
        pairs = self._rows(TableName.PAIRS, FEATURES[TableName.PAIRS], (ITEM, self.small.items), users)
        of_kinds = (SUBCATEGORY, self.kinds)
        categories = self._rows(TableName.CATEGORIES, FEATURES[TableName.CATEGORIES], of_kinds, users)
        for (codes, pair), (_, category) in zip(pairs, categories, strict=True):
            ids, features = Ids(self.small.users.take(codes)), self.small.user[codes]
            yield Block(codes, replace(self.small, users=ids, user=features, pair=pair, category=category))

    def each(self, make: Callable[[Block], Made], threads: int, users: Int32 | None = None) -> Iterator[Made]:
        """What is made of each block, in the order of blocks, several of them side by side.

        Parameters
        ----------
        make
            Works on one thread. What it returns is held until its turn comes, a block is not.
        threads
            How many blocks are worked on at once.
        users
            As for `blocks`.
        """
        if threads == 1:
            yield from map(make, self.blocks(users))
            return
        several = replace(self, at_hand=threads + 1)  # one is read while the others are worked on
        blocks = several.blocks(users)
        with ThreadPoolExecutor(threads) as pool:
            waiting = deque(pool.submit(make, block) for block in islice(blocks, several.at_hand))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(make, block) for block in islice(blocks, 1))

    def weights(self) -> Any:
        """The decayed purchases of all users as a float32 CSR matrix, users x items, sorted by item."""
        weight = [feature for feature in FEATURES[TableName.PAIRS] if feature.name == WEIGHT]
        width = max(1, len(self.small.items))
        sizes, items, values = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        for codes, rows in self._rows(TableName.PAIRS, weight, (ITEM, self.small.items), None):
            sizes.append(np.bincount(rows.keys // width, minlength=len(codes)))
            items.append((rows.keys % width).astype(np.int32))
            values.append(rows.values[:-1, 0])
        shape = len(self.small.users), len(self.small.items)
        indptr = np.cumsum(np.concatenate(sizes))
        return csr_matrix((np.concatenate(values), np.concatenate(items), indptr), shape=shape)

    def holds(self, users: Int32, items: Int32) -> Bool:
        """Whether each pair of codes, ascending by user, has a row; a code of -1 has none."""
        held, width = np.zeros(len(users), bool), len(self.small.items)
        known = np.unique(users[users >= 0])
        for codes, rows in self._rows(TableName.PAIRS, (), (ITEM, self.small.items), known):
            first, last = np.searchsorted(users, [codes[0], codes[-1] + 1]) if len(codes) else (0, 0)
            part = slice(first, last)
            keys = np.searchsorted(codes, users[part]) * np.int64(width) + items[part]
            held[part] = np.isin(keys, rows.keys) & (items[part] >= 0)
        return held

    def _rows(
        self, table: str, features: Sequence[Feature], inner: tuple[str, Ids], users: Int32 | None
    ) -> Iterator[tuple[Int32, FeatureRows]]:
        """The rows of each block, by ``place of the user in the block * len(inner ids) + inner code``."""
        names = [USER, inner[0], *(feature.name for feature in features)]
        files = _Files(self._batches(table, names, users), f"{table} as of {self.small.day}")
        for codes in self._cuts(users):
            ids = Ids(self.small.users.take(codes))
            yield codes, _feature_rows(features, files.up_to(ids), (USER, ids), inner)

    def _batches(
        self, table: str, names: Sequence[str], users: Int32 | None
    ) -> Iterator[Iterable[pa.RecordBatch]]:
        """The batches of each file; without users who are not asked for, lest a block holds their rows."""
        chosen = None if users is None else self.small.users.take(users)
        for file in self.files(table, names):
            yield file if chosen is None else map(partial(_rows_of, chosen), file)

    def _cuts(self, users: Int32 | None) -> Iterator[Int32]:
        """The users of each block; the first one of a block may take it beyond its memory."""
        codes = np.arange(len(self.small.users), dtype=np.int32) if users is None else users
        ends = np.cumsum(self._bytes()[codes])
        most = (self.block_mib << 20) // self.at_hand
        if self.at_hand > 1 and len(ends):
            most = min(most, ends[-1] // (_CUTS * self.at_hand) + 1)
        starts = np.flatnonzero(np.diff((ends - 1) // most, prepend=-1))
        yield from (np.split(codes, starts[1:]) if len(codes) else [codes])

    def _bytes(self) -> Int64:
        """What each user takes in a block: `items` rows of pairs and at most as many of categories."""
        widths = sum(len(FEATURES[table]) for table in (TableName.PAIRS, TableName.CATEGORIES))
        row = 2 * _KEYS + _HELD * _FLOAT * widths
        candidate = _CANDIDATE + _MATRIX * _FLOAT * len(COLUMNS)
        items = self.small.column(TableName.USERS, ITEMS).astype(np.int64)
        return np.asarray(items * row + self.limit * candidate)


class _Files:
    """The rows of files that are each sorted by user, in the order of users."""

    def __init__(self, files: Iterable[Iterable[pa.RecordBatch]], what: str) -> None:
        self._files = [_File(iter(batches)) for batches in files]
        self._what = what
        self._passed: Any = None

    def up_to(self, users: Ids) -> list[pa.RecordBatch]:
        """The rows of users up to the last of these whom no call before gave."""
        if not len(users):
            return []
        last, passed = users.values[-1], self._passed
        parts = [part for file in self._files for part in file.up_to(last)]
        if not all(_lies_between(part, passed, last) for part in parts):
            raise PermanentError(
                f"{self._what}: expected files that are sorted by user, found one that is not; it was "
                "changed or is damaged: restore it from a copy, or run the features of that day again"
            )
        self._passed = last
        return parts


def _rows_of(users: pa.Array, batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.is_in(batch[USER], value_set=users))


def _lies_between(part: pa.RecordBatch, passed: pa.Scalar | None, last: pa.Scalar) -> bool:
    """Whether all rows are of users after `passed`, up to `last`."""
    inside = pc.less_equal(part[USER], last)
    if passed is not None:
        inside = pc.and_(inside, pc.greater(part[USER], passed))
    return bool(pc.all(inside).as_py())


class _File:
    """The rows of one file."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: pa.RecordBatch | None = next(batches, None)

    def up_to(self, last: pa.Scalar) -> Iterator[pa.RecordBatch]:
        """The next rows until those of a user after `last`."""
        while self._rest is not None:
            rows = pc.sum(pc.less_equal(self._rest[USER], last)).as_py() or 0
            if rows:
                yield self._rest.slice(0, rows)
            if rows < len(self._rest):
                self._rest = self._rest.slice(rows)
                return
            self._rest = next(self._batches, None)


def load(
    storage: Storage, records: Records, features: Record, data: Dataset, block_mib: int = BLOCK_MIB
) -> AsOf:
    """Open a day's feature tables and its catalogue, exactly the files that the record names.

    Parameters
    ----------
    features
        The features record of the day; its pin says which catalogue.
    """
    pins = features.inputs_of(TableName.CATALOGUE)[-1:]
    of_day = [file for pin in pins for file in tables.pinned(records, pin).files]
    read = partial(tables.read, storage, TableName.CATALOGUE, data.id_type)
    catalogue = read(of_day, [ITEM, SUBCATEGORY]) if pins else None

    def files(name: str, columns: Sequence[str]) -> list[Iterator[pa.RecordBatch]]:
        batches = partial(tables.batches, storage, name, data.id_type)
        return [batches([file], columns, _BATCH_ROWS) for file in features.tables[name].files]

    as_of = build(features.day, files, catalogue, data, block_mib)
    return replace(as_of, small=replace(as_of.small, origin=origin_of(features)))


def origin_of(features: Record) -> Origin:
    """What made the tables of a features record."""
    return Origin(features.version, features.config_digest)


def build(
    day: dt.date, files: Files, catalogue: pa.Table | None, data: Dataset, block_mib: int = BLOCK_MIB
) -> AsOf:
    """An as-of day by its feature tables and its catalogue.

    Parameters
    ----------
    catalogue
        At least `item_id` and `subcategory`; None where the data set has no catalogue.
    """
    users, user = _dense(TableName.USERS, files, USER, data.id_type)
    items, item = _dense(TableName.ITEMS, files, ITEM, data.id_type)
    kinds, subcategory, listed = _catalogued(items, catalogue)
    small = View(
        day=day,
        users=users,
        items=items,
        user=user,
        item=item,
        pair=_feature_rows(FEATURES[TableName.PAIRS], [], (USER, users), (ITEM, items)),
        category=_feature_rows(FEATURES[TableName.CATEGORIES], [], (USER, users), (SUBCATEGORY, kinds)),
        categories=len(kinds),
        subcategory=subcategory,
        listed=listed,
        popular_window=data.candidates.popular_window,
    )
    return AsOf(small, kinds, files, data.candidates.limit, block_mib)


def _dense(table: str, files: Files, key: str, id_type: str) -> tuple[Ids, Float32]:
    names = [feature.name for feature in FEATURES[table]]
    parts = [batch for file in files(table, [key, *names]) for batch in file]
    nothing = pa.array([], arrow_schema(table, id_type).field(key).type)
    keys = pa.chunked_array([part[key] for part in parts] or [nothing])
    ids = Ids.of(keys)
    codes, values = ids.codes(keys), np.empty((len(keys), len(names)), np.float32)
    for at, name in enumerate(names):
        values[codes, at] = _column(parts, name)
    return ids, values


def _column(parts: Sequence[pa.RecordBatch], name: str) -> Float32:
    columns = (part[name].to_numpy(zero_copy_only=False) for part in parts)
    return np.concatenate([np.zeros(0, np.float32), *columns])


def _feature_rows(
    features: Sequence[Feature],
    parts: Sequence[pa.RecordBatch],
    outer: tuple[str, Ids],
    inner: tuple[str, Ids],
) -> FeatureRows:
    """Rows in the order of their keys, without those of another user or kind."""
    keys = _keys(parts, outer, inner) if parts else np.zeros(0, np.int64)
    order = np.argsort(keys, kind="stable")
    order = order[np.searchsorted(keys[order], 0) :]
    values = np.empty((len(order) + 1, len(features)), np.float32)
    for at, feature in enumerate(features):
        values[:-1, at] = _column(parts, feature.name)[order]
        values[-1, at] = feature.absent
    return FeatureRows(keys[order], values)


def _keys(parts: Sequence[pa.RecordBatch], outer: tuple[str, Ids], inner: tuple[str, Ids]) -> Int64:
    """The key of each row; -1 for one of an id that is not known."""
    # All at once: for each look Arrow makes a table of all ids anew.
    columns = (ids.codes(pa.chunked_array([part[name] for part in parts])) for name, ids in (outer, inner))
    first, second = (codes.astype(np.int64) for codes in columns)
    return np.where((first < 0) | (second < 0), np.int64(-1), first * len(inner[1]) + second)


def _catalogued(items: Ids, catalogue: pa.Table | None) -> tuple[Ids, Int32, Bool]:
    """The subcategories of items, `View.subcategory` and `View.listed`."""
    subcategory = np.full(len(items), -1, np.int32)
    if catalogue is None:
        return Ids(pa.array([], pa.string())), subcategory, np.ones(len(items), bool)
    codes, listed = items.codes(catalogue[ITEM]), np.zeros(len(items), bool)
    known = codes >= 0
    named = catalogue[SUBCATEGORY].filter(pa.array(known))
    kinds = Ids.of(named)
    subcategory[codes[known]] = kinds.codes(named)
    listed[codes[known]] = True
    return kinds, subcategory, listed
