"""The lists of some buckets of a plan's day: the work of a task on a cluster."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lake import layout, messages
from lake.disk import sha256_of
from lake.records import Records
from lake.storage import Storage, open_storage, put_equal
from nightjar_reader import format as fmt
from recommender import asof, bundle
from recommender.userlists import Made, Making, Totals
from spark_jobs.plans import PrecomputePlan

OTHER_BYTES = (
    ": this attempt was built before, from something else; run precompute again, which starts a new attempt"
)


@dataclass(frozen=True)
class ScoreResult:
    """The lists that Spark made; their files lie in the attempt's folder, as a release's.

    Attributes
    ----------
    files
        SHA-256 (hex) of each, by its path in the release.
    """

    made: Made
    files: dict[str, str]


@dataclass(frozen=True)
class Part:
    """The lists of some buckets.

    Attributes
    ----------
    totals
        What they add up to.
    files
        SHA-256 (hex) of each file, by its path in the release.
    """

    totals: Totals
    files: Mapping[str, str]

    def merge(self, other: "Part") -> "Part":
        """Take another part into this one, whose totals change."""
        self.totals.merge(other.totals)
        return Part(self.totals, {**self.files, **other.files})


@dataclass(frozen=True)
class Task:
    """What all tasks of a job have to know.

    Attributes
    ----------
    lake, attempt
        Where the plan lies.
    threads
        How many a task may use.
    environment
        The variables with which it reaches the lake; they may hold keys.
    """

    lake: str
    attempt: str
    threads: int
    environment: Mapping[str, str] = field(repr=False)

    def write(self, numbers: Sequence[int]) -> Part:
        """Put the files of some buckets into the attempt's folder.

        A task may run twice, also at once: its files have the same bytes then.
        """
        os.environ.update(self.environment)
        making = _load_once(self.lake, self.attempt, self.threads)
        with tempfile.TemporaryDirectory(prefix="nightjar-") as scratch:
            totals = making.write(Path(scratch), numbers)
            return Part(
                totals, {path: self._put(Path(scratch), path) for path in map(fmt.lists_path, numbers)}
            )

    def _put(self, folder: Path, path: str) -> str:
        target = layout.made_for(self.attempt, path)
        put_equal(open_storage(self.lake), target, folder / path, OTHER_BYTES)
        return sha256_of(folder / path)


@lru_cache(maxsize=1)
def _load_once(lake: str, attempt: str, threads: int) -> Making:
    """What is small is read once by each process: Spark gives it one task after the other."""
    storage = open_storage(lake)
    plan = messages.read(storage, layout.plan(attempt), PrecomputePlan)
    return load(plan, storage, Records(storage), threads)


def load(plan: PrecomputePlan, storage: Storage, records: Records, threads: int) -> Making:
    """Read what is small of a plan's day, and the bundle that its lists follow."""
    features, decision = plan.features(records), plan.decision(records)
    return Making(
        asof.load(storage, records, features, plan.config, plan.block_mib),
        bundle.load(storage, decision.require("bundle_id")) if decision else None,
        plan.config,
        threads,
    )
