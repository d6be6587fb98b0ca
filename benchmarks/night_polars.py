"""The feature tables of `benchmarks/night_features.py` by Polars."""

import datetime as dt

import polars as pl
from night_features import WINDOWS, Plan


def make(plan: Plan) -> None:
    """Write the feature tables, each by one lazy plan over two frames that are made before."""
    day = pl.col("event_ts").dt.date()
    pieces = pl.max_horizontal(pl.col("quantity"), pl.lit(1).cast(pl.Decimal(18, 3)))
    seen = (
        pl.scan_parquet(plan.interactions, hive_partitioning=False)
        .select("user_id", "item_id", "amount", day=day, quantity=pieces)
        .filter(pl.col("day") <= dt.date.fromisoformat(plan.day))
        .with_columns(priced=pl.when(pl.col("amount").is_not_null()).then("quantity"))
        .group_by("user_id", "item_id", "day")
        .agg(pl.sum("quantity", "priced", "amount"))
    )
    rows = _linked(plan, seen).collect(engine="streaming")
    pair = _pairs(plan, rows.lazy()).collect(engine="streaming").lazy()
    kinds = pl.scan_parquet(plan.catalogue, hive_partitioning=False).select("item_id", "subcategory")
    for table, keys, frame in (
        ("user_features", ["user_id"], _users(plan, rows.lazy(), pair)),
        ("item_features", ["item_id"], _items(plan, pair, kinds)),
        ("user_item_features", ["user_id", "item_id"], _user_items(plan, pair)),
        ("user_category_features", ["user_id", "subcategory"], _categories(plan, pair, kinds)),
    ):
        floats = frame.select(*keys, pl.exclude(keys).cast(pl.Float32)).sort(keys)
        floats.sink_parquet(f"{plan.out}/{table}.parquet", compression="zstd")


