"""Precompute: features and the newest decision become a release, which is put and made current.

The precompute record is the commit. The ledger follows it: what is published is what the *current*
record of the day names, so that a late retry never moves readers to a replaced release.
"""

import datetime as dt
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any, ClassVar

from lake import decisions, layout, ledger, messages
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.partitions import stamp
from lake.plan import Ending
from lake.records import BUNDLE, Draft, Input, Record, Records
from lake.settings import CHECKOUT
from lake.storage import Storage
from nightjar.stages import attempt as attempts
from nightjar.stages.stage import Checks, Stage, features_of
from nightjar_reader import format as fmt
from precompute import changes
from precompute import publish as publishing
from precompute.build import PrecomputeResult, run
from precompute.changes import Changes
from precompute.publish import Candidate, Publication
from spark_jobs.plans import PrecomputePlan
from training.models import TrainResult
from training.registry import Registered

_LIBRARIES = ("annoy", "implicit", "numba", "numpy", "pyarrow", "scipy", "xgboost-cpu")


@dataclass(frozen=True)
class Precompute(Stage[PrecomputePlan, PrecomputeResult]):
    """The last stage of a night.

    Attributes
    ----------
    whole_ledger
        Whether a damaged entry of the ledger, which may hide a newer release, is an error.
    """

    NAME: ClassVar = StageName.PRECOMPUTE
    VERSION: ClassVar = 3
    SECTIONS: ClassVar = ("id_type", "repeats", "events", "features", "candidates", "lists", "index")
    READS: ClassVar = (*FEATURES, TableName.CATALOGUE, BUNDLE)
    PLAN: ClassVar = PrecomputePlan
    MADE: ClassVar = PrecomputeResult
    FANS_OUT: ClassVar = "score"
    STEPS: ClassVar = ("pin what is read", "lists and index", "validate and publish")

    whole_ledger: bool = True

    def plan(self, lake: Lake, days: Sequence[dt.date]) -> PrecomputePlan:
        """Pin the features of a day and the decision that its lists follow.

        Raises
        ------
        PermanentError
            When there is no feature record of the day.
        """
        (day,) = days
        inputs = _inputs(lake, features_of(lake, day, self.NAME))
        return PrecomputePlan(
            **self.pins(lake, [day]),
            inputs=inputs,
            lake=lake.uri,
            threads=self.threads,
            block_mib=self.block_mib,
        )

    def run(self, lake: Lake, plan: PrecomputePlan) -> PrecomputeResult:
        """Build the release's files, and put them beside other releases; they lack their manifest yet."""
        return run(plan, lake)

    def check(self, lake: Lake, plan: PrecomputePlan, made: PrecomputeResult) -> Checks:
        """The checks of the build, and what the release would change for users."""
        compared = self._compare(lake, plan, made)
        return {plan.day: [*made.checks, *changes.check(compared, plan.config.lists)]}

    def _compare(self, lake: Lake, plan: PrecomputePlan, made: PrecomputeResult) -> Changes:
        """Compare the release with what readers follow; the first comparison stays, also for a retry."""
        current = publishing.current(publishing.entries(lake.releases, whole=self.whole_ledger))
        compared = changes.compare(lake.releases, made.manifest.encode(), current)
        messages.write(lake.storage, layout.changes(plan.attempt), compared)
        return messages.read(lake.storage, layout.changes(plan.attempt), Changes)

    def put(self, lake: Lake, plan: PrecomputePlan, made: PrecomputeResult) -> None:
        """Put the manifest, which makes a release; no entry of the ledger names it yet."""
        publishing.put_manifest(lake.releases, made.manifest.encode())

    def draft(self, plan: PrecomputePlan, made: PrecomputeResult, day: dt.date) -> Draft:
        """The draft of a record, which names the release."""
        return replace(
            plan.draft(day, Ending.BUILT),
            counts=made.counts,
            details={"release_id": made.release_id, "manifest_sha256": made.manifest_sha256},
        )

    def counts(self, plan: PrecomputePlan, made: PrecomputeResult) -> Mapping[str, Mapping[str, int]]:
        """The sizes of the release."""
        return {plan.day.isoformat(): made.counts}

    def reads(self, lake: Lake, day: dt.date) -> tuple[Input, ...] | None:
        """The current features and catalogue of a day, and the bundle that its lists would follow."""
        features = lake.records.current(StageName.FEATURES, day)
        return _inputs(lake, features) if features else None


