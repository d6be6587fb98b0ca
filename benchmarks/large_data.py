"""A generated shop of any size, as raw day files or as a lake in which training can begin.

Users buy by a mixture of three topics and, one time in five, by what all like; one row in five is
a thing that the user bought before (or will: rows know no order). Item of rank r of n is drawn in
proportion to (r + n / 16)^-2. A user's rows lie on trip days of about six rows each. Same sizes and
seed, same rows.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake import layout, tables
from lake.dataset import read_dataset
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.partitions import days as days_between
from lake.records import Draft, Records
from lake.schemas import arrow_schema
from lake.settings import Settings
from lake.storage import Storage, open_storage
from nightjar.stages.features import Features, snapshot_days
from nightjar.stages.ingest import Ingest

FIRST = dt.date(2024, 1, 1)
TOPICS = 50
ROWS_A_TRIP = 6
ITEMS_A_KIND = 100
AGAIN = 0.2
PART_USERS = 20_000
SCALE = 2**32
"""Decayed weights are summed as integers of this unit: no order of threads changes a sum."""

TOML = """\
name = "large"
first_day = {first}
id_type = "int64"

[raw]
files = "events/{{partition}}.parquet"
format = "parquet"

[raw.columns]
user_id = "user"
item_id = "item"
event_ts = "at"
quantity = "quantity"
amount = "amount"
context_id = "basket"

[events]
default = "purchase"
weights = {{ purchase = 1.0 }}
labels = ["purchase"]

[catalogue]
files = "catalogue/{{partition}}.parquet"
format = "parquet"

[catalogue.columns]
item_id = "item"
name = "name"
category = "department"
subcategory = "kind"
brand = "brand"
"""

QUICK = """
[retrieval]
iterations = 1

[ranker]
rounds = 10
"""
"""Memory does not depend on either, time does."""


@dataclass(frozen=True)
class Shop:
    """What is generated: all there is to say about it."""

    users: int
    items: int
    rows: int
    days: int
    seed: int = 20261129

    @property
    def last(self) -> dt.date:
        """The newest day, on which training is to be run."""
        return FIRST + dt.timedelta(days=self.days - 1)


def settings_of(folder: Path, shop: Shop, threads: int, quick: bool) -> Settings:
    """Settings of a home in a folder; the data set's TOML is written into it."""
    folder.mkdir(parents=True, exist_ok=True)
    toml = folder / "large.toml"
    toml.write_text(TOML.format(first=FIRST) + (QUICK if quick else ""))
    return Settings(home=folder, dataset=str(toml), threads=threads)


def write_raw(settings: Settings, shop: Shop) -> None:
    """One file a day, and the catalogue on the first."""
    raw, database, data = open_storage(settings.raw), _database(shop), read_dataset(settings.dataset)
    for day in days_between(FIRST, shop.last):
        rows = database.execute(
            "select user_id as user, item_id as item, $day::timestamp + to_seconds(second) as at, "
            "quantity, amount, user_id * 1000 + day as basket from bought where day = $number "
            "order by basket, item",
            {"day": day.isoformat(), "number": (day - FIRST).days},
        ).fetch_arrow_table()
        _put(raw, data.raw.path(day), rows)
    catalogue = database.execute(
        "select item_id as item, 'item ' || item_id as name, department, kind, brand from items order by item"
    )
    _put(raw, data.catalogue.path(FIRST), catalogue.fetch_arrow_table())


def write_lake(settings: Settings, shop: Shop) -> None:
    """Interactions of all days, and the feature tables that training on the last one reads, with records.

    The tables are made here by DuckDB and not by Spark: same columns, same meaning, except that
    `rebuy` is shrunk to the global ratio alone.
    """
    lake, database = open_storage(settings.lake), _database(shop)
    for day in days_between(FIRST, shop.last):
        found = {"interactions": _interactions(database, day)}
        found |= {"catalogue": _catalogue(database)} if day == FIRST else {}
        _commit(lake, "ingest", day, found, settings, shop)
    for day in [*snapshot_days(shop.last, read_dataset(settings.dataset)), shop.last]:
        read = Features().reads(Lake.open(settings), day)
        _commit(lake, "features", day, dict(_features(database, day)), settings, shop, read)


