"""What became of the rows of each day: their counts, their hours, and a sample of each reason."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from lake.errors import PermanentError
from lake.records import TableContent
from lake.schemas import KIND, LANDED, REASONS, ROW_NUMBER, SOURCE_FILE
from spark_jobs import judge
from spark_jobs.among import Found
from spark_jobs.aside import FIRST, WAS
from spark_jobs.judge import HOUR, NAMED, NOTES, Delivery
from spark_jobs.rawfaults import require_all_read
from validation.rules import BOT, CONFLICTING, REPEATED

_COUNTED_APART = {REPEATED: f"bad_{REPEATED}", CONFLICTING: "conflicting"}
"""Of repeated rows the reasons that have a count of their own."""


@dataclass(frozen=True)
class Tally:
    """The statistics of one delivery, for each day: its counts, its rows by hour, a sample of each reason."""

    delivery: Delivery
    counts: dict[dt.date, dict[str, int]]
    hours: dict[dt.date, dict[int, int]] = field(default_factory=dict)
    samples: dict[dt.date, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, delivery: Delivery, days: Iterable[dt.date]) -> "Tally":
        """A tally of no rows."""
        return cls(delivery, {day: dict.fromkeys(_count_names(delivery), 0) for day in days})

    def count(self, cached: DataFrame, found: Found) -> None:
        """Fill in the counts of every day, and compare the rows read with those that the files hold.

        Raises
        ------
        DayFault
            When Spark read another number of rows of a day.
        """
        self._count_judged(cached)
        self._count_found(found)
        prefix = self.delivery.prefix
        for day, counts in self.counts.items():
            counts[f"{prefix}clean"] = counts[f"{prefix}read"] - self._aside(day)
            files = [file for file in self.delivery.files if file.day == day]
            require_all_read(day, counts[f"{prefix}read"], files)

    def _count_judged(self, cached: DataFrame) -> None:
        of_items, zone = self.delivery.prefix, self.delivery.zone
        hour = fn.lit(None).cast("int").alias(HOUR) if of_items else judge.hour(zone)
        for row in cached.groupBy(LANDED, hour).agg(*_aggregates(self.delivery)).collect():
            counts = row.asDict()
            day, hour_of_day = counts.pop(LANDED), counts.pop(HOUR)
            self._add(day, counts)
            if hour_of_day is not None:
                self.hours.setdefault(day, {})[hour_of_day] = counts[f"{self.delivery.prefix}read"]

    def _count_found(self, found: Found) -> None:
        prefix = self.delivery.prefix
        for row in found.aside.groupBy(LANDED, KIND, REASONS, WAS).count().collect() if found.aside else ():
            apart = (name for reason, name in _COUNTED_APART.items() if reason in row[REASONS])
            self._add(row[LANDED], {f"{prefix}{name}": row["count"] for name in (row[KIND], *apart)})
            if row[WAS]:
                self._add(row[LANDED], {f"{prefix}{row[WAS]}": -row["count"]})
        for row in found.smaller.groupBy(LANDED).count().collect() if found.smaller else ():
            self._add(row[LANDED], {"smaller": row["count"]})

    def _add(self, day: dt.date, more: Mapping[str, int]) -> None:
        for name, count in more.items():
            self.counts[day][name] += count

    def _aside(self, day: dt.date) -> int:
        return sum(self.counts[day][f"{self.delivery.prefix}{kind}"] for kind in self.delivery.kinds)

    def sample(self, cached: DataFrame, aside: DataFrame | None, found: Found) -> None:
        """Fill in a sample of each reason, and of each column with rounded numbers.

        Parameters
        ----------
        aside
            The rows that were written as set aside; None without any.
        """
        if aside:
            self.samples.update(judge.samples(aside, REASONS, self.delivery))
        if any(n for counts in self.counts.values() for name, n in counts.items() if "rounded_" in name):
            rounded = judge.samples(cached.where(fn.col(KIND).isNull()), NOTES, self.delivery)
            for day, samples in rounded.items():
                self.samples[day] = self.samples.get(day, {}) | samples
        for day, names in found.bots.items():
            self.samples[day][BOT] = names
        if found.aside and any(counts.get("conflicting") for counts in self.counts.values()):
            self._sample_conflicts(found.aside)

    def _sample_conflicts(self, aside: DataFrame) -> None:
        """Add to the sample of conflicting copies which row came first."""
        conflicts = aside.where(fn.array_contains(REASONS, CONFLICTING))
        top = fn.min(fn.struct(SOURCE_FILE, ROW_NUMBER, FIRST)).alias("row")
        for day, row in conflicts.groupBy(LANDED).agg(top).collect():
            self.samples[day][CONFLICTING] += f"; {row[FIRST]} came first"

    def balance(self, contents: Mapping[str, Mapping[dt.date, TableContent]]) -> None:
        """Compare the rows that were written, clean and set aside, with the counts of each day.

        Raises
        ------
        PermanentError
            When they differ.
        """
        table, prefix = self.delivery.table, self.delivery.prefix
        for day, written in contents[table].items():
            counts = self.counts[day]
            clean, aside = written.rows, contents[self.delivery.aside][day].rows
            expected = counts[f"{prefix}clean"], self._aside(day)
            if (clean, aside) != expected:
                raise PermanentError(
                    f"{day}: of {counts[f'{prefix}read']} rows read for {table} {clean} were written as "
                    f"clean and {aside} set aside; expected {expected[0]} and {expected[1]}; "
                    "please report this"
                )


def _count_names(delivery: Delivery) -> Iterator[str]:
    """The names of a delivery's counts."""
    names = ["read", "clean", *delivery.kinds]
    names += ["unnamed", "conflicting"] if delivery.key else []
    names += ["smaller"] if "netted" in delivery.later else []
    names += [f"rounded_{rule.column}" for rule in delivery.rules if rule.kind == "rounded"]
    names += [f"bad_{name}" for name in _faults(delivery)]
    return (f"{delivery.prefix}{name}" for name in names)


def _faults(delivery: Delivery) -> list[str]:
    """The reasons that a bad row of a delivery may have."""
    return delivery.named("bad") + delivery.named("return") + ([REPEATED] if delivery.prefix else [])


def _aggregates(delivery: Delivery) -> list[Column]:
    kinds = {
        kind: fn.col(KIND) == kind for kind in delivery.kinds if kind not in ("duplicate", *delivery.later)
    }
    faults = {
        f"bad_{name}": kinds["bad"] & fn.array_contains(REASONS, name)
        for name in _faults(delivery)
        if name != REPEATED
    }
    notes = {
        f"rounded_{rule.column}": fn.array_contains(NOTES, rule.name) & fn.col(KIND).isNull()
        for rule in delivery.rules
        if rule.kind == "rounded"
    }
    unnamed = {"unnamed": ~fn.col(NAMED) & fn.col(KIND).isNull()} if delivery.key else {}
    every = {"read": fn.lit(True)} | kinds | faults | notes | unnamed
    return [fn.count_if(condition).alias(f"{delivery.prefix}{name}") for name, condition in every.items()]
