"""What nights of a shop need on a machine, and how they are run there."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lake.names import StageName
from lake.plan import BLOCK_MIB
from lake.settings import Tasks
from nightjar.command.costs import BOOTSTRAP, FIRST, LATER, STAGES, Costs, Machine, Need, Night, Shop

HOUR = 3600
AIRFLOW_GIB = 1.5
"""What Airflow takes beside a night."""
RANKER = "ranked_users"
"""The driver of the memory for the rows that XGBoost learns from, which may lie on disk."""
ON_A_CLUSTER = (StageName.INGEST, StageName.FEATURES, StageName.PRECOMPUTE)
"""The stages that a cluster takes over, in whole or for the most part."""
LIMIT = Tasks.model_fields["heavy_timeout"].default.total_seconds()
"""How many seconds a task may take where nothing is set. A later night that needs more needs a cluster."""
MARGIN = 4 / 3
"""How many times the time said a task is given: what is said is meant to be within a third."""


@dataclass(frozen=True)
class Forecast:
    """What nights of a shop need on a machine."""

    costs: Costs
    shop: Shop
    machine: Machine

    def needs(self, night: Night, without: Collection[str] = ()) -> dict[str, Need]:
        """What each stage of a night needs; of memory without what some drivers take."""
        names = [name for name in STAGES if name != BOOTSTRAP or night == FIRST]
        return {name: self.costs.need(name, self.shop, night, self.machine, without) for name in names}

    def peak(self, without: Collection[str] = ()) -> float:
        """The most memory of all stages of the first night."""
        return together(self.needs(FIRST, without).values()).peak_gib


def together(needs: Collection[Need]) -> Need:
    """What stages need one after the other."""
    return Need(
        sum(need.seconds for need in needs),
        sum(need.cpu_seconds for need in needs),
        max(need.peak_gib for need in needs),
    )


@dataclass(frozen=True)
class Profile:
    """How to run the nights of a shop on a machine.

    Attributes
    ----------
    settings
        The variables that say so.
    reasons
        Sentences.
    """

    settings: Mapping[str, str]
    reasons: tuple[str, ...]


def profile(forecast: Forecast) -> Profile:
    """Choose between this machine, the ranker on its disk, more memory and a cluster."""
    parts = [part(forecast) for part in (_place, _memory, _time)]
    settings = {name: text for part in parts for name, text in part.settings.items()}
    return Profile(settings, tuple(reason for part in parts for reason in part.reasons))


def _place(forecast: Forecast) -> Profile:
    """On this machine, unless a stage that a cluster takes over is too slow on later nights."""
    needs, machine = forecast.needs(LATER), forecast.machine
    slow = {name: needs[name] for name in ON_A_CLUSTER if needs[name].seconds > LIMIT}
    if slow:
        hours = ", ".join(f"{name} {need.seconds / HOUR:.1f} h" for name, need in slow.items())
        why = (
            f"a cluster (docs/cluster.md): with {machine} later nights take {hours}, and a task may take "
            f"{LIMIT / HOUR:.0f} h. Nights on a cluster were not measured"
        )
        return Profile({"SPARK_MASTER": "spark://HOST:7077"}, (why,))
    why = f"this machine: later nights have no stage for a cluster that takes more than {LIMIT / HOUR:.0f} h"
    return Profile({"SPARK_MASTER": f"local[{machine.cores}]", "THREADS": f"{machine.cores}"}, (why,))


def _memory(forecast: Forecast) -> Profile:
    """The ranker in memory where it fits, else on disk; a cluster takes no memory off training."""
    machine = forecast.machine
    room = machine.memory_gib - AIRFLOW_GIB
    settings = {"SPARK_MEMORY": machine.spark_memory, "BLOCK_MIB": f"{BLOCK_MIB}"}
    held, on_disk = forecast.peak(), forecast.peak(without=[RANKER])
    has = f"{round(machine.memory_gib, 1):g} GiB, of which Airflow takes {AIRFLOW_GIB:g}"
    if held <= room:
        return Profile(settings, (f"its memory suffices: {held:.1f} GiB at most of {has}",))
    settings |= {"RANKER_ON_DISK": "true"}
    if on_disk <= room:
        why = f"the ranker on disk: with its rows in memory {held:.1f} GiB of {has}, without {on_disk:.1f}"
        return Profile(settings, (why,))
    least = math.ceil(on_disk + AIRFLOW_GIB)
    why = f"more memory, {least} GiB or more: {on_disk:.1f} GiB of {has}, and a cluster takes none of it off"
    return Profile(settings, (why,))


def _time(forecast: Forecast) -> Profile:
    """More time for the longest task of the first night, where it may not end in time."""
    name, need = max(forecast.needs(FIRST).items(), key=lambda item: item[1].seconds)
    wanted = need.seconds * MARGIN
    if wanted <= LIMIT:
        return Profile({}, ())
    hours = math.ceil(wanted / HOUR)
    why = f"more time for tasks on the first night: {name} takes {need.seconds / HOUR:.1f} h"
    return Profile({"HEAVY_TIMEOUT": f"{hours * HOUR}"}, (why,))