def _commit(lake, stage, day, found, settings, shop, read=()):  # noqa: ANN001, ANN202
    """Tables as an attempt of the stage would have left them, and their record."""
    attempt = hashlib.sha256(repr((stage, day, shop)).encode()).hexdigest()[:16]
    contents, data = {}, read_dataset(settings.dataset)
    for name, rows in found.items():
        digest = hashlib.sha256(repr((name, day, astuple(shop))).encode()).hexdigest()
        whole = _whole(rows, name, data.id_type)
        _put(lake, f"{layout.partition(name, attempt, day)}/part.parquet", whole)
        contents[name] = tables.contents(lake, name, attempt, [day], {day: digest})[day]
    kind = {"ingest": Ingest, "features": Features}[stage]()
    draft = Draft(
        stage,
        day.isoformat(),
        attempt,
        "ok",
        kind.VERSION,
        kind.config_digest(Lake.open(settings)),
        read,
    )
    Records(lake).commit(Draft(**(vars(draft) | {"tables": contents})), 0)


def _whole(rows: pa.Table, name: str, id_type: str) -> pa.Table:
    """A table of the lake; columns that are not generated are null."""
    schema = arrow_schema(name, id_type)
    found = [rows[f.name] if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema]
    return pa.table(dict(zip(schema.names, found, strict=True))).cast(schema)


def _put(storage: Storage, path: str, rows: pa.Table) -> None:
    local = storage.local(path)
    local.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, local, compression="zstd")


def _database(shop: Shop) -> duckdb.DuckDBPyConnection:
    """`bought`, one row a purchase, `items`, and `once`: one row a user, item and day."""
    database = duckdb.connect(config={"memory_limit": "4GB", "threads": 2})
    database.execute(
        "create table bought (user_id bigint, item_id bigint, day int, second int, quantity int)"
    )
    for part in _purchases(shop):
        database.register("part", part)
        database.execute("insert into bought select * from part")
    database.execute("alter table bought add column amount double")
    database.execute("update bought set amount = round((1 + hash(item_id) % 2000 / 100.0) * quantity, 2)")
    database.execute(
        f"""
        create table items as select item_id, 'kind ' || lpad(kind::text, 6, '0') as kind,
            'department ' || kind // 10 as department, 'brand ' || hash(item_id) % 500 as brand
        from (select range + 1 as item_id, hash(range) % {max(1, shop.items // ITEMS_A_KIND)} as kind
              from range({shop.items}));
        create table once as
        select *, day - lag(day) over pair as gap, lead(day) over pair - day as next_gap
        from (select user_id, item_id, day, sum(quantity)::int as quantity, sum(amount) as amount
              from bought group by all)
        window pair as (partition by user_id, item_id order by day)
        """
    )
    return database


def _interactions(database: duckdb.DuckDBPyConnection, day: dt.date) -> pa.Table:
    return database.execute(
        "select user_id, item_id, ($day::timestamp + to_seconds(second)) at time zone 'UTC' as event_ts, "
        "'purchase' as event_type, quantity::decimal(18, 3) as quantity, amount::decimal(18, 2) as amount "
        "from bought where day = $number order by user_id, item_id, second",
        {"day": day.isoformat(), "number": (day - FIRST).days},
    ).fetch_arrow_table()


def _catalogue(database: duckdb.DuckDBPyConnection) -> pa.Table:
    return database.execute(
        "select item_id, 'item ' || item_id as name, department as category, kind as subcategory, brand "
        "from items order by item_id"
    ).fetch_arrow_table()


def _features(database: duckdb.DuckDBPyConnection, day: dt.date) -> Iterator[tuple[str, pa.Table]]:
    """The four tables as of a day, one at a time."""
    number = (day - FIRST).days
    decayed = [f"round({SCALE} * .5 ** (age / {half}))::bigint as w{half}" for half in (60, 15, 30)]
    database.execute(
        f"create or replace temp table seen as select *, {', '.join(decayed)} "
        f"from (select *, {number} + 1 - day as age from once where day <= {number})"
    )
    for name in FEATURES:
        yield name, database.execute(QUERIES[name].format(scale=SCALE)).fetch_arrow_table()


def _windows(what: str) -> str:
    windows = {"short": 7, "medium": 28, "long": 91}
    return ", ".join(f"{what.format(days=days)}_{window}" for window, days in windows.items())


