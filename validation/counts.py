"""What expectations ask of rows, counted in one pass over batches of Arrow and in bounded memory.

Great Expectations judges the counts, and not the rows: on a pandas frame it calls a Python function
for every value (`column_values.between` maps over the series), which takes minutes where Arrow
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
"""Reads the columns named, of those that are there, batch by batch and anew at each call."""

Hashes = NDArray[np.uint64]

MOST_KEYS: Final = 1 << 24
"""How many hashes of keys are held at a time: 128 MiB, and some times that while they are sorted."""

_SHOWN: Final = 3
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: any odd number would do
_DIGITS: Final = 38
_EXACT: Final = Context(prec=2 * _DIGITS)


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
        Some values that do.
    """

    expectation: Expectation
    rows: int
    against: int | None
    examples: tuple[Any, ...] = ()


class Counter(Protocol):
    """Something that looks at each batch once."""

    @property
    def columns(self) -> Sequence[str]:
        """What it looks at."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch into account."""


def held(frame: pa.Table) -> Batches:
    """A table in memory as batches."""

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        there = [name for name in columns if name in frame.column_names]
        yield from frame.select(there).to_batches(max_chunksize=BATCH_ROWS)

    return read


def tally(rows: Batches, expectations: Iterable[Expectation], also: Sequence[Counter] = ()) -> list[Tally]:
    """Count what is against each expectation, in their order.

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
    """Counts the values of one column that break an expectation about values, in the rows it speaks of."""

    def __init__(self, expectation: Expectation) -> None:
        self._expectation = expectation
        self.columns = (str(expectation.arguments["column"]), *expectation.where)
        self._rows = self._against = 0
        self._is_there = True
        self._examples: list[Any] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """See `Counter.add`."""
        self._rows += batch.num_rows
        if not set(self.columns) <= set(batch.schema.names):
            self._is_there = False
            return
        values = batch[self.columns[0]]
        bad = _BREAKS[self._expectation.kind](values, self._expectation.arguments)
        for name, some in self._expectation.where.items():
            bad = pc.and_(bad, pc.is_in(batch[name], value_set=pa.array(some, batch[name].type)))
        against = pc.sum(bad).as_py() or 0
        if against and len(self._examples) < _SHOWN:
            self._examples += values.filter(bad).slice(0, _SHOWN - len(self._examples)).to_pylist()
        self._against += against

    def tally(self, rows: Batches) -> Tally:
        """What was counted."""
        against = self._against if self._is_there else None
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

    It is what it is written as, as in Spark's rules: 9999.99, not the double next to it.
    """
    if bound is None:
        return None
    most = Decimal(1).scaleb(_DIGITS - 1 - kind.scale)
    cut = min(max(Decimal(str(bound)), -most), most)
    return pa.scalar(cut.quantize(Decimal(1).scaleb(-kind.scale), rounding, _EXACT), kind)


def _unknown(values: pa.Array, arguments: Mapping[str, Any]) -> pa.Array:
    """Other than the values named; what is missing is not."""
    known = pa.array(arguments["value_set"], values.type)
    return pc.and_not(pc.is_valid(values), pc.is_in(values, value_set=known))


_BREAKS: Final[dict[str, Callable[[pa.Array, Mapping[str, Any]], pa.Array]]] = {
    "ColumnValuesToNotBeNull": _missing,
    "ColumnValuesToBeBetween": _outside,
    "ColumnValuesToBeInSet": _unknown,
}


class Duplicates:
    """Counts rows whose key another row has too; a key of which every part is missing does not count.

    Exact in bounded memory, however rows lie in files. Equal keys have equal hashes: hashes that
    occur once prove that their keys do. The few that occur more often are looked at again, by
    their keys. Where hashes are too many to hold, those of a half, a quarter, ... are, and the
    rows are read once more for each other part.

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
        """What was counted; reads the rows again where any hash occurs twice, or for other parts."""
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
    """Which hashes of one part of all have been seen, and which of them more than once."""

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
        """Sort what is new into what is held; give half of it up while that is too much."""
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
    """Which rows have a key, or a part of one, and the hash of each that does."""
    some = pa.array(np.zeros(batch.num_rows, bool))
    combined = np.zeros(batch.num_rows, np.uint64)
    for name in columns:
        some = pc.or_(some, pc.is_valid(batch[name]))
        combined = combined * _ODD + _hash(batch[name])
    return some, combined[np.asarray(some)]


def _hash(values: pa.Array) -> Hashes:
    """A hash of each value, by its distinct values; a missing one has the hash 0."""
    from pandas.util import hash_array

    encoded = values.dictionary_encode()
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashes = np.append(hash_array(distinct, categorize=False), np.uint64(0))
    places = np.asarray(encoded.indices.fill_null(len(distinct)))
    found: Hashes = hashes[places]
    return found


_COUNT: Final = "count of rows"


def _repeated(rows: Batches, columns: Sequence[str], suspects: Hashes) -> pa.Table:
    """The keys with one of these hashes that more than one row has, and how many have each."""
    keys = list(columns)
    found: pa.Table | None = None
    for batch in rows(keys) if len(suspects) else ():
        some, hashes = _hashes(batch, keys)
        there = pa.Table.from_batches([batch]).select(keys).filter(some)
        there = there.filter(pa.array(np.isin(hashes, suspects)))
        there = there.append_column(_COUNT, pa.array(np.ones(len(there), np.int64)))
        found = _grouped(there if found is None else pa.concat_tables([found, there]), keys)
    empty = pa.table({_COUNT: pa.array([], pa.int64())})
    return empty if found is None else found.filter(pc.greater(found[_COUNT], 1))


def _examples(group: pa.Table, columns: Sequence[str]) -> list[Any]:
    some = group.slice(0, _SHOWN).to_pylist()
    keys = [tuple(row[name] for name in columns) for row in some]
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
        """How many there are."""
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
