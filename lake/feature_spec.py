"""The features, each a line. Spark's plan and the ranker's matrix follow them; docs/tables.md lists them.

A formula is Spark SQL. D is the as-of day, `as_of`; names in braces are keys of the data set's section
`features`. What a formula may name depends on its `over`:

* `DAYS` of one user and item, or of one user, with an event. It is a sum, a least or a largest over
  *stretches* of them (`spark_jobs.histories`), and must be the same however days are grouped into these: a
  day younger than `KEPT` days is by itself, older ones may be one. Of a stretch: ``days``, how many;
  ``first`` and ``day``, its first and last; ``before``, the day before its last; ``{age}``: D - day;
  ``rebought``: on how many of its days the item was bought again soon after, null if it is one day;
  ``quantity``, in thousandths, at least 1 an event; ``priced``: that of events with an amount; ``amount``, in
  hundredths. ``{slow}``, ``{fast}``, ``{trip}``: the sum of weights decayed by that half-life
  (`spark_jobs.weights`).
* `PAIRS`: the (user, item) pairs of a key. The names of the lines over their days.
* `SUMS`: the key itself. The names of the lines above, its columns, and the catalogue's of an item.

What the ranker sees beside the tables' features is in `DERIVED`. What a formula needs and its rows lack
is added to them in `spark_jobs.feature_tables`. Who changes a line raises the `VERSION` of the stage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from lake.names import TableName

Over = Literal["days", "pairs", "sums"]
DAYS: Final[Over] = "days"
PAIRS: Final[Over] = "pairs"
SUMS: Final[Over] = "sums"

Window = Literal["short", "medium", "long"]
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
HalfLife = Literal["", "slow", "fast", "trip"]
KEPT: Final = ("long_days", "rebuy_days")
"""Keys of `features`: the largest says for how many days the days with an event are kept one by one."""


@dataclass(frozen=True)
class Line:
    """A number for each key of a table. Its features are made of such numbers.

    Attributes
    ----------
    name
        The column.
    over
        What the formula is over.
    formula
        In Spark SQL.
    half_life
        That of a sum of decayed weights: until the end it is a multiple of 1 / `spark_jobs.weights.scale`.
    """

    name: str
    over: Over
    formula: str
    half_life: HalfLife = ""


@dataclass(frozen=True, kw_only=True)
class Feature(Line):
    """One float32 column of a feature table.

    Attributes
    ----------
    absent
        What a key without a row has: 0 for counts and sums, NaN for times and ratios.
    meaning
        The formula in words; days are distinct days with an event, pieces its quantity, at least 1.
    """

    absent: float
    meaning: str


@dataclass(frozen=True)
class Derived:
    """One float32 column of the ranker's matrix that no table has.

    Attributes
    ----------
    absent
        What it is for a pair whose parts have no row.
    meaning
        In words.
    formula
        Over columns of the matrix, by their names; None where the bundle's retrieval gives it.
    """

    name: str
    absent: float
    meaning: str
    formula: Callable[[Callable[[str], Any]], Any] | None = None


def _count(name: str, over: Over, formula: str, meaning: str, half_life: HalfLife = "") -> Feature:
    return Feature(name, over, formula, half_life, absent=0, meaning=meaning)


def _ratio(name: str, over: Over, formula: str, meaning: str) -> Feature:
    return Feature(name, over, formula, absent=float("nan"), meaning=meaning)


def within(name: str, window: Window) -> str:
    """The name of the feature that counts the same as `name`, but only in a window."""
    return f"{name}_{window}"


def _windowed(name: str, over: Over, formula: str, meaning: str) -> Iterator[Feature]:
    """A feature for each window, with the window's name in the place of ``$``."""
    for window in WINDOWS:
        yield _count(within(name, window), over, _of(formula, window), _of(meaning, window))


def _of(text: str, name: str) -> str:
    return text.replace("$", name)


def _rows(condition: str) -> str:
    """How many rows a condition holds for: a sum, as Parquet would note of a count that it is never null."""
    return f"sum(if({condition}, 1, 0))"


def _days(condition: str) -> str:
    """On how many days a condition holds; it is one of the stretch."""
    return f"sum(if({condition}, days, 0))"