QUERIES = {
    "user_features": """
        with trip as (select user_id, day, any_value(age) as age, any_value(w30) as w30, count(*) as items,
                             sum(amount) as amount, sum(quantity) as quantity from seen group by all),
             wide as (select user_id, count(distinct item_id) as items from seen group by all)
        select user_id, count(*) as trips, """
    + _windows("count_if(age <= {days}) as trips")
    + """, sum(w30) / {scale} as trip_rate,
               min(age) - 1 as days_since_last, max(age) - 1 as days_since_first,
               any_value(wide.items) as items, sum(trip.items) / count(*) as items_per_trip,
               sum(amount) / count(*) as amount_per_trip, sum(quantity) / count(*) as quantity_per_trip
        from trip join wide using (user_id) group by user_id order by user_id""",
    "item_features": """
        with pair as (select user_id, item_id, min(age) as age, sum(w60)::bigint as w60,
                             sum(amount) as amount, sum(quantity) as quantity, count_if(age > 28) as old,
                             count_if(age > 28 and next_gap <= 28) as again from seen group by all),
             whole as (select sum(again) / greatest(sum(old), 1) as ratio from pair)
        select item_id, count(*) as users, """
    + _windows("count_if(age <= {days}) as users")
    + """, sum(w60) / {scale} as weight_slow, min(age) - 1 as days_since_last,
               4 * users_short / (users_medium + 2) as trend,
               sum(amount) / sum(quantity) as price,
               (sum(again) + 20 * any_value(ratio)) / (sum(old) + 20) as rebuy,
               any_value(hash(brand) % 65536) as brand_code,
               any_value(hash(department) % 65536) as category_code
        from pair join items using (item_id) cross join whole group by item_id order by item_id""",
    "user_item_features": """
        select user_id, item_id, sum(w60) / {scale} as weight_slow, sum(w15) / {scale} as weight_fast,
               count(*) as days, """
    + _windows("count_if(age <= {days}) as days")
    + """, min(age) - 1 as days_since_last, max(age) - 1 as days_since_first,
               (max(day) - min(day)) / nullif(count(*) - 1, 0) as gap_mean, arg_max(gap, day) as gap_last,
               days_since_last / gap_mean as due, sum(quantity) / count(*) as quantity_mean
        from seen group by user_id, item_id order by user_id, item_id""",
    "user_category_features": """
        select user_id, kind as subcategory, sum(w60)::bigint as weight, weight / {scale} as weight_slow,
               count(*) as pair_days, count_if(age <= 28) as pair_days_medium,
               min(age) - 1 as days_since_last, weight / sum(weight) over (partition by user_id) as share
        from seen join items using (item_id) group by user_id, kind order by user_id, kind""",
}


def _purchases(shop: Shop) -> Iterator[pa.Table]:
    """Rows by parts of users."""
    random = np.random.default_rng(shop.seed)
    topic = np.argsort(random.random(shop.items)) % TOPICS
    of_topic = [np.flatnonzero(topic == number) for number in range(TOPICS)]
    ranked = random.permutation(shop.items)
    sizes = random.lognormal(0, 0.8, shop.users)
    counts = np.maximum(1, sizes * shop.rows / sizes.sum()).astype(np.int64)
    for first in range(0, shop.users, PART_USERS):
        mine = counts[first : first + PART_USERS]
        user = np.repeat(np.arange(len(mine)), mine)
        items = _repeated(random, mine, user, _chosen(random, len(mine), user, of_topic, ranked))
        trip = (random.random(len(user)) * (1 + mine[user] // ROWS_A_TRIP)).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(1 + mine // ROWS_A_TRIP)])
        yield pa.table(
            {
                "user_id": first + user + 1,
                "item_id": items + 1,
                "day": random.integers(0, shop.days, starts[-1])[starts[user] + trip],
                "second": random.integers(8 * 3600, 20 * 3600, starts[-1])[starts[user] + trip],
                "quantity": random.geometric(0.8, len(user)),
            }
        )


def _repeated(random, counts, user, items):  # noqa: ANN001, ANN202
    """One row in five takes the item of another row of its user."""
    starts = np.cumsum(counts) - counts
    other = starts[user] + (random.random(len(user)) * counts[user]).astype(np.int64)
    return np.where(random.random(len(user)) < AGAIN, items[other], items)


def _chosen(random, users, user, of_topic, ranked):  # noqa: ANN001, ANN202
    """What the user of each row took, by topic or of all."""
    liked = random.integers(0, TOPICS, (users, 3))
    topic = liked[user, random.choice(3, len(user), p=[0.6, 0.3, 0.1])]
    level = random.random(len(user))
    items = ranked[_ranks(level, len(ranked))]
    sizes = np.array([len(found) for found in of_topic])
    starts = np.concatenate([[0], np.cumsum(sizes)])[topic]
    own = random.random(len(user)) < 0.8
    items[own] = np.concatenate(of_topic)[(starts + _ranks(level, sizes[topic]))[own]]
    return items


def _ranks(level, count):  # noqa: ANN001, ANN202
    """Ranks from 0 by the inverse of their distribution, for levels from 0 to 1."""
    return (count * level / (16 + 1 - 16 * level)).astype(np.int64)