def _linked(plan: Plan, seen: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of a user, item and day with the days before and after, and what they add to the weights."""

    def neighbour(offset: int) -> pl.Expr:
        same = (pl.col("user_id").shift(offset) == pl.col("user_id")) & (
            pl.col("item_id").shift(offset) == pl.col("item_id")
        )
        return pl.when(same).then((pl.col("day").shift(offset) - pl.col("day")).dt.total_days() * -offset)

    age = (pl.lit(dt.date.fromisoformat(plan.day)) - pl.col("day")).dt.total_days()
    ordered = seen.sort("user_id", "item_id", "day").with_columns(age=age)
    weights = {name: _decayed_column(plan, name) for name in ("slow", "fast")}
    return ordered.with_columns(gap=neighbour(1), next_gap=neighbour(-1), **weights)


def _decayed_column(plan: Plan, half_life: str) -> pl.Expr:
    """The weight of a day in whole units of the first day's period; a sum of them is halved at the end."""
    days, day = plan.config[f"{half_life}_half_life"], plan.ordinal - pl.col("age")
    grown = pl.lit(2.0).pow(day % days / days)
    fits = 4 * days * plan.scales[half_life] << plan.halvings[half_life] < 1 << 63
    kind = pl.Int64 if fits else pl.Int128
    whole = (plan.scales[half_life] * plan.weight_of(half_life) * grown).round().cast(kind)
    periods = plan.halvings[half_life] - (plan.ordinal + 1) // days + day // days
    return whole * pl.lit(2, kind).pow(periods)


def _halved(plan: Plan, half_life: str, name: str) -> pl.Expr:
    """A sum of such weights, in units of the period of the day after the as-of day."""
    return pl.sum(name) // 2 ** plan.halvings[half_life]


def _within(plan: Plan, name: str) -> dict[str, pl.Expr]:
    """How many rows each window has."""
    return {f"{name}_{window}": (pl.col("age") < plan.config[f"{window}_days"]).sum() for window in WINDOWS}


def _pairs(plan: Plan, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Sums of each user and item."""
    ripe = pl.col("age") >= plan.config["rebuy_days"]
    return rows.group_by("user_id", "item_id").agg(
        pl.sum("quantity", "priced", "amount"),
        slow=_halved(plan, "slow", "slow"),
        fast=_halved(plan, "fast", "fast"),
        days=pl.len(),
        **_within(plan, "days"),
        days_since_last=pl.min("age"),
        days_since_first=pl.max("age"),
        gap_last=pl.col("gap").sort_by("age").first(),
        ripe=ripe.sum(),
        rebought=(ripe & (pl.col("next_gap") <= plan.config["rebuy_days"])).sum(),
    )


def _users(plan: Plan, rows: pl.LazyFrame, pair: pl.LazyFrame) -> pl.LazyFrame:
    trips = rows.select("user_id", "age").unique().with_columns(decayed=_decayed_column(plan, "trip"))
    of_trips = trips.group_by("user_id").agg(
        trips=pl.len(),
        **_within(plan, "trips"),
        trip_rate=_halved(plan, "trip", "decayed") * plan.units["trip"],
        days_since_last=pl.min("age"),
        days_since_first=pl.max("age"),
    )
    of_pairs = pair.group_by("user_id").agg(
        items=pl.len(),
        items_per_trip=pl.sum("days"),
        amount_per_trip=pl.sum("amount").cast(pl.Float64),
        quantity_per_trip=pl.sum("quantity").cast(pl.Float64),
    )
    per_trip = [pl.col(f"{name}_per_trip") / pl.col("trips") for name in ("items", "amount", "quantity")]
    return of_trips.join(of_pairs, on="user_id").with_columns(per_trip)


def _items(plan: Plan, pair: pl.LazyFrame, kinds: pl.LazyFrame) -> pl.LazyFrame:
    ripe, rebought, shrink = pl.col("ripe"), pl.col("rebought"), plan.config["rebuy_shrink"]
    overall = (rebought.sum() / ripe.sum()).fill_nan(0)
    kin = (rebought.sum().over("subcategory") + shrink * overall) / (ripe.sum().over("subcategory") + shrink)
    expected = pl.when(pl.col("subcategory").is_null()).then(overall).otherwise(kin)
    trend = plan.config["medium_days"] / plan.config["short_days"] * pl.col("users_short")
    return (
        pair.group_by("item_id")
        .agg(
            users=pl.len(),
            **{f"users_{window}": (pl.col(f"days_{window}") > 0).sum() for window in WINDOWS},
            weight_slow=pl.sum("slow") * plan.units["slow"],
            days_since_last=pl.min("days_since_last"),
            price=pl.sum("amount").cast(pl.Float64) / pl.sum("priced").cast(pl.Float64),
            ripe=ripe.sum(),
            rebought=rebought.sum(),
        )
        .join(kinds, on="item_id", how="left")
        .with_columns(
            trend=trend / (pl.col("users_medium") + 2),
            rebuy=(rebought + shrink * expected) / (ripe + shrink),
        )
        .drop("ripe", "rebought", "subcategory")
    )


def _user_items(plan: Plan, pair: pl.LazyFrame) -> pl.LazyFrame:
    span = pl.col("days_since_first") - pl.col("days_since_last")
    gap = pl.when(pl.col("days") > 1).then(span / (pl.col("days") - 1))
    return pair.select(
        "user_id",
        "item_id",
        *(f"days{window}" for window in ("", *(f"_{name}" for name in WINDOWS))),
        *("days_since_last", "days_since_first", "gap_last"),
        weight_slow=pl.col("slow") * plan.units["slow"],
        weight_fast=pl.col("fast") * plan.units["fast"],
        gap_mean=gap,
        due=pl.col("days_since_last") / gap,
        quantity_mean=pl.col("quantity").cast(pl.Float64) / pl.col("days"),
    )


def _categories(plan: Plan, pair: pl.LazyFrame, kinds: pl.LazyFrame) -> pl.LazyFrame:
    slow = pl.col("weight_slow")
    return (
        pair.join(kinds, on="item_id", how="left")
        .group_by("user_id", "subcategory")
        .agg(
            weight_slow=pl.sum("slow"),
            pair_days=pl.sum("days"),
            pair_days_medium=pl.sum("days_medium"),
            days_since_last=pl.min("days_since_last"),
        )
        .with_columns(share=slow / slow.sum().over("user_id"))
        .with_columns(weight_slow=slow * plan.units["slow"])
        .filter(pl.col("subcategory").is_not_null())
    )
