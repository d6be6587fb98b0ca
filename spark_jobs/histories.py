"""Histories: what features need of the days on which a user, or a user and an item, had an event.

A history is a few *stretches*. A day is a stretch by itself while it is young; all days that are older than
`Recipe.kept_days` are one stretch, which no later night changes. A row that lands later than that would, so
that histories are then made of all rows (`reach_back`).

What a feature says of days is a sum, a least or a largest over stretches (`lake.feature_spec`), so that
days which were merged give the same as days one by one.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from lake import schemas
from lake.feature_spec import DAYS, KEPT, LINES, PRICED, HalfLife, Line
from lake.names import TableName
from lake.partitions import UTC, day_sql
from lake.schemas import AMOUNT, AS_OF, INTERACTIONS, ITEM, LANDED, QUANTITY, USER
from lake.sections import FeaturesSection
from spark_jobs.session import PARTITIONS
from spark_jobs.weights import decayed, level, weights

log = logging.getLogger(__name__)

FIRST, DAY, WEIGHED, LEVEL, SEEN = "first", "day", "weighed", "level", "seen"
BEFORE, AFTER = "_before", "_after"
KEYS: Final[dict[str, tuple[str, ...]]] = {TableName.PAIRS: (USER, ITEM), TableName.USERS: (USER,)}
"""Of whom there are histories: the keys of these tables."""
_SUMMED: Final = (QUANTITY, PRICED, AMOUNT)
SPANNED: Final[dict[str, dict[str, str]]] = {
    TableName.PAIRS: {"days": "days", "before": "before", "rebought": "rebought"}
    | {"slow": "weight_slow", "fast": "weight_fast"}
    | {name: name for name in _SUMMED},
    TableName.USERS: {"days": "trips", "trip": "trip_rate"},
}
"""What a stretch says beside its `_PLACES`, by the line over days that says so of a stretch of several."""
_PLACES: Final = (FIRST, DAY, WEIGHED, LEVEL)
"""A stretch's first and last day, the day in whose periods its weights are, the level of a single day."""
_UNITS: Final = {QUANTITY: 1000, AMOUNT: 100}  # the decimals that the lake has of them
_UNIX_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Recipe:
    """What to compute: weights of event types, windows and half-lives, and the zone of days."""

    weights: Mapping[str, float]
    features: FeaturesSection
    zone: str = UTC

    @property
    def kept_days(self) -> int:
        """For how many days the days with an event are kept one by one."""
        return int(max(getattr(self.features, key) for key in KEPT))

    @property
    def day_of_event(self) -> Column:
        """The day of an interaction."""
        return fn.expr(day_sql(schemas.EVENT_TS, self.zone))

    @property
    def is_active(self) -> Column:
        """Whether a history has an event in the last `history_days`."""
        days = self.features.history_days
        return fn.col(AS_OF) - fn.col("last") < days if days else fn.lit(True)

    def levels(self, table: str) -> list[float]:
        """The distinct weights of a table's days, ascending; a day carries the index of its own."""
        return sorted(set(self.weights.values())) if table == TableName.PAIRS else [1.0]

    def half_life(self, name: HalfLife) -> int:
        """A half-life in days."""
        return int(getattr(self.features, f"{name}_half_life"))


Landed = Callable[[dt.date | None, dt.date], DataFrame]
"""The interactions that landed after one day, or on any, up to another; those of ignored types left out."""
Numbers = Mapping[str, DataFrame]
"""The lines over days of pairs and of users, by table, as of a day."""


@dataclass(frozen=True)
class State:
    """The histories of pairs and of users, by table, as of a day."""

    as_of: dt.date
    histories: Mapping[str, DataFrame]


