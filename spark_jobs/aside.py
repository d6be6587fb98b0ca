"""Rows that are set aside for what other rows say: copies, bots, returns that are settled."""

from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from lake.schemas import KIND, LANDED, RAW_ROW, REASONS, ROW_NUMBER, SOURCE_FILE

PLACE: Final = (SOURCE_FILE, ROW_NUMBER)
"""What tells a raw row from all others."""
WAS: Final = "was"
"""The kind that a row had before; null where it was clean."""
FIRST: Final = "first"
"""The first of the rows that a copy repeats, in words."""


def alone(frame: DataFrame) -> DataFrame:
    """The rows of a frame without the plan that made them, cached.

    Spark writes down the plan of a query whenever one of its stages ends, with those of all that is cached
    in it: where each step stands on the ones before, plans double with each.
    """
    return frame.localCheckpoint()


@dataclass(frozen=True)
class Rows:
    """Judged rows: whole ones, which are read from the files again, and what is cached of each."""

    whole: DataFrame
    cached: DataFrame

    @property
    def clean(self) -> DataFrame:
        """The cached ones that are clean."""
        return self.cached.where(f"{KIND} IS NULL")

    @property
    def returns(self) -> DataFrame:
        """The cached ones that are returns."""
        return self.cached.where(f"{KIND} = 'return'")

    def where(self, condition: str) -> "Rows":
        """The rows for which an SQL predicate holds."""
        return Rows(self.whole.where(condition), self.cached.where(condition))

    def without(self, aside: DataFrame | None) -> "Rows":
        """The same rows, but of the cached ones only those at other places than some that are set aside."""
        if aside is None:
            return self
        return Rows(self.whole, self.cached.join(aside.select(*PLACE), list(PLACE), "left_anti"))

    def set_aside(self, some: DataFrame, kind: str, reason: Column) -> DataFrame:
        """Some of the cached rows as they are set aside, cached."""
        marks = (fn.lit(kind).alias(KIND), fn.array(reason).alias(REASONS), fn.col(KIND).alias(WAS))
        raw_rows = self.whole.select(LANDED, *PLACE, RAW_ROW)
        return alone(raw_rows.join(some.select(*PLACE, *marks), list(PLACE)))
