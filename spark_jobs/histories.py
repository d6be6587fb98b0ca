"""Histories: all that features need of the days on which a user, or a user and an item, had an event.

A history as of a day is the fold of an earlier one and the rows that landed since; the fold of no history
and of all rows is the definition. Its `recent` days are kept one by one; of older ones only the
numbers that they lead to, `old`, which no later night changes. A row that lands later than that would,
so that histories are then folded from all rows (`reach_back`).

A day is kept as ``ordinal * levels + level``: the larger of two of one day is that of the larger weight.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from lake import schemas
from lake.feature_spec import DAYS, KEPT, LINES, Line
from lake.names import TableName
from lake.schemas import AMOUNT, AS_OF, INTERACTIONS, ITEM, QUANTITY, USER
from lake.sections import FeaturesSection
from spark_jobs.session import PARTITIONS
from spark_jobs.weights import level, weights

DAY, LEVEL, PRICED, OLD, RECENT, NEW = "day", "level", "priced", "old", "recent", "new"
SUMMED: Final = (QUANTITY, PRICED, AMOUNT)  # PRICED is the quantity of a row that has an amount, else null
KEYS: Final[dict[str, tuple[str, ...]]] = {TableName.PAIRS: (USER, ITEM), TableName.USERS: (USER,)}
"""Of whom there are histories: the keys of these tables."""
_SUM_TYPES: Final = {QUANTITY: "decimal(38,3)", PRICED: "decimal(38,3)", AMOUNT: "decimal(38,2)"}
_UNIX_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Recipe:
    """What to compute: weights of event types, windows and half-lives."""

    weights: Mapping[str, float]
    features: FeaturesSection

    @property
    def kept_days(self) -> int:
        """For how many days the days with an event are kept one by one."""
        return int(max(getattr(self.features, key) for key in KEPT))

    @property
    def is_seen(self) -> Column:
        """Whether a history has an event in the last `history_days`."""
        days = self.features.history_days
        return fn.col(AS_OF) - fn.col("last") < days if days else fn.lit(True)

    def levels(self, table: str) -> list[float]:
        """The distinct weights of a table's days, ascending; a day carries the index of its own."""
        return sorted(set(self.weights.values())) if table == TableName.PAIRS else [1.0]

    def half_life(self, line: Line) -> int:
        """The half-life of a line in days."""
        return int(getattr(self.features, f"{line.half_life}_half_life"))


def landed(events: DataFrame, recipe: Recipe) -> DataFrame:
    """Events by user, item and day: the highest level and exact sums. Each user's are in one partition."""
    pieces = fn.greatest(QUANTITY, fn.lit(1).cast(INTERACTIONS[QUANTITY]))
    rows = events.where(fn.to_date(schemas.EVENT_TS) <= fn.col(schemas.LANDED)).select(
        USER,
        ITEM,
        (fn.unix_date(fn.to_date(schemas.EVENT_TS)) + _UNIX_EPOCH).alias(DAY),
        level(recipe.weights, recipe.levels(TableName.PAIRS)).alias(LEVEL),
        pieces.alias(QUANTITY),
        fn.when(fn.col(AMOUNT).isNotNull(), pieces).alias(PRICED),
        AMOUNT,
    )
    return (
        _by_user(rows)
        .groupBy(USER, ITEM, DAY)
        .agg(fn.max(LEVEL).alias(LEVEL), *(fn.sum(name).alias(name) for name in SUMMED))
    )


def _by_user(frame: DataFrame) -> DataFrame:
    return frame.repartition(int(str(frame.sparkSession.conf.get(PARTITIONS))), USER)


def reach_back(events: DataFrame, state_day: dt.date, recipe: Recipe) -> bool:
    """Whether a row of some events is of a day that a state of `state_day` keeps no longer by itself."""
    oldest = events.agg(fn.min(fn.to_date(schemas.EVENT_TS))).first()
    last_old = state_day - dt.timedelta(days=recipe.kept_days)
    return oldest is not None and oldest[0] is not None and oldest[0] <= last_old


def folded(state: DataFrame | None, rows: DataFrame, table: str, recipe: Recipe, day: dt.date) -> DataFrame:
    """The histories of a table's keys as of a day.

    Parameters
    ----------
    state
        Those of an earlier day; None where `rows` are all.
    rows
        What has `landed` since that day.
    table
        One of `KEYS`.

    Returns
    -------
    DataFrame
        The columns of `columns`, and each number of the table's lines over days.
    """
    new = _gathered(rows, table, recipe)
    joined = _of_new(new, table) if state is None else _joined(state, new, table, recipe)
    aged = _aged(joined.withColumn(AS_OF, fn.lit(day.toordinal())), table, recipe)
    return _numbered(aged, table, recipe)


def columns(table: str) -> list[str]:
    """What is kept of a table's histories."""
    return [*KEYS[table], OLD, RECENT, *_summed(table)]


def ddl(table: str, id_type: str) -> str:
    """The schema of `columns`."""
    ids = [f"{key} {schemas.spark_type(schemas.ID, id_type)}" for key in KEYS[table]]
    sums = [f"{name} {_SUM_TYPES[name]}" for name in _summed(table)]
    return ", ".join([*ids, f"{OLD} {_old_type(table)}", f"{RECENT} array<bigint>", *sums])