def _total(name: str) -> str:
    """The sum of longs that a long may not hold: of their halves, each of 2**32 rows at most."""
    return f"cast(sum(shiftright({name}, 31)) as decimal(38,0)) * 2147483648 + sum({name} & 2147483647)"


WEIGHT: Final = "weight_slow"
PRICED: Final = "priced"
USERS: Final = "users"
ITEMS: Final = "items"

_DECAYED: Final = ".5^((D+1-day)/{$_half_life})"
_SLOW: Final = f"weight * {_of(_DECAYED, 'slow')}"
# Modulo 65,536: float32 holds each smaller whole number exactly.
_CODE: Final = "if($ is null, null, pmod(xxhash64($), 65536))"
_OF_ALL: Final = "sum($) over (partition by as_of)"
_OF_KIN: Final = "sum($) over (partition by as_of, subcategory)"
_OF_USER: Final = "sum($) over (partition by as_of, user_id)"
_PRICE: Final = "double(amount) / 100 / (double(priced) / 1000)"
# Two users are added, so that a single one makes no trend.
_TREND: Final = "{medium_days} / {short_days} * users_short / (users_medium + 2)"
# Whether the day before is ripe and this one soon enough after it.
_AGAIN: Final = "if(as_of - before >= {rebuy_days} and day - before <= {rebuy_days}, 1, 0)"
_REBUY: Final = (
    "(E + {rebuy_shrink} q) / (R + {rebuy_shrink}): of R pair-days at least {rebuy_days} old, E bought again "
    "within {rebuy_days}; q the same of the subcategory, drawn to that of all items"
)

