"""The four feature tables as of one day, by other engines from the same files of the lake.

    python benchmarks/night_features.py duckdb PLAN.json

`benchmarks/night.py features` writes the plan, starts each engine as a process of its own, and compares
what it wrote with the lake's tables. Every feature is made but the codes of brand and category, which are
hashes of Spark's. Events are of one type and have an amount each, as those of the benchmark have.
"""

import datetime as dt
import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ENGINES = ("duckdb", "polars")
WINDOWS = ("short", "medium", "long")
HALF_LIVES = ("slow", "fast", "trip")
LEFT_OUT = ("brand_code", "category_code")


@dataclass(frozen=True)
class Plan:
    """What an engine has to do.

    Attributes
    ----------
    day
        The as-of day.
    interactions, catalogue
        Parquet files.
    out
        The folder of its tables, a file each, sorted by key.
    config
        The data set's section `features`.
    weight
        That of the event type.
    scales, halvings, units
        Of decayed weights, by half-life: the factor by which they are whole numbers, so that their sums
        depend on no order; how often those of the first day have halved; what 1 of a sum weighs.
    """

    day: str
    interactions: tuple[str, ...]
    catalogue: tuple[str, ...]
    out: str
    config: dict[str, int]
    weight: float
    scales: dict[str, int]
    halvings: dict[str, int]
    units: dict[str, float]

    @property
    def ordinal(self) -> int:
        """The as-of day as a number."""
        return dt.date.fromisoformat(self.day).toordinal()

    def weight_of(self, half_life: str) -> float:
        """The weight of a day with an event before it decays."""
        return 1.0 if half_life == "trip" else self.weight


def main() -> None:
    """Make the tables of a plan by an engine, without anything of ours that would take time too."""
    engine, file = sys.argv[1:]
    importlib.import_module(f"night_{engine}").make(Plan(**json.loads(Path(file).read_text())))


def write_plan(plan: Plan, file: Path) -> None:
    """Keep a plan where an engine's process finds it."""
    file.write_text(json.dumps(asdict(plan)))


if __name__ == "__main__":
    main()