@dataclass(frozen=True)
class Histories:
    """The stretches that any of some as-of days sees, in order, by table.

    Attributes
    ----------
    as_ofs
        Ascending.
    oldest
        No stretch was weighed on an earlier day.
    landed_in_order
        Whether each as-of day sees all stretches up to a day and none after it: no row came late.
    """

    stretches: Mapping[str, DataFrame]
    as_ofs: Sequence[dt.date]
    recipe: Recipe
    oldest: int
    landed_in_order: bool

    @classmethod
    def read(
        cls, landed: Landed, as_ofs: Sequence[dt.date], recipe: Recipe, start: State | None
    ) -> "Histories":
        """Join a state, which is as of the first of these days or earlier, and what landed since."""
        if start and reach_back(landed(start.as_of, as_ofs[-1]), start.as_of, recipe):
            log.info("a row landed too late for the state as of %s: features of all rows", start.as_of)
            start = None
        events = landed(start.as_of if start else None, as_ofs[-1])
        pairs = in_order(of_pairs(events, as_ofs, recipe), TableName.PAIRS).persist()
        users = in_order(of_users(pairs), TableName.USERS).persist()
        stretches: dict[str, DataFrame] = {TableName.PAIRS: pairs, TableName.USERS: users}
        if start:
            stretches = {
                table: in_order(joined(start.histories[table], new), table).persist()
                for table, new in stretches.items()
            }
        return cls(stretches, as_ofs, recipe, *_landing(stretches[TableName.PAIRS], as_ofs[0]))

    def groups(self, most: int) -> list[Sequence[dt.date]]:
        """The as-of days, cut into groups of so many at most whose numbers are made in one go."""
        size = most if self.landed_in_order else 1
        return [self.as_ofs[at : at + size] for at in range(0, len(self.as_ofs), size)]

    def numbers(self, days: Sequence[dt.date]) -> Numbers:
        """The lines over days as of each day of one of the `groups`."""
        return self._each(numbers, days)

    def state(self, day: dt.date) -> State:
        """The state as of one of the days."""
        return State(day, self._each(state_of, [day]))

    def _each(self, of: Callable[..., DataFrame], days: Sequence[dt.date]) -> dict[str, DataFrame]:
        return {
            table: of(self._seen(table, days[-1]), table, self.recipe, days, self.oldest)
            for table in self.stretches
        }

    def _seen(self, table: str, day: dt.date) -> DataFrame:
        """The stretches that an as-of day sees, in order.

        Where rows landed in order, those before and after a stretch are the same on each day that sees it:
        what lies between them would have been seen, and those of its own day are seen with it.
        """
        rows = self.stretches[table].where(fn.col(SEEN) <= day.toordinal())
        return rows if self.landed_in_order else in_order(rows, table)


def of_pairs(events: DataFrame, as_ofs: Sequence[dt.date], recipe: Recipe) -> DataFrame:
    """The days on which users had an event with an item, as stretches.

    Parameters
    ----------
    events
        Interactions that landed no later than the last of `as_ofs`.
    as_ofs
        Ascending. `SEEN` is the number of the first that sees the rows of a stretch.
    """
    seen_by = (fn.when(fn.col(LANDED) <= fn.lit(as_of), as_of.toordinal()) for as_of in as_ofs)
    pieces = _whole(fn.greatest(QUANTITY, fn.lit(1).cast(INTERACTIONS[QUANTITY])), QUANTITY)
    day = recipe.day_of_event
    rows = events.where(day <= fn.col(LANDED)).select(
        USER,
        ITEM,
        (fn.unix_date(day) + _UNIX_EPOCH).alias(DAY),
        fn.coalesce(*seen_by).alias(SEEN),
        level(recipe.weights, recipe.levels(TableName.PAIRS)).alias(LEVEL),
        pieces.alias(QUANTITY),
        fn.when(fn.col(AMOUNT).isNotNull(), pieces).alias(PRICED),
        _whole(fn.col(AMOUNT), AMOUNT).alias(AMOUNT),
    )
    pairs = (
        _by_user(rows)
        .groupBy(USER, ITEM, DAY, SEEN)
        .agg(fn.max(LEVEL).alias(LEVEL), *(fn.sum(name).alias(name) for name in _SUMMED))
    )
    return _single(pairs, TableName.PAIRS)