# Each table over days has them: older days are kept as one stretch of these.
_FIRST: Final = Line("first", DAYS, "min(first)")
_LAST: Final = Line("last", DAYS, "max(day)")
_USER: Final = (
    _count("trips", DAYS, "sum(days)", "trip days ever"),
    *_windowed("trips", DAYS, _days("{age} < {$_days}"), "trip days in the last {$_days}"),
    _count(
        "trip_rate",
        DAYS,
        "{trip}",
        f"sum over trip days of {_of(_DECAYED, 'trip')}",
        "trip",
    ),
    _FIRST,
    _LAST,
    _ratio("days_since_last", SUMS, "as_of - last", "D - last trip day"),
    _ratio("days_since_first", SUMS, "as_of - first", "D - first trip day"),
    _count(ITEMS, PAIRS, _rows("true"), "distinct items ever"),
    Line("pair_days", PAIRS, "sum(days)"),
    Line("quantity", PAIRS, _total("quantity")),
    Line("amount", PAIRS, _total("amount")),
    _ratio("items_per_trip", SUMS, "pair_days / trips", "(item, day) pairs / trips"),
    _ratio("amount_per_trip", SUMS, "double(amount) / 100 / trips", "amount / trips"),
    _ratio("quantity_per_trip", SUMS, "double(quantity) / 1000 / trips", "pieces / trips"),
)
_ITEM: Final = (
    _count(USERS, PAIRS, _rows("true"), "users who ever bought it"),
    *_windowed(USERS, PAIRS, _rows("days_$ > 0"), "users who bought it in the last {$_days}"),
    _count(WEIGHT, PAIRS, _total(WEIGHT), f"sum over users and days of {_SLOW}", "slow"),
    _ratio("days_since_last", PAIRS, "min(as_of - last)", "D - last day"),
    Line("priced", PAIRS, _total("priced")),
    Line("amount", PAIRS, _total("amount")),
    Line("ripe", PAIRS, "sum(ripe)"),
    Line("rebought", PAIRS, "sum(rebought)"),
    _count("trend", SUMS, _TREND, _TREND),
    _ratio("price", SUMS, _PRICE, "amount / pieces, of events with an amount"),
    Line("overall", SUMS, f"coalesce({_of(_OF_ALL, 'rebought')} / nullif({_of(_OF_ALL, 'ripe')}, 0), 0)"),
    Line("again_of_kin", SUMS, f"{_of(_OF_KIN, 'rebought')} + {{rebuy_shrink}} * overall"),
    Line("kin", SUMS, f"again_of_kin / ({_of(_OF_KIN, 'ripe')} + {{rebuy_shrink}})"),
    Line("expected", SUMS, "if(subcategory is null, overall, kin)"),
    _ratio("rebuy", SUMS, "(rebought + {rebuy_shrink} * expected) / (ripe + {rebuy_shrink})", _REBUY),
    _ratio("brand_code", SUMS, _of(_CODE, "brand"), "xxhash64(brand) modulo 65,536"),
    _ratio("category_code", SUMS, _of(_CODE, "category"), "xxhash64(category) modulo 65,536"),
)
_USER_ITEM: Final = (
    _count(WEIGHT, DAYS, "{slow}", f"sum over days of {_SLOW}", "slow"),
    _count(
        "weight_fast",
        DAYS,
        "{fast}",
        f"sum over days of weight * {_of(_DECAYED, 'fast')}",
        "fast",
    ),
    _count("days", DAYS, "sum(days)", "days bought ever"),
    *_windowed("days", DAYS, _days("{age} < {$_days}"), "days bought in the last {$_days}"),
    _FIRST,
    _LAST,
    Line("before", DAYS, "max(before)"),
    *(Line(name, DAYS, f"sum({name})") for name in ("quantity", PRICED, "amount")),
    _ratio("days_since_last", SUMS, "as_of - last", "D - last day"),
    _ratio("days_since_first", SUMS, "as_of - first", "D - first day"),
    Line("ripe", DAYS, _days("{age} >= {rebuy_days}")),
    Line("rebought", DAYS, f"sum(coalesce(rebought, {_AGAIN}))"),
    Line("gaps", SUMS, "nullif(days - 1, 0)"),
    _ratio("gap_mean", SUMS, "(days_since_first - days_since_last) / gaps", "mean gap between days"),
    _ratio("gap_last", SUMS, "last - before", "gap between the last two days"),
    _ratio("due", SUMS, "days_since_last / gap_mean", "days_since_last / gap_mean"),
    _ratio("quantity_mean", SUMS, "double(quantity) / 1000 / days", "pieces / days"),
)
_USER_CATEGORY: Final = (
    _count(WEIGHT, PAIRS, _total(WEIGHT), f"sum over (item, day) of the subcategory of {_SLOW}", "slow"),
    _count("pair_days", PAIRS, "sum(days)", "(item, day) pairs of the subcategory ever"),
    _count("pair_days_medium", PAIRS, "sum(days_medium)", "those of the last {medium_days}"),
    _ratio("days_since_last", PAIRS, "min(as_of - last)", "D - last day with the subcategory"),
    Line("weight_of_user", SUMS, f"double({_of(_OF_USER, WEIGHT)})"),
    _count(
        "share", SUMS, "double(weight_slow) / nullif(weight_of_user, 0)", "weight_slow / the user's total"
    ),
)

LINES: Final[dict[str, tuple[Line, ...]]] = {
    TableName.USERS: _USER,
    TableName.ITEMS: _ITEM,
    TableName.PAIRS: _USER_ITEM,
    TableName.CATEGORIES: _USER_CATEGORY,
}
"""The lines of each table; features stand in the order of their columns."""

FEATURES: Final = {
    table: tuple(line for line in lines if isinstance(line, Feature)) for table, lines in LINES.items()
}
"""The features of each feature table."""

IN_MATRIX: Final = {
    "pair": TableName.PAIRS,
    "category": TableName.CATEGORIES,
    "user": TableName.USERS,
    "item": TableName.ITEMS,
}
"""What the names of a table's columns begin with in the ranker's matrix."""

DERIVED: Final = (
    Derived(
        "category_share",
        0,
        "pair.weight_slow / (category.weight_slow + 1e-9): how much of the subcategory this item is",
        lambda column: column("pair.weight_slow") / (column("category.weight_slow") + 1e-9),
    ),
    Derived("rate", 0, "pair.days / user.trips", lambda column: column("pair.days") / column("user.trips")),
    Derived(
        "rate_medium",
        0,
        "pair.days_medium / (user.trips_medium + 1)",
        lambda column: column("pair.days_medium") / (column("user.trips_medium") + 1),
    ),
    Derived("als", float("nan"), "the dot product of the factors of user and item"),
    Derived("item_item", 0, "(the user's row of weights x similarity) at the item"),
)
"""The last columns of the matrix, in their order."""
