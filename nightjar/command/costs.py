"""What the stages of a night cost: coefficients, times what is known of a shop before its first night.

A stage's CPU-seconds are a sum of coefficients times drivers, and so is the most memory of its processes.
Its seconds follow from CPU-seconds by the share of them that cores do side by side (Amdahl). `benchmarks/
night.py fit` finds the coefficients from measured nights and writes them to `costs.json`.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

from lake import memory
from lake.names import StageName
from lake.sections import TrainingSection

GIB = 2**30
FILE = "costs.json"
BOOTSTRAP = "bootstrap"
STAGES = (BOOTSTRAP, *StageName)
SPARK = (BOOTSTRAP, StageName.INGEST, StageName.FEATURES)
"""The stages whose memory is that of Spark's JVM, which spills what its heap does not hold."""
BESIDE_HEAP_GIB = 1.0
"""What such a stage takes beside the heap of the JVM: Java's code and buffers, and Python. With full heaps of
7.9 and 4 GiB features took 8.9 and 4.9."""
PAIRS_AN_EVENT = 0.7
"""Different pairs of user and item for each event, where nobody counted them: 0.62 for the 1.1 million events
of the demo, 0.74 for 9 million that were generated."""
VISITS_AN_EVENT = 0.12
"""With n events each, a share of exp(-0.12 n) of users has none: events come in baskets, and some users come
often. So 0.47 and 0.50 of the users of two generated shops have one in a week; 0.46 and 0.51 were counted."""

_TRAINING = TrainingSection()


@dataclass(frozen=True)
class Shop:
    """What a planner knows.

    Attributes
    ----------
    users, items
        Those with an event.
    history_days
        Days of events that the night looks back on.
    pairs
        Different pairs of user and item in the history.
    """

    users: int
    items: int
    events_per_day: float
    history_days: int
    pairs: float

    @property
    def rows(self) -> float:
        """The events of the history."""
        return self.events_per_day * self.history_days

    @property
    def labelled_users(self) -> float:
        """The users with an event in a label window."""
        events = self.events_per_day * _TRAINING.label_days / self.users
        return self.users * (1 - math.exp(-VISITS_AN_EVENT * events))

    @property
    def ranked_users(self) -> float:
        """The users of a snapshot that the ranker learns from."""
        return min(self.labelled_users, _TRAINING.max_users)


@dataclass(frozen=True)
class Night:
    """What a night makes, because no night before it has.

    Attributes
    ----------
    as_of_days
        The days as of which it makes features.
    fits
        How often it fits ALS.
    sets
        The ranking sets.
    """

    as_of_days: int
    fits: int
    sets: int


FIRST = Night(_TRAINING.snapshots + 2, _TRAINING.snapshots + 2, _TRAINING.snapshots)
"""It makes its snapshots, the day that is evaluated and its own."""
LATER = Night(1, 1, 1)
"""From the second week on snapshots are days that had a night."""

Driver = Callable[[Shop, Night], float]
DRIVERS: Mapping[str, Driver] = {
    "fixed": lambda shop, night: 1,
    "days": lambda shop, night: shop.history_days,
    "rows": lambda shop, night: shop.rows,
    "events_per_day": lambda shop, night: shop.events_per_day,
    "users": lambda shop, night: shop.users,
    "items": lambda shop, night: shop.items,
    "pairs": lambda shop, night: shop.pairs,
    "labelled_users": lambda shop, night: shop.labelled_users,
    "ranked_users": lambda shop, night: shop.ranked_users,
    "as_of_days x pairs": lambda shop, night: night.as_of_days * shop.pairs,
    "fits x pairs": lambda shop, night: night.fits * shop.pairs,
    "sets x ranked_users": lambda shop, night: night.sets * shop.ranked_users,
}
CPU_DRIVERS: Mapping[str, tuple[str, ...]] = {
    BOOTSTRAP: ("fixed", "days", "rows"),
    StageName.INGEST: ("fixed", "events_per_day"),
    StageName.FEATURES: ("fixed", "pairs", "as_of_days x pairs"),
    StageName.TRAIN: ("fixed", "labelled_users", "ranked_users", "fits x pairs", "sets x ranked_users"),
    StageName.PRECOMPUTE: ("fixed", "users", "items"),
}
PEAK_DRIVERS: Mapping[str, tuple[str, ...]] = {
    BOOTSTRAP: ("fixed", "rows"),
    StageName.INGEST: ("fixed", "events_per_day"),
    StageName.FEATURES: ("fixed", "pairs"),  # those of a long history are made one after the other
    StageName.TRAIN: ("fixed", "pairs", "ranked_users"),
    StageName.PRECOMPUTE: ("fixed", "users", "items"),
}


