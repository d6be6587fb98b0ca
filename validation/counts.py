"""Count the rows that break expectations, in one pass over batches of Arrow and in bounded memory.

Great Expectations judges the counts, and not the rows: in a pandas column of decimals or float32 it
calls a Python function for every value (`column_values.between`), which takes minutes where Arrow
takes a second.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lake.tables import BATCH_ROWS
from validation.rules import Expectation

Batches = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]
"""Reads those of the named columns that exist, batch by batch, and from the start at each call."""

Hashes = NDArray[np.uint64]

MOST_KEYS: Final = 1 << 24
"""How many hashes of keys are held at a time: 128 MiB, and a few times that while they are sorted."""

_SHOWN: Final = 3  # examples that a message has room for
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: any odd number would do
_DIGITS: Final = 38  # the most that a decimal128 has
_EXACT: Final = Context(prec=2 * _DIGITS)  # the default of 28 digits could not hold a bound


@dataclass(frozen=True)
class Tally:
    """How many rows an expectation does not hold for.

    Attributes
    ----------
    rows
        How many rows there are.
    against
        How many of them break it; None where they lack a column that it names.
    examples
        Some values that break it.
    """

    expectation: Expectation
    rows: int
    against: int | None
    examples: tuple[Any, ...] = ()


class Counter(Protocol):
    """Something that looks at each batch once."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it looks at."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch into account."""


def in_batches(frame: pa.Table) -> Batches:
    """A table in memory as batches."""

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        existing = [name for name in columns if name in frame.column_names]
        yield from frame.select(existing).to_batches(max_chunksize=BATCH_ROWS)

    return read


def tally(rows: Batches, expectations: Iterable[Expectation], also: Sequence[Counter] = ()) -> list[Tally]:
    """Count the rows that break each expectation, in their order.

    Parameters
    ----------
    also
        Other counters for the same pass.

    Raises
    ------
    ValueError
        When an expectation is of a kind that is not counted here.
    """
    counters = [_counter(expectation) for expectation in expectations]
    _scan(rows, [*counters, *also])
    return [counter.tally(rows) for counter in counters]


def _scan(rows: Batches, counters: Sequence[Counter]) -> None:
    columns = list(dict.fromkeys(name for counter in counters for name in counter.columns))
    for batch in rows(columns):
        for counter in counters:
            counter.add(batch)


def _counter(expectation: Expectation) -> "Violations | Duplicates":
    if expectation.kind in _BREAKS:
        return Violations(expectation)
    if expectation.kind in ("ColumnValuesToBeUnique", "CompoundColumnsToBeUnique"):
        return Duplicates(expectation)
    raise ValueError(f"{expectation.name}: nothing counts what is against {expectation.kind}")


class Violations:
    """Counts the values of one column that break an expectation, in the rows that it speaks of."""

    def __init__(self, expectation: Expectation) -> None:
        self._expectation = expectation
        self.columns = (str(expectation.arguments["column"]), *expectation.where)
        self._rows = self._against = 0
        self._has_columns = True
        self._examples: list[Any] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """See `Counter.add`."""
        self._rows += batch.num_rows
        if not set(self.columns) <= set(batch.schema.names):
            self._has_columns = False
            return
        values = batch[self.columns[0]]
        bad = _BREAKS[self._expectation.kind](values, self._expectation.arguments)
        for name, texts in self._expectation.where.items():
            bad = pc.and_(bad, pc.is_in(batch[name], value_set=pa.array(texts, batch[name].type)))
        against = pc.sum(bad).as_py() or 0
        if against and len(self._examples) < _SHOWN:
            self._examples += values.filter(bad).slice(0, _SHOWN - len(self._examples)).to_pylist()
        self._against += against

    def tally(self, rows: Batches) -> Tally:
        """What was counted."""
        against = self._against if self._has_columns else None
        return Tally(self._expectation, self._rows, against, tuple(self._examples))


def _missing(values: pa.Array, arguments: Mapping[str, Any]) -> pa.Array:
    """Null, or NaN: writers turn one into the other."""
    return pc.is_null(values, nan_is_null=True)


def _outside(values: pa.Array, arguments: Mapping[str, Any]) -> pa.Array:
    """Below or above the bounds; what is missing is neither."""
    numbers, low, high = _comparable(values, arguments["min_value"], arguments["max_value"])
    bad = pa.array(np.zeros(len(values), bool))
    if low is not None:
        bad = pc.or_(bad, pc.less(numbers, low).fill_null(False))
    if high is not None:
        bad = pc.or_(bad, pc.greater(numbers, high).fill_null(False))
    return bad


def _comparable(values: pa.Array, low: Any, high: Any) -> tuple[pa.Array, Any, Any]:
    """Values and bounds of one type: doubles stay doubles, all other numbers become exact decimals."""
    if pa.types.is_floating(values.type):
        kind = pa.float64()
        bounds = [None if bound is None else pa.scalar(float(bound), kind) for bound in (low, high)]
    else:
        kind = pa.decimal128(_DIGITS, values.type.scale if pa.types.is_decimal(values.type) else 0)
        bounds = [_decimal(low, kind, ROUND_CEILING), _decimal(high, kind, ROUND_FLOOR)]
    return values.cast(kind), *bounds


def _decimal(bound: Any, kind: pa.Decimal128Type, rounding: str) -> Any:
    """A bound in a decimal's steps, rounded inwards; one that no value can reach is cut to what fits.

    The bound is the number as written, 9999.99 and not the double next to it, as in Spark's rules.
    """
    if bound is None:
        return None
    most = Decimal(1).scaleb(_DIGITS - 1 - kind.scale)
    cut = min(max(Decimal(str(bound)), -most), most)
    return pa.scalar(cut.quantize(Decimal(1).scaleb(-kind.scale), rounding, _EXACT), kind)


def _unknown(values: pa.Array, arguments: Mapping[str, Any]) -> pa.Array:
    """Not among the values named; what is missing is not unknown."""
    known = pa.array(arguments["value_set"], values.type)
    return pc.and_not(pc.is_valid(values), pc.is_in(values, value_set=known))


_BREAKS: Final[dict[str, Callable[[pa.Array, Mapping[str, Any]], pa.Array]]] = {
    "ColumnValuesToNotBeNull": _missing,
    "ColumnValuesToBeBetween": _outside,
    "ColumnValuesToBeInSet": _unknown,
}


class Duplicates:
    """Counts rows whose key another row has too; a key of which every part is missing does not count.

    Exact in bounded memory, however rows lie in files. Equal keys have equal hashes, so a hash that
    occurs once proves that its key does. For the few hashes that occur more often, rows are read
    again and counted by key. Where hashes are too many to hold, only those of a half, a quarter, ...
    are held, and the rows are read once more for each other part.

    Parameters
    ----------
    most
        How many hashes to hold.
    """

    def __init__(self, expectation: Expectation, most: int = MOST_KEYS) -> None:
        named = expectation.arguments
        self._expectation = expectation
        self.columns = tuple(named["column_list"]) if "column_list" in named else (named["column"],)
        self._rows = 0
        self._seen = _Seen(most)

    def add(self, batch: pa.RecordBatch) -> None:
        """See `Counter.add`."""
        self._rows += batch.num_rows
        self._seen.add(_hashes(batch, self.columns)[1])

    def tally(self, rows: Batches) -> Tally:
        """What was counted; reads the rows again where a hash occurs twice, and for each other part."""
        groups = [_repeated(rows, self.columns, self._seen.twice())]
        for part in range(1, self._seen.parts):
            seen = _Seen(self._seen.most, self._seen.parts, part)
            for batch in rows(self.columns):
                seen.add(_hashes(batch, self.columns)[1])
            groups.append(_repeated(rows, self.columns, seen.twice()))
        against = sum(pc.sum(group[_COUNT]).as_py() or 0 for group in groups)
        examples = [key for group in groups for key in _examples(group, self.columns)]
        return Tally(self._expectation, self._rows, against, tuple(examples[:_SHOWN]))


class _Seen:
    """The hashes of one part of all that were seen, and those of them that were seen more than once."""

    def __init__(self, most: int, parts: int = 1, part: int = 0) -> None:
        self.most = most
        self.parts = parts
        self._part = part
        self._once = self._twice = np.empty(0, np.uint64)
        self._new: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        self._new.append(self._own(hashes))
        if len(self._once) + sum(map(len, self._new)) > self.most:
            self._merge()

    def _own(self, hashes: Hashes) -> Hashes:
        return hashes if self.parts == 1 else hashes[hashes % np.uint64(self.parts) == self._part]

    def _merge(self) -> None:
        """Sort the new hashes into those held; while these are too many, give up half of them."""
        self._once, times = np.unique(np.concatenate([self._once, *self._new]), return_counts=True)
        self._new = []
        self._twice = np.union1d(self._twice, self._once[times > 1])
        while len(self._once) > max(self.most // 2, 1) and self._part == 0:
            self.parts *= 2
            self._once, self._twice = self._own(self._once), self._own(self._twice)

    def twice(self) -> Hashes:
        """The hashes seen more than once, sorted."""
        self._merge()
        return self._twice


def _hashes(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[pa.Array, Hashes]:
    """Which rows have a key, or a part of one, and the hash of each such row."""
    keyed = pa.array(np.zeros(batch.num_rows, bool))
    combined = np.zeros(batch.num_rows, np.uint64)
    for name in columns:
        keyed = pc.or_(keyed, pc.is_valid(batch[name]))
        combined = combined * _ODD + _hash(batch[name])
    return keyed, combined[np.asarray(keyed)]


def _hash(values: pa.Array) -> Hashes:
    """The hash of each value, made once for each distinct one; a missing value has the hash 0."""
    from pandas.util import hash_array

    encoded = values.dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashes = np.append(hash_array(distinct, categorize=False), np.uint64(0))
    places = np.asarray(encoded.indices.fill_null(len(distinct)))
    hashed: Hashes = hashes[places]
    return hashed


_COUNT: Final = "count of rows"


def _repeated(rows: Batches, columns: Sequence[str], suspects: Hashes) -> pa.Table:
    """Of the keys with one of these hashes those that several rows have, and how many rows have each."""
    keys = list(columns)
    counted: pa.Table | None = None
    for batch in rows(keys) if len(suspects) else ():
        keyed, hashes = _hashes(batch, keys)
        part = pa.Table.from_batches([batch]).select(keys).filter(keyed)
        part = part.filter(pa.array(np.isin(hashes, suspects)))
        part = part.append_column(_COUNT, pa.array(np.ones(len(part), np.int64)))
        counted = _grouped(part if counted is None else pa.concat_tables([counted, part]), keys)
    empty = pa.table({_COUNT: pa.array([], pa.int64())})
    return empty if counted is None else counted.filter(pc.greater(counted[_COUNT], 1))


def _examples(group: pa.Table, columns: Sequence[str]) -> list[Any]:
    rows = group.slice(0, _SHOWN).to_pylist()
    keys = [tuple(row[name] for name in columns) for row in rows]
    return [key[0] for key in keys] if len(columns) == 1 else keys


def _grouped(counted: pa.Table, keys: list[str]) -> pa.Table:
    summed = counted.group_by(keys).aggregate([(_COUNT, "sum")])
    return summed.rename_columns({f"{_COUNT}_sum": _COUNT}).select([*keys, _COUNT])


class Distinct:
    """Counts the distinct values of a column; null is one."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self._parts: list[pa.Array] = []
        self._new = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """See `Counter.add`."""
        self._parts.append(pc.unique(batch[self.columns[0]]))
        self._new += len(self._parts[-1])
        if self._new > len(self._parts[0]):  # so that each value is looked at a few times only
            self._merge()

    def _merge(self) -> None:
        self._parts = [pc.unique(pa.concat_arrays(self._parts))] if self._parts else []
        self._new = 0

    @property
    def value(self) -> int:
        """How many distinct values there are."""
        self._merge()
        return sum(map(len, self._parts))


class Total:
    """Adds up a column of numbers, as doubles; what is missing counts nothing."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self.value = 0.0

    def add(self, batch: pa.RecordBatch) -> None:
        """See `Counter.add`."""
        self.value += pc.sum(batch[self.columns[0]].cast(pa.float64())).as_py() or 0.0