def of_users(pairs: DataFrame) -> DataFrame:
    """The days on which users had an event with any item, as stretches."""
    days = pairs.groupBy(USER, DAY).agg(fn.min(SEEN).alias(SEEN)).withColumn(LEVEL, fn.lit(0))
    return _single(days, TableName.USERS)


def _whole(value: Column, name: str) -> Column:
    """A decimal in the least units of its column. A double is nearer to it than half of one."""
    return fn.rint(value.cast("double") * _UNITS[name]).cast("bigint")


def _by_user(frame: DataFrame) -> DataFrame:
    return frame.repartition(int(str(frame.sparkSession.conf.get(PARTITIONS))), USER)


def _single(days: DataFrame, table: str) -> DataFrame:
    """Stretches of a day each."""
    known = {FIRST: fn.col(DAY), WEIGHED: fn.col(DAY), "days": fn.lit(1)}
    known |= {name: fn.col(name) for name in days.columns}
    columns = (known.get(name, fn.lit(None)).cast(kind).alias(name) for name, kind in _types(table).items())
    return days.select(*KEYS[table], *columns, SEEN)


def _landing(stretches: DataFrame, first: dt.date) -> tuple[int, bool]:
    """The first day that a stretch was weighed on, and whether the stretches landed in the order of days.

    Parameters
    ----------
    first
        The first as-of day, which stands for the first day where there is no stretch.
    """
    sights = (fn.min(WEIGHED), fn.min(SEEN), fn.max(SEEN))
    days = sorted(tuple(row) for row in stretches.groupBy(DAY).agg(*sights).collect())
    seen_by = [number for _, _, *least_and_most in days for number in least_and_most]
    oldest = min((weighed for _, weighed, *_ in days), default=first.toordinal())
    return oldest, seen_by == sorted(seen_by) and all(least == most for *_, least, most in days)


def reach_back(events: DataFrame, state_day: dt.date, recipe: Recipe) -> bool:
    """Whether a row of some events is of a day that a state of `state_day` keeps no longer by itself."""
    first = events.agg(fn.min(recipe.day_of_event)).first()
    last_old = state_day - dt.timedelta(days=recipe.kept_days)
    return first is not None and first[0] is not None and first[0] <= last_old


def joined(state: DataFrame, new: DataFrame) -> DataFrame:
    """The stretches of a state, which each as-of day sees, and those that landed since."""
    return _by_user(state.withColumn(SEEN, fn.lit(0)).unionByName(new.drop(BEFORE, AFTER)))


def in_order(stretches: DataFrame, table: str) -> DataFrame:
    """Stretches by key and day, those of a user in one partition, with the days of those beside each."""
    rows = stretches.sortWithinPartitions(*KEYS[table], DAY, LEVEL)
    return rows.withColumns({BEFORE: _neighbour(fn.lag, table), AFTER: _neighbour(fn.lead, table)})


def _neighbour(of: Callable[[str], Column], table: str) -> Column:
    """The day of the stretch before or after, where it is of the same key."""
    _, *items = KEYS[table]
    history = Window.partitionBy(USER).orderBy(*items, DAY, LEVEL)
    day = of(DAY).over(history)
    return reduce(lambda day, item: fn.when(of(item).over(history) == fn.col(item), day), items, day)


def _each_day(stretches: DataFrame, days: Sequence[dt.date]) -> DataFrame:
    """Stretches once for each as-of day that sees them, whose number is `AS_OF`."""
    numbers = [fn.lit(day.toordinal()) for day in days]
    if not apart(days):
        return stretches.withColumn(AS_OF, numbers[0])
    of_stretch = fn.filter(fn.array(*numbers), lambda number: number >= fn.col(SEEN))
    return stretches.withColumn(AS_OF, fn.explode(of_stretch))


def apart(days: Sequence[dt.date]) -> list[str]:
    """What keys need beside their ids to tell as-of days apart."""
    return [AS_OF] if len(days) > 1 else []


def date_of(number: Column) -> Column:
    """The date of the number of a day."""
    return fn.date_from_unix_date(number - _UNIX_EPOCH)