def _summed(table: str) -> tuple[str, ...]:
    return SUMMED if table == TableName.PAIRS else ()


def _lines(table: str) -> list[Line]:
    return [line for line in LINES[table] if line.over == DAYS]


def _old_type(table: str) -> str:
    fields = [f"{line.name}: {'bigint' if line.half_life else 'int'}" for line in _lines(table)]
    return f"struct<{', '.join(fields)}>"


def _gathered(rows: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """One row a key: its days in `NEW`, and sums."""
    keys, days = KEYS[table], fn.col(DAY).cast("bigint")
    if table == TableName.PAIRS:
        days = days * len(recipe.levels(table)) + fn.col(LEVEL)
    else:
        rows = rows.select(*keys, DAY).distinct()
    sums = (fn.sum(name).cast(_SUM_TYPES[name]).alias(name) for name in _summed(table))
    return rows.groupBy(*keys).agg(fn.sort_array(fn.collect_list(days)).alias(NEW), *sums)


def _of_new(new: DataFrame, table: str) -> DataFrame:
    return new.withColumn(OLD, fn.lit(None).cast(_old_type(table))).withColumnRenamed(NEW, RECENT)


def _joined(state: DataFrame, new: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """A state and what is new. A union, as each key has a row of either at most; then one shuffle does."""
    both = state.select(columns(table)).unionByName(new, allowMissingColumns=True)
    found = (
        _by_user(both)
        .groupBy(*KEYS[table])
        .agg(
            *(fn.first(name, ignorenulls=True).alias(name) for name in (OLD, RECENT, NEW)),
            *(fn.sum(name).cast(_SUM_TYPES[name]).alias(name) for name in _summed(table)),
        )
    )
    levels = len(recipe.levels(table))
    merged = f"array_sort(concat(coalesce({RECENT}, array()), {NEW}))"
    last_of_day = f"filter(days, (x, i) -> coalesce(get(days, i + 1) div {levels} != x div {levels}, true))"
    return (
        found.withColumn("days", fn.expr(f"if({NEW} is null, null, {merged})"))
        .withColumn(RECENT, fn.expr(f"if({NEW} is null, {RECENT}, {last_of_day})"))
        .drop(NEW, "days")
    )


def _aged(histories: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """Histories whose days older than `kept_days` have gone from `RECENT` into `OLD`."""
    levels = len(recipe.levels(table))
    recent = f"x div {levels} > {AS_OF} - {recipe.kept_days}"
    all_recent = f"coalesce(get({RECENT}, 0) div {levels} > {AS_OF} - {recipe.kept_days}, true)"
    going = f"filter({RECENT}, x -> not ({recent}))"
    return histories.withColumns(
        {
            OLD: fn.expr(f"if({all_recent}, {OLD}, {_after(going, table, recipe)})"),
            RECENT: fn.expr(f"if({all_recent}, {RECENT}, filter({RECENT}, x -> {recent}))"),
        }
    )


def _numbered(histories: DataFrame, table: str, recipe: Recipe) -> DataFrame:
    """Histories with the numbers of all of their days, decayed weights in units of the next day's period."""
    after = histories.withColumn("h", fn.expr(_after(RECENT, table, recipe)))
    numbers = {line.name: fn.expr(_as_of_now(line, recipe)) for line in _lines(table)}
    return after.withColumns(numbers).drop("h")


def _as_of_now(line: Line, recipe: Recipe) -> str:
    if not line.half_life:
        return f"h.{line.name}"
    return f"shiftright(h.{line.name}, {_periods(f'({AS_OF} + 1)', 'h.last', recipe.half_life(line))})"


def _periods(day: str, before: str, half_life: int) -> str:
    """How many periods have begun since a day; after 63 of them nothing is left of a long."""
    return f"int(least(63, {day} div {half_life} - {before} div {half_life}))"


def _after(days: str, table: str, recipe: Recipe) -> str:
    """The numbers after some days, in ascending order, that follow those in `OLD`."""
    names = recipe.features.model_dump() | _names(table, recipe)
    fields = ", ".join(f"'{line.name}', {line.formula.format_map(names)}" for line in _lines(table))
    return f"aggregate({days}, {OLD}, (h, x) -> named_struct({fields}))"


def _names(table: str, recipe: Recipe) -> dict[str, str]:
    """What a formula over days may name."""
    levels = recipe.levels(table)
    day, names = f"int(x div {len(levels)})", dict[str, str]()
    for line in _lines(table):
        if line.half_life:
            half_life = recipe.half_life(line)
            scaled = ",".join(str(w) for of_level in levels for w in weights(of_level, half_life))
            index = f"int(x % {len(levels)}) * {half_life} + {day} % {half_life}"
            names[line.half_life] = f"get(cast(split('{scaled}', ',') as array<bigint>), {index})"
            names[f"{line.half_life}_periods"] = _periods(day, "h.last", half_life)
    return {"day": day, "age": f"({AS_OF} - {day})", **names}
