"""What a stage is: one object with a name, what its fingerprint covers, and four verbs.

`nightjar.stages.attempt` does what is the same for all stages: it writes plans, runs them and commits.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from lake import layout
from lake.dataset import digest_of
from lake.errors import PermanentError
from lake.lake import Lake
from lake.names import StageName
from lake.plan import BLOCK_MIB, Plan
from lake.records import Draft, Input, Record, fingerprint
from validation.gate import Check, require

P = TypeVar("P", bound=Plan)
M = TypeVar("M")

Checks = Mapping[dt.date, Sequence[Check]]
"""The checks of each partition that can be committed, oldest first."""


@dataclass(frozen=True)
class Stage(ABC, Generic[P, M]):
    """A stage of the night; `P` is the kind of its plans, `M` the kind of its results.

    Attributes
    ----------
    NAME
        The stage.
    VERSION
        Raised when its code changes what comes out.
    SECTIONS
        The sections of the data set's TOML that it reads.
    READS
        The tables that its plans may pin; ``bundle`` is a decision's.
    PLAN, MADE
        The classes `P` and `M`.
    STEPS
        What its plan, its work and its commit do, for the terminal.
    PROGRAM
        The program in `spark_jobs` that is its work; empty where the work needs no Spark.
    FANS_OUT
        The program in `spark_jobs` that does a part of its work first, where Spark runs on a cluster.
    WHOLE
        Whether one refused partition refuses the whole attempt. Such an attempt is for its newest
        partition; the earlier ones serve it.
    threads, block_mib
        How many threads its work may use, and how much memory for a block of users; no result depends
        on them.
    """

    NAME: ClassVar[StageName]
    VERSION: ClassVar[int]
    SECTIONS: ClassVar[tuple[str, ...]]
    READS: ClassVar[tuple[str, ...]]
    PLAN: ClassVar[type[Plan]]
    MADE: ClassVar[type[Any]]
    STEPS: ClassVar[tuple[str, str, str]]
    PROGRAM: ClassVar[str] = ""
    FANS_OUT: ClassVar[str] = ""
    WHOLE: ClassVar[bool] = False

    threads: int = 1
    block_mib: int = BLOCK_MIB

    @abstractmethod
    def plan(self, lake: Lake, days: Sequence[dt.date]) -> P:
        """Plan all work for some days, in ascending order; `PermanentError` where it cannot be done."""

    @abstractmethod
    def run(self, lake: Lake, plan: P) -> M:
        """Do the work of a plan. No record names yet what it writes."""

    @abstractmethod
    def check(self, lake: Lake, plan: P, made: M) -> Checks:
        """Judge what was made."""

    @abstractmethod
    def draft(self, plan: P, made: M, day: dt.date) -> Draft:
        """The draft of a partition's record."""

    def require(self, lake: Lake, plan: P, day: dt.date, checks: Sequence[Check], report: str) -> None:
        """Refuse a partition by its checks; `GateFailed` names those that failed and the report."""
        require(checks, f"{self.NAME} of {day}", report)

    def put(self, lake: Lake, plan: P, made: M) -> None:
        """Put the files that a record names where others read them; called before it is appended."""

    def check_all(self, lake: Lake, plan: P, made: M) -> Sequence[Check]:
        """Checks of an attempt as a whole: where one fails no partition is committed."""
        return ()

    def follow(self, lake: Lake, plan: P, record: Record) -> None:
        """Put what follows a record; called after it is appended, also where it was there before."""

    def counts(self, plan: P, made: M) -> Mapping[str, Mapping[str, int]]:
        """The numbers that the report shows, by partition or table."""
        return {}

    def describe(self, records: Sequence[Record]) -> str:
        """What was committed, in a line for the log."""
        return f"{self.NAME} of {', '.join(record.partition for record in records)}: committed"

    def reads(self, lake: Lake, day: dt.date) -> tuple[Input, ...] | None:
        """The inputs of a run for a day now; None where one that it needs is missing."""
        return None

    def sections(self, lake: Lake) -> dict[str, Any]:
        """The sections that it reads, as they are now."""
        return lake.data.chosen(self.SECTIONS)

    def config_digest(self, lake: Lake) -> str:
        """SHA-256 (hex) of these sections."""
        return digest_of(self.sections(lake))

    def is_fresh(self, lake: Lake, day: dt.date) -> bool:
        """Whether the current record is what running the stage now would give."""
        record, inputs = lake.records.current(self.NAME, day), self.reads(lake, day)
        if record is None or inputs is None:
            return False
        return record.fingerprint == fingerprint(self.VERSION, self.config_digest(lake), inputs)

    def pins(self, lake: Lake, days: Sequence[dt.date]) -> dict[str, Any]:
        """The fields that all plans have, but for their inputs."""
        return {
            "stage": self.NAME,
            "attempt": layout.new_attempt(),
            "version": self.VERSION,
            "sections": self.sections(lake),
            "based_on": {day: lake.records.latest(self.NAME, day) for day in days},
        }


def features_of(lake: Lake, day: dt.date, stage: StageName) -> Record:
    """The current feature record of a day; `stage` is the one that needs it, for the message.

    Raises
    ------
    PermanentError
        When there is none.
    """
    record = lake.records.current(StageName.FEATURES, day)
    if record is None:
        raise PermanentError(
            f"{stage} {day}: there is no feature record of that day; "
            f"run `nightjar run features --partition {day}` first"
        )
    return record
