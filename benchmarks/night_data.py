"""The shops of `benchmarks/night.py`: the demo, or a generated one of any size, as raw day files.

In a generated shop users buy by a mixture of three topics and, one time in five, by what all like; one
row in three is one of the eight favourites of its user. The item of rank r of n, in its topic or among
all, is drawn in proportion to (r + n / 16)^-2 (Zipf-Mandelbrot). A basket has about six rows.

Each day is drawn by itself, from the seed and the date. So memory holds the users, the items and one
day, whatever the history; and a longer history ends in the very same days.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lake.dataset import read_dataset
from lake.partitions import days as days_between
from lake.settings import Settings
from lake.storage import Storage, open_storage
from nightjar.command.land import land

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LAST = dt.date(
    2024, 12, 31
)  # the newest day of every generated shop, so that histories of any length end alike
DEMO, DEMO_DAY = "complete_journey", dt.date(2017, 9, 30)  # the night of `make demo`
GROWTH = 4  # as many times the history, the users or the items
TOPICS = 50
TOPIC_SHARES = (0.6, 0.3, 0.1)  # of the three topics of a user
COMMON_SHARE, FAVOURITE_SHARE = 0.2, 1 / 3  # of rows
FAVOURITES = 8
ROWS_A_BASKET = 6
ITEMS_A_KIND, KINDS_A_DEPARTMENT, BRANDS = 100, 10, 500
OPENS, CLOSES = 8 * 3600, 20 * 3600  # seconds of a day

TOML = """\
name = "night"
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
"""Training in less time; its memory depends on neither."""


@dataclass(frozen=True)
class Shop:
    """What a folder holds, and what its figures are filed by.

    Attributes
    ----------
    size
        Its name: S is the demo, M and L are generated.
    grown
        Which of its numbers is `GROWTH` times that of the size: history, users, items; or empty.
    rows
        Of all days together.
    quick
        Whether training is shortened by `QUICK`.
    """

    size: str
    users: int
    items: int
    rows: int
    days: int
    seed: int = 0
    grown: str = ""
    quick: bool = False

    @property
    def last(self) -> dt.date:
        """The newest day."""
        return DEMO_DAY if self.size == "S" else LAST

    @property
    def first(self) -> dt.date:
        """The oldest day."""
        return self.last - dt.timedelta(days=self.days - 1)

    def changed(self, **given: int | None) -> "Shop":
        """The same with other numbers; None leaves one as it is."""
        return replace(self, **{name: number for name, number in given.items() if number is not None})

    def grow(self, what: str) -> "Shop":
        """Longer history, more users or more items; users and days keep their numbers of rows."""
        grown = {"history": ("days", "rows"), "users": ("users", "rows"), "items": ("items",)}[what]
        return replace(self, grown=what, **{name: GROWTH * getattr(self, name) for name in grown})


SIZES = {
    "S": Shop("S", 2_446, 59_613, 1_095_181, 273),  # the demo up to `DEMO_DAY`, as it is
    "M": Shop("M", 200_000, 50_000, 9_000_000, 60),
    "L": Shop("L", 1_000_000, 100_000, 50_000_000, 90),
}


def settings_of(folder: Path, shop: Shop) -> Settings:
    """Settings of a home in a folder, whatever places the environment names."""
    lake, dataset = (folder / "lake").as_uri(), DEMO if shop.size == "S" else str(folder / "night.toml")
    return Settings(home=folder, dataset=dataset, lake=lake, raw=f"{lake}/raw", releases=f"{lake}/published")


def make(folder: Path, shop: Shop) -> None:
    """Write the raw days, the TOML of the data set, and what the shop is."""
    folder.mkdir(parents=True)
    if shop.size == "S":
        land(settings_of(folder, shop), shop.first, shop.last)
    else:
        toml = TOML.format(first=shop.first) + (QUICK if shop.quick else "")
        (folder / "night.toml").write_text(toml)
        _write_days(settings_of(folder, shop), shop)
    (folder / "shop.json").write_text(json.dumps(asdict(shop)) + "\n")


def read(folder: Path) -> Shop:
    """The shop that was made in a folder."""
    return of(json.loads((folder / "shop.json").read_text()))


def of(record: dict[str, Any]) -> Shop:
    """The shop that a record of figures is about."""
    return Shop(**{field.name: record[field.name] for field in fields(Shop)})