@dataclass(frozen=True)
class Machine:
    """What nights run on.

    Attributes
    ----------
    memory_gib
        All that they may use.
    """

    cores: int
    memory_gib: float

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{self.cores} core{'s' * (self.cores > 1)}, {round(self.memory_gib, 1):g} GiB"

    @property
    def spark_memory(self) -> str:
        """The heap of Spark's JVM, as Spark spells it."""
        return memory.of_spark(int(self.memory_gib * GIB))

    @property
    def heap_gib(self) -> float:
        """The same in GiB."""
        return memory.spark_mib(int(self.memory_gib * GIB)) * memory.MIB / GIB


@dataclass(frozen=True)
class Need:
    """What a stage, or a night, needs.

    Attributes
    ----------
    seconds, cpu_seconds
        Of the clock on cores that have nothing else to do, and of all cores together.
    peak_gib
        The most memory of all processes.
    """

    seconds: float
    cpu_seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Cost:
    """What a stage costs.

    Attributes
    ----------
    cpu_seconds, peak_gib
        The coefficient of each driver; none is negative.
    parallel
        The share of its CPU-seconds that any number of cores does side by side, from 0 to 1.
    """

    cpu_seconds: Mapping[str, float]
    peak_gib: Mapping[str, float]
    parallel: float

    def need(self, shop: Shop, night: Night, cores: int, without: Collection[str] = ()) -> Need:
        """What it needs; of memory without what some drivers take."""
        cpu = total(self.cpu_seconds, shop, night)
        held = {name: number for name, number in self.peak_gib.items() if name not in without}
        seconds = cpu * (1 - self.parallel + self.parallel / cores)
        return Need(seconds, cpu, total(held, shop, night))


def total(coefficients: Mapping[str, float], shop: Shop, night: Night) -> float:
    """The sum of coefficients times drivers."""
    return sum(coefficient * DRIVERS[name](shop, night) for name, coefficient in coefficients.items())


@dataclass(frozen=True)
class Costs:
    """What all stages cost, and what that is known from.

    Attributes
    ----------
    machine
        What was measured: processor, cores, memory, vectors.
    commits
        The code that was measured.
    shops
        What was measured, in words.
    ranges
        The least and the most of each number in what was measured.
    stages
        By name.
    errors
        How far the seconds, CPU-seconds and peaks that follow lie from those that were measured, at most:
        0.1 is a tenth.
    """

    machine: Mapping[str, Any]
    commits: Sequence[str]
    shops: Sequence[str]
    ranges: Mapping[str, Sequence[int]]
    stages: Mapping[str, Cost]
    errors: Mapping[str, float] = field(default_factory=dict)

    def need(
        self, name: str, shop: Shop, night: Night, machine: Machine, without: Collection[str] = ()
    ) -> Need:
        """What a stage needs on a machine; of memory without what some drivers take."""
        need = self.stages[name].need(shop, night, machine.cores, without)
        bound = machine.heap_gib + BESIDE_HEAP_GIB if name in SPARK else math.inf
        return replace(need, peak_gib=min(need.peak_gib, bound))


def read(text: str) -> Costs:
    """What `benchmarks/night.py fit` wrote."""
    fields = json.loads(text)
    return Costs(**fields | {"stages": {name: Cost(**cost) for name, cost in fields["stages"].items()}})


@cache
def shipped() -> Costs:
    """The costs that came with the package."""
    return read(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))


def estimated_pairs(users: int, items: int, rows: float) -> float:
    """The different pairs of user and item of a history, where nobody counted them."""
    return min(PAIRS_AN_EVENT * rows, users * items)
