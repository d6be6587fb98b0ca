"""Returns that are settled against the purchases of their day (`rules.returns = "net"`).

A return takes from one purchase: the newest of the same landed day, event type and key whose stamp is not
after its own, and of which as many pieces and as much money are left. That purchase becomes smaller by the
numbers of the return; one that has nothing left is set aside with it. A return without such a purchase
stays a return. So no other day changes, and a return of what was bought before is never a purchase less.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from lake.schemas import (
    AMOUNT,
    EVENT_TS,
    EVENT_TYPE,
    INTERACTIONS,
    KIND,
    LANDED,
    QUANTITY,
    ROW_NUMBER,
    SOURCE_FILE,
)
from spark_jobs.aside import PLACE, Rows, alone
from validation.rules import RETURN_NETTED, RETURNED

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKED_AT: Final = 1000
"""How many purchases of a key, the newest of those that are left, a return is compared with."""
_AT_ONCE: Final = 10_000
_SETTLED: Final = (
    f"{LANDED} DATE, {SOURCE_FILE} STRING, {ROW_NUMBER} BIGINT, _gone BOOLEAN, "
    f"{QUANTITY} {INTERACTIONS[QUANTITY]}, {AMOUNT} {INTERACTIONS[AMOUNT]}"
)


class Settled(NamedTuple):
    """A row that settling has changed: whether it is set aside, else its numbers."""

    place: tuple[Any, ...]
    gone: bool
    quantity: Decimal | None
    amount: Decimal | None


@dataclass
class _Purchase:
    """What is left of a purchase."""

    place: tuple[Any, ...]
    quantity: Decimal | None
    amount: Decimal | None
    is_touched: bool = False

    def covers(self, quantity: Decimal, amount: Decimal) -> bool:
        return (self.quantity or 0) >= quantity and (self.amount or 0) >= amount

    def take(self, quantity: Decimal, amount: Decimal) -> bool:
        """Become smaller; return whether nothing is left: no piece or, where it had none, no money."""
        had = bool(self.quantity)
        self.quantity = None if self.quantity is None else self.quantity - quantity
        self.amount = None if self.amount is None else self.amount - amount
        self.is_touched = True
        return not self.quantity and (had or not self.amount)


def settle(rows: Iterable[tuple[tuple[Any, ...], bool, Decimal | None, Decimal | None]]) -> Iterator[Settled]:
    """Settle the returns of one key.

    Parameters
    ----------
    rows
        Place, whether it is a return, quantity and amount of each row, oldest first.

    Yields
    ------
    Settled
        The returns that found a purchase, and the purchases that became smaller.
    """
    left: list[_Purchase] = []
    for place, is_return, quantity, amount in rows:
        if not is_return:
            left.append(_Purchase(place, quantity, amount))
            continue
        taken = abs(quantity or Decimal()), abs(amount or Decimal())
        found = next((n for n in _newest_first(left) if left[n].covers(*taken)), None)
        if found is None:
            continue
        yield Settled(place, True, None, None)
        if left[found].take(*taken):
            yield Settled(left.pop(found).place, True, None, None)
    yield from (Settled(one.place, False, one.quantity, one.amount) for one in left if one.is_touched)


def _newest_first(left: Sequence[_Purchase]) -> range:
    return range(len(left) - 1, max(-1, len(left) - 1 - _LOOKED_AT), -1)


def find(rows: Rows, key: Sequence[str]) -> tuple[DataFrame | None, DataFrame | None]:
    """Settle the returns of rows.

    Parameters
    ----------
    key
        The columns of ours in which a return and its purchase are equal, beside day and event type.

    Returns
    -------
    tuple of DataFrame or None
        The returns that found a purchase and the purchases that are gone, as they are set aside; place
        and numbers of the purchases that are smaller. None where there are none.
    """
    columns = [LANDED, EVENT_TYPE, *key]
    shared = rows.cached.where(f"{KIND} IS NULL OR {KIND} = 'return'").join(
        rows.returns.select(*columns).distinct(), columns, "left_semi"
    )
    together = (
        shared.withColumn("_returns", fn.col(KIND).isNotNull())
        .repartition(*columns)
        .sortWithinPartitions(*columns, EVENT_TS, "_returns", *PLACE)
        .select(*columns, *PLACE, "_returns", QUANTITY, AMOUNT)
    )
    settled = alone(together.mapInArrow(_settled, _SETTLED))
    if not settled.count():
        return None, None
    gone = rows.cached.join(settled.where("_gone").select(*PLACE), list(PLACE), "left_semi")
    reason = fn.when(fn.col(KIND).isNull(), RETURNED).otherwise(RETURN_NETTED)
    return rows.set_aside(gone, "netted", reason), settled.where("NOT _gone").drop("_gone")


def smaller(clean: DataFrame, settled: DataFrame) -> DataFrame:
    """Clean rows, those that settling has made smaller with the numbers that are left."""
    numbers = (QUANTITY, AMOUNT)
    left = settled.select(
        *PLACE, fn.lit(True).alias("_is_smaller"), *(fn.col(n).alias(f"_{n}") for n in numbers)
    )
    joined = clean.join(left, list(PLACE), "left")
    return joined.withColumns(
        {n: fn.when(fn.col("_is_smaller"), fn.col(f"_{n}")).otherwise(fn.col(n)) for n in numbers}
    )


def _settled(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """The settled rows of batches that are sorted by key: their first columns, but for the last five."""
    every = (row for batch in batches for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
    by_key = (rows for _, rows in groupby(every, lambda row: row[:-5]))
    settled = chain.from_iterable(
        settle(((row[0], *row[-5:-3]), *row[-3:]) for row in rows) for rows in by_key
    )
    while some := list(islice(settled, _AT_ONCE)):
        yield _batch(some)


def _batch(made: Sequence[Settled]) -> "pa.RecordBatch":
    import pyarrow as pa

    quantity, amount = (pa.decimal128(18, scale) for scale in (3, 2))
    places = list(zip(*(row.place for row in made), strict=True))
    return pa.record_batch(
        {
            LANDED: pa.array(places[0], pa.date32()),
            SOURCE_FILE: pa.array(places[1], pa.string()),
            ROW_NUMBER: pa.array(places[2], pa.int64()),
            "_gone": pa.array([row.gone for row in made]),
            QUANTITY: pa.array([row.quantity for row in made], quantity),
            AMOUNT: pa.array([row.amount for row in made], amount),
        }
    )
