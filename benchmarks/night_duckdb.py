"""The feature tables of `benchmarks/night_features.py` by DuckDB."""

import duckdb
from night_features import WINDOWS, Plan


def _windowed(formula: str) -> str:
    """A column for each window, whose name stands in the place of $."""
    return ", ".join(formula.replace("$", window) for window in WINDOWS)


PREPARATION = (
    """
    create temp table seen as
    select *, day - lag(day) over pair as gap, lead(day) over pair - day as next_gap,
           {slow} as slow, {fast} as fast
    from (select user_id, item_id, event_ts::date as day, '{day}'::date - event_ts::date as age,
                 sum(greatest(quantity, 1)) as quantity, sum(amount) as amount,
                 sum(greatest(quantity, 1)) filter (amount is not null) as priced
          from interactions where event_ts::date <= '{day}' group by all)
    window pair as (partition by user_id, item_id order by day)""",
    f"""
    create temp table pair as
    select user_id, item_id, (sum(slow) >> {{slow_halvings}})::bigint as slow,
           (sum(fast) >> {{fast_halvings}})::bigint as fast, count(*) as days,
           {_windowed("count_if(age < {$_days}) as days_$")},
           min(age) as days_since_last, max(age) as days_since_first, arg_min(gap, age) as gap_last,
           sum(quantity) as quantity, sum(priced) as priced, sum(amount) as amount,
           count_if(age >= {{rebuy_days}}) as ripe,
           count(*) filter (age >= {{rebuy_days}} and next_gap <= {{rebuy_days}}) as rebought
    from seen group by user_id, item_id""",
)
"""One row for each user, item and day, and then one for each user and item."""

QUERIES = {
    "user_features": (
        "user_id",
        f"""
        with trip as (select user_id, age, {{trip}} as decayed from (select distinct user_id, age from seen)),
             trips as (select user_id, count(*) as trips, {_windowed("count_if(age < {$_days}) as trips_$")},
                              (sum(decayed) >> {{trip_halvings}})::double * {{trip_unit}} as trip_rate,
                              min(age) as days_since_last, max(age) as days_since_first
                       from trip group by user_id),
             wide as (select user_id, count(*) as items, sum(days)::double as pair_days,
                             sum(amount)::double as amount, sum(quantity)::double as quantity
                      from pair group by user_id)
        select trips.*, items, pair_days / trips as items_per_trip, amount / trips as amount_per_trip,
               quantity / trips as quantity_per_trip
        from trips join wide using (user_id)""",
    ),
    "item_features": (
        "item_id",
        f"""
        with sums as (select item_id, count(*) as users, {_windowed("count_if(days_$ > 0) as users_$")},
                             sum(slow)::double * {{slow_unit}} as weight_slow,
                             min(days_since_last) as days_since_last, sum(priced)::double as priced,
                             sum(amount)::double as amount, sum(ripe) as ripe, sum(rebought) as rebought
                      from pair group by item_id),
             overall as (select sums.*, subcategory,
                                coalesce(sum(rebought) over () / nullif(sum(ripe) over (), 0), 0) as overall
                         from sums left join catalogue using (item_id)),
             kin as (select *, if(subcategory is null, overall,
                                  (sum(rebought) over kin + {{rebuy_shrink}} * overall)
                                  / (sum(ripe) over kin + {{rebuy_shrink}})) as expected
                     from overall window kin as (partition by subcategory))
        select item_id, users, {_windowed("users_$")}, weight_slow, days_since_last,
               {{medium_days}} / {{short_days}} * users_short / (users_medium + 2) as trend,
               amount / priced as price,
               (rebought + {{rebuy_shrink}} * expected) / (ripe + {{rebuy_shrink}}) as rebuy
        from kin""",
    ),
    "user_item_features": (
        "user_id, item_id",
        f"""
        select user_id, item_id, slow::double * {{slow_unit}} as weight_slow,
               fast::double * {{fast_unit}} as weight_fast, days, {_windowed("days_$")}, days_since_last,
               days_since_first, (days_since_first - days_since_last) / nullif(days - 1, 0) as gap_mean,
               gap_last, days_since_last / gap_mean as due, quantity::double / days as quantity_mean
        from pair""",
    ),
    "user_category_features": (
        "user_id, subcategory",
        """
        with sums as (select user_id, subcategory, sum(slow)::double as slow, sum(days) as pair_days,
                             sum(days_medium) as pair_days_medium, min(days_since_last) as days_since_last
                      from pair left join catalogue using (item_id) group by user_id, subcategory),
             shares as (select *, slow / nullif(sum(slow) over (partition by user_id), 0) as share from sums)
        select user_id, subcategory, slow * {slow_unit} as weight_slow, pair_days, pair_days_medium,
               days_since_last, share from shares where subcategory is not null""",
    ),
}
"""The keys of each table, and its features."""


def make(plan: Plan) -> None:
    """Write the feature tables, each by one query."""
    database = duckdb.connect(config={"temp_directory": f"{plan.out}/spilled"})
    database.execute("set TimeZone = 'UTC'")
    for name, files in {"interactions": plan.interactions, "catalogue": plan.catalogue}.items():
        database.read_parquet(files, hive_partitioning=False).create_view(name)
    values = {"day": plan.day, **plan.config, **{name: _decayed(plan, name) for name in plan.scales}}
    values |= {f"{name}_unit": unit for name, unit in plan.units.items()}
    values |= {f"{name}_halvings": count for name, count in plan.halvings.items()}
    for query in PREPARATION:
        database.execute(query.format_map(values))
    for table, (keys, query) in QUERIES.items():
        rows = f"select {keys}, columns(* exclude ({keys}))::float from ({query}) order by {keys}"
        file = f"{plan.out}/{table}.parquet"
        database.execute(f"copy ({rows.format_map(values)}) to '{file}' (compression zstd)")


def _decayed(plan: Plan, half_life: str) -> str:
    """The weight of a day in whole units of the first day's period; a sum of them is halved at the end."""
    scale, weight, days = (
        plan.scales[half_life],
        plan.weight_of(half_life),
        plan.config[f"{half_life}_half_life"],
    )
    day, halved = f"({plan.ordinal} - age)", (plan.ordinal + 1) // days
    whole = f"round({scale} * {weight}::double * 2::double ** ({day} % {days} / {days}))::hugeint"
    return f"{whole} << ({plan.halvings[half_life]} - {halved} + {day} // {days})"