def _write_days(settings: Settings, shop: Shop) -> None:
    """One file a day, and the catalogue on the first."""
    raw, data, generator = open_storage(settings.raw), read_dataset(settings.dataset), Generator(shop)
    _put(raw, data.catalogue.path(shop.first), generator.catalogue())
    for day, rows in generator.each_day():
        _put(raw, data.raw.path(day), rows)


def _put(storage: Storage, path: str, rows: pa.Table) -> None:
    local = storage.local(path)
    local.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, local, compression="zstd")


class Generator:
    """The users and items of a shop, from which its days are drawn."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        random = np.random.default_rng(shop.seed)
        self._ranked = random.permutation(shop.items)
        topic = random.integers(0, TOPICS, shop.items)
        self._by_topic = np.argsort(topic, kind="stable")
        self._sizes = np.bincount(topic, minlength=TOPICS)
        self._kind = random.integers(0, max(1, shop.items // ITEMS_A_KIND), shop.items)
        self._brand = random.integers(0, BRANDS, shop.items)
        self._price = np.round(random.uniform(1, 21, shop.items), 2)
        self._visits = np.cumsum(random.lognormal(0, 0.8, shop.users))
        self._liked = random.integers(0, TOPICS, (shop.users, len(TOPIC_SHARES)), np.int8)
        everybody = np.repeat(np.arange(shop.users), FAVOURITES)
        self._favourites = self._chosen(random, everybody).astype(np.int32).reshape(-1, FAVOURITES)

    def catalogue(self) -> pa.Table:
        """All items, in the order of their ids."""
        return pa.table(
            {
                "item": np.arange(1, self._shop.items + 1),
                "name": [f"item {item}" for item in range(1, self._shop.items + 1)],
                "department": [f"department {kind // KINDS_A_DEPARTMENT}" for kind in self._kind],
                "kind": [f"kind {kind:06}" for kind in self._kind],
                "brand": [f"brand {brand}" for brand in self._brand],
            }
        )

    def each_day(self) -> Iterator[tuple[dt.date, pa.Table]]:
        """The rows of each day, oldest first."""
        shop = self._shop
        for day in days_between(shop.first, shop.last):
            after = (shop.last - day).days  # counted back, so that a longer history changes no later day
            rows = shop.rows * (after + 1) // shop.days - shop.rows * after // shop.days
            yield day, self._day(day, rows)

    def _day(self, day: dt.date, rows: int) -> pa.Table:
        random = np.random.default_rng([self._shop.seed, day.toordinal()])
        baskets = 1 + rows // ROWS_A_BASKET
        visitors = np.searchsorted(self._visits, random.random(baskets) * self._visits[-1])
        basket = np.sort(random.integers(0, baskets, rows))
        user = visitors[basket]
        item, quantity = self._bought(random, user), random.geometric(0.8, rows)
        place = np.arange(rows) - np.searchsorted(basket, basket)  # in the basket: a second for each
        second = random.integers(OPENS, CLOSES, baskets)[basket] + place
        return pa.table(
            {
                "user": user + 1,
                "item": item + 1,
                "at": np.datetime64(day, "us") + second.astype("timedelta64[s]"),
                "quantity": quantity,
                "amount": np.round(self._price[item] * quantity, 2),
                "basket": day.toordinal() * 10**8 + basket,
            }
        )

    def _bought(self, random: np.random.Generator, user: Ints) -> Ints:
        """What the user of each row took: one of the favourites, the first more often, or anything."""
        favourite = (FAVOURITES * random.random(len(user)) ** 2).astype(np.int64)
        again = random.random(len(user)) < FAVOURITE_SHARE
        return np.where(again, self._favourites[user, favourite], self._chosen(random, user))

    def _chosen(self, random: np.random.Generator, user: Ints) -> Ints:
        """What the user of each row likes, by topic or of all."""
        topic = self._liked[user, random.choice(len(TOPIC_SHARES), len(user), p=TOPIC_SHARES)]
        level = random.random(len(user))
        common = self._ranked[_ranks(level, np.int64(self._shop.items))]
        starts = np.cumsum(self._sizes) - self._sizes
        sizes = np.maximum(
            self._sizes[topic], 1
        )  # in a tiny shop a topic may have no item: the next one's then
        place = np.minimum(starts[topic] + _ranks(level, sizes), self._shop.items - 1)
        return np.where(random.random(len(user)) < COMMON_SHARE, common, self._by_topic[place])


def _ranks(level: Floats, count: Ints | np.int64) -> Ints:
    """Ranks from 0 by the inverse of their distribution, for levels from 0 to 1."""
    return (count * level / (16 + 1 - 16 * level)).astype(np.int64)