def _inputs(lake: Lake, features: Record) -> tuple[Input, ...]:
    """Features and pinned catalogue of D, and the decision's bundle."""
    decision = decisions.serving(lake.records, features.day)
    bundle = [decisions.bundle_input(decision, features)] if decision else []
    tables = (features.as_input(table) for table in FEATURES)
    return (*tables, *features.inputs_of(TableName.CATALOGUE), *bundle)


def commit_and_publish(
    attempt: str, lake: Lake, actor: str = "nightjar", reason: str = "nightly", force: bool = False
) -> Publication:
    """Check what an attempt built, put the release, commit, and make it current.

    Parameters
    ----------
    actor, reason
        Who and why; kept in the ledger.
    force
        Also make a release current that is older than the newest ever published, or that was
        rolled back from.

    Returns
    -------
    Publication
        What became of the release that the day's current record names.

    Raises
    ------
    GateFailed
        When a critical check of the lists failed; nothing is published.
    Conflict
        When another run committed another release of that day meanwhile.
    """
    stage, releases = Precompute(whole_ledger=not force), lake.releases
    attempts.commit(lake, stage, attempt)
    plan, made = attempts.read_plan(lake, stage, attempt), attempts.read_made(lake, stage, attempt)
    origin = fmt.provenance_path(made.release_id, attempt)
    releases.put_new(origin, ledger.encode(_provenance(plan, made, lake, actor, reason)))
    return publishing.make_current(releases, lambda: _candidate(lake.records, plan.day), actor, reason, force)


def _candidate(records: Records, day: dt.date) -> Candidate:
    record = records.current(Precompute.NAME, day)
    assert record is not None  # committed just before
    return Candidate(record.require("release_id"), record.require("manifest_sha256"), record.partition)


def _provenance(
    plan: PrecomputePlan, made: PrecomputeResult, lake: Lake, actor: str, reason: str
) -> dict[str, Any]:
    """Facts of this run that are no part of the release's content."""
    decision = plan.decision(lake.records)
    compared = messages.read(lake.storage, layout.changes(plan.attempt), Changes)
    return {
        "attempt": plan.attempt,
        "actor": actor,
        "reason": reason,
        "written_at": stamp(),
        "features_record": plan.features(lake.records).sequence,
        "decision_record": decision and [decision.partition, decision.sequence],
        "mlflow": decision and _registration(lake.storage, decision),
        "churn_of_champion": decision and decisions.decision_of(decision).churn,
        "compared": asdict(compared),
        "seconds": made.timings,
        "index_latency_us": made.latency_us,
        "threads": plan.threads,
        "commit": _commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "machine": asdict(made.machine),
        "trained_on": decision and _trained_on(lake.storage, decision),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }


def _registration(storage: Storage, decision: Record) -> dict[str, str]:
    """The bundle's version in MLflow, as the night of its decision knew it."""
    try:
        bundle = messages.read(storage, layout.registered(decision.attempt), Registered)
    except FileNotFoundError:
        return {"state": "behind: not registered when its night ended; a later night registers it"}
    return {"state": "registered", "version": bundle.version}


def _trained_on(storage: Storage, decision: Record) -> dict[str, Any] | None:
    """The machine of the decision's factors and booster; None where training failed."""
    try:
        return asdict(messages.read(storage, layout.result(decision.attempt), TrainResult).machine)
    except FileNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the code that runs; None where it is no git checkout."""
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
