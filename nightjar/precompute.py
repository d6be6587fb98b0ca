"""The precompute stage: pin what the lists follow, build the release, check it, publish it.

The precompute record is the commit. The ledger follows it: what is published is what the *current*
record of the day names, so that a late retry never moves readers to a replaced release.
"""

import datetime as dt
import logging
import platform
import subprocess
from dataclasses import asdict
from importlib import metadata
from typing import Any

from lake import decisions, inputs, layout, ledger, messages
from lake.lake import Lake
from lake.partitions import stamp
from lake.records import STAGES, Draft, Record, Records, config_digest
from lake.settings import CHECKOUT
from lake.storage import Storage
from nightjar_reader import format as fmt
from precompute import changes
from precompute import publish as publishing
from precompute.changes import Changes
from precompute.publish import Candidate, Published
from precompute.run import DecisionPin, PrecomputeRequest, PrecomputeResult, folder_of, pinned, run
from training.registry import Registered
from training.run import TrainResult
from validation import report
from validation.gate import require

log = logging.getLogger(__name__)

STAGE = "precompute"
_LIBRARIES = ("annoy", "implicit", "numba", "numpy", "pyarrow", "scipy", "xgboost-cpu")


def prepare(day: dt.date, lake: Lake, threads: int) -> str:
    """Pin the day's features and the decision that its lists follow, and write the request.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    PermanentError
        When there is no feature record of `day`.
    """
    features = inputs.features_of(lake.records, day, STAGE)
    decision = decisions.serving(lake.records, day)
    request = PrecomputeRequest(
        attempt=layout.new_attempt(),
        day=day,
        features=features.sequence,
        decision=DecisionPin(decision.day, decision.sequence) if decision else None,
        version=STAGES[STAGE].version,
        config_digest=config_digest(STAGE, lake.data),
        based_on=lake.records.latest(STAGE, day),
        threads=threads,
    )
    messages.write(lake.storage, layout.request(request.attempt), request)
    return request.attempt


def build(attempt: str, lake: Lake) -> None:
    """Build the release that the attempt's request names, in the attempt's folder."""
    if lake.storage.exists(layout.result(attempt)):
        log.info("attempt %s has been built already", attempt)
        return
    result = run(messages.read(lake.storage, layout.request(attempt), PrecomputeRequest), lake)
    messages.write(lake.storage, layout.result(attempt), result)


def publish(
    attempt: str, lake: Lake, actor: str = "nightjar", reason: str = "nightly", force: bool = False
) -> Published:
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
    Published
        What became of the release that the day's current record names.

    Raises
    ------
    GateFailed
        When a critical check of the lists failed; nothing is published.
    Conflict
        When another run committed another release of that day meanwhile.
    """
    storage, releases = lake.storage, lake.releases
    request = messages.read(storage, layout.request(attempt), PrecomputeRequest)
    result = messages.read(storage, layout.result(attempt), PrecomputeResult)
    day = request.day.isoformat()
    current = publishing.current(publishing.entries(releases, whole=not force))
    compared = changes.compare(storage, lambda file: folder_of(attempt, file), releases, current)
    checks = [*result.checks, *changes.check(compared, lake.data.lists)]
    page = report.write(storage, STAGE, day, attempt, checks, {day: result.counts})
    require(checks, f"{STAGE} of {day}", page)
    publishing.put_release(
        storage,
        lambda file: folder_of(attempt, file),
        releases,
        result.release_id,
        result.manifest_sha256,
    )
    origin = fmt.provenance_path(result.release_id, attempt)
    releases.put_new(origin, ledger.encode(_provenance(request, result, lake, compared, actor, reason)))
    lake.records.commit(_draft(request, result, lake), request.based_on)
    return publishing.publish(releases, lambda: _candidate(lake.records, request.day), actor, reason, force)


def rollback(lake: Lake, release_id: str, reason: str, actor: str) -> Published:
    """Make readers follow a release that is there; the one they leave is not published again by itself.

    Raises
    ------
    PermanentError
        When no reason is given, or there is no such whole release.
    """
    return publishing.rollback(lake.releases, release_id, reason, actor)


def _draft(request: PrecomputeRequest, result: PrecomputeResult, lake: Lake) -> Draft:
    return Draft(
        stage=STAGE,
        partition=request.day.isoformat(),
        attempt=request.attempt,
        outcome="built",
        version=request.version,
        config_digest=request.config_digest,
        inputs=inputs.precompute_inputs(*pinned(lake.records, request)),
        counts=result.counts,
        details={"release_id": result.release_id, "manifest_sha256": result.manifest_sha256},
    )


def _candidate(records: Records, day: dt.date) -> Candidate:
    found: Record | None = records.current(STAGE, day)
    assert found is not None  # committed just before
    return Candidate(found.require("release_id"), found.require("manifest_sha256"), found.partition)


def _provenance(
    request: PrecomputeRequest,
    result: PrecomputeResult,
    lake: Lake,
    compared: Changes,
    actor: str,
    reason: str,
) -> dict[str, Any]:
    """What is true of this run, and not of the release's content."""
    _, decision = pinned(lake.records, request)
    return {
        "attempt": request.attempt,
        "actor": actor,
        "reason": reason,
        "written_at": stamp(),
        "features_record": request.features,
        "decision_record": decision and [decision.partition, decision.sequence],
        "mlflow": decision and _registration(lake.storage, decision),
        "churn_of_champion": decision and decisions.decision_of(decision).churn,
        "compared": asdict(compared),
        "seconds": result.timings,
        "index_latency_us": result.latency_us,
        "threads": request.threads,
        "commit": _commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "machine": asdict(result.machine),
        "trained_on": decision and _trained_on(lake.storage, decision),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }


def _registration(storage: Storage, decision: Record) -> dict[str, str]:
    """The version that the bundle has in MLflow, as far as the decision's own night came to know."""
    try:
        found = messages.read(storage, layout.registered(decision.attempt), Registered)
    except FileNotFoundError:
        return {"state": "behind: not registered when its night ended; a later night registers it"}
    return {"state": "registered", "version": found.version}


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