def numbers(
    stretches: DataFrame, table: str, recipe: Recipe, days: Sequence[dt.date], oldest: int
) -> DataFrame:
    """The lines over days of each key of a table and as-of day.

    Parameters
    ----------
    stretches
        Its keys' histories `in_order`, as the last of these days sees them.
    oldest
        No stretch was `WEIGHED` on an earlier day.

    Returns
    -------
    DataFrame
        The keys, `AS_OF`, and the lines; decayed sums in units of the period of the next day.
    """
    by = apart(days)
    aged = _aged(_each_day(stretches, days), table, recipe)
    names = recipe.features.model_dump() | {"age": f"({AS_OF} - {DAY})"}
    for name in _half_lives(table):
        half_life = recipe.half_life(name)
        most = (days[-1].toordinal() + 1) // half_life - oldest // half_life
        names[name] = decayed(name, f"{name}_periods", most)
    lines = [fn.expr(line.formula.format_map(names)).alias(line.name) for line in _lines(table)]
    summed = aged.groupBy(*by, *KEYS[table]).agg(*lines)
    return summed if by else summed.withColumn(AS_OF, fn.lit(days[0].toordinal()))


def state_of(
    stretches: DataFrame, table: str, recipe: Recipe, days: Sequence[dt.date], oldest: int
) -> DataFrame:
    """Histories as of a day, with one stretch of the days of a key that are older than `kept_days`."""
    (day,) = days
    is_young = fn.col(DAY) > day.toordinal() - recipe.kept_days
    spanned = numbers(stretches.where(~is_young), table, recipe, days, oldest)
    known = {name: fn.col(line) for name, line in {FIRST: "first", DAY: "last", **SPANNED[table]}.items()}
    known |= {WEIGHED: fn.lit(day.toordinal() + 1), LEVEL: fn.lit(0)}
    columns = (known[name].cast(kind).alias(name) for name, kind in _types(table).items())
    return (
        stretches.where(is_young)
        .drop(SEEN, BEFORE, AFTER)
        .unionByName(spanned.select(*KEYS[table], *columns))
    )


def ddl(table: str, id_type: str) -> str:
    """The schema of the files of a state."""
    ids = dict.fromkeys(KEYS[table], schemas.spark_type(schemas.ID, id_type))
    return ", ".join(f"{name} {kind}" for name, kind in (ids | _types(table)).items())


def _types(table: str) -> dict[str, str]:
    """The columns of stretches beside the keys, and the types of these."""
    return dict.fromkeys(_PLACES, "int") | dict.fromkeys(SPANNED[table], "bigint")


def _aged(stretches: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """Stretches with their weights, and how many periods ago these were.

    Several rows of one day count as one day, which has the weight of the last: that of the highest level.
    """
    begins, ends = (fn.coalesce(fn.col(name) != fn.col(DAY), fn.lit(True)) for name in (BEFORE, AFTER))
    known = {"days": fn.when(begins, fn.col("days")).otherwise(0)}
    if "before" in SPANNED[table]:
        known["before"] = fn.coalesce("before", fn.when(begins, fn.col(BEFORE)))
    for name in _half_lives(table):
        half_life = recipe.half_life(name)
        of_day = _weight_of_day(recipe.levels(table), half_life)
        known[name] = fn.when(ends, fn.coalesce(name, fn.expr(of_day))).otherwise(0)
        periods = f"int(({AS_OF} + 1) div {half_life} - {WEIGHED} div {half_life})"
        known[f"{name}_periods"] = fn.expr(periods)
    return stretches.withColumns(known)


def _weight_of_day(levels: Sequence[float], half_life: int) -> str:
    """The weight of a single day in units of its own period."""
    scaled = ",".join(str(weight) for of_level in levels for weight in weights(of_level, half_life))
    return f"get(cast(split('{scaled}', ',') as array<bigint>), {LEVEL} * {half_life} + {DAY} % {half_life})"


def _lines(table: str) -> list[Line]:
    return [line for line in LINES[table] if line.over == DAYS]


def _half_lives(table: str) -> list[HalfLife]:
    return [line.half_life for line in _lines(table) if line.half_life]
