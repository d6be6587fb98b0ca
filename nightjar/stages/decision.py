"""The decision of a night: appended whatever happened before it, and followed by MLflow.

The decision is the record. The mark that the night is decided ends the waits of the next night.
"""

import datetime as dt
from dataclasses import replace

from lake import decisions, layout, messages
from lake.decisions import Decision, Failure, Outcome
from lake.lake import Lake
from lake.names import TableName
from lake.records import Record
from nightjar.stages import attempt as attempts
from nightjar.stages.stage import features_of
from nightjar.stages.train import Train, train_inputs
from training import registry
from training.evaluation import CHALLENGER
from training.snapshots import TrainPlan

_NO_RESULT = Failure(Train.NAME, "no result: the process ended before it was written")


def commit_decision(
    day: dt.date,
    attempt: str | None,
    lake: Lake,
    failure: Failure | None = None,
    night: int = 0,
) -> Record:
    """Append the decision of a night, mirror it to MLflow, and mark the night as decided.

    Parameters
    ----------
    attempt
        That of the training; None where it never began.
    failure
        The error that ended the night before its decision. With it the decision is *failed*, as it
        is where the attempt left no result.
    night
        The night's mark (`Records.open_night`); 0 for work outside of a night.

    Returns
    -------
    Record
        The decision, which may be *failed*: a caller that wants an error raises it.

    Raises
    ------
    PermanentError
        When `day` has no feature record; no decision is appended then.
    Conflict
        When another run has decided otherwise meanwhile.
    """
    try:
        record = _commit(day, attempt, lake, failure)
    finally:
        if night:
            lake.records.mark_decided(day, night)
    if record.outcome != Outcome.FAILED:
        _mirror(record, lake)
    return record


def _commit(day: dt.date, attempt: str | None, lake: Lake, failure: Failure | None) -> Record:
    stage = Train()
    if attempt and not failure and lake.storage.exists(layout.result(attempt)):
        (record,) = attempts.commit(lake, stage, attempt)
        return record
    plan = attempts.read_plan(lake, stage, attempt) if attempt else _unstarted_plan(day, lake, stage)
    decision = Decision(Outcome.FAILED, failure=failure or _NO_RESULT)
    draft = replace(plan.draft(day, decision.outcome), details=decisions.details(decision))
    return lake.records.commit(draft, plan.based_on[day])


def _unstarted_plan(day: dt.date, lake: Lake, stage: Train) -> TrainPlan:
    """The plan of a training that never began: what it would have read."""
    inputs = train_inputs(lake, features_of(lake, day, stage.NAME))
    return TrainPlan(**stage.pins(lake, [day]), inputs=inputs)


def _mirror(record: Record, lake: Lake) -> None:
    """Make MLflow follow; a file beside the attempt keeps the version that the bundle has there."""

    def versions() -> list[registry.Version]:
        oldest_first = reversed(list(decisions.newest(lake.records, dt.date.max)))
        return [_version(decision, lake) for decision in oldest_first]

    numbers = registry.mirror(lake.mlflow_uri, lake.data.name, versions)
    if number := numbers.get(record.require("bundle_id")):
        messages.write(lake.storage, layout.registered(record.attempt), registry.Registered(number))


def _version(record: Record, lake: Lake) -> registry.Version:
    decision, features = decisions.decision_of(record), record.inputs_of(TableName.USERS)[-1]
    bundle_id = record.require("bundle_id")
    return registry.Version(
        bundle_id=bundle_id,
        as_of=record.partition,
        outcome=decision.outcome,
        source=lake.storage.uri(layout.bundle(bundle_id)),
        tags={
            "dataset": lake.data.name,
            "fingerprint": record.fingerprint,
            "train_record": str(record.sequence),
            "features_record": str(features.sequence),
            "baseline": decision.baseline or "",
            **_ndcg_tags(decision),
        },
    )


def _ndcg_tags(decision: Decision) -> dict[str, str]:
    """The NDCG of each contestant, where there was a challenger."""
    metrics = decision.metrics if CHALLENGER in decision.metrics else {}
    return {f"ndcg_{name}": repr(scores["ndcg"]["value"]) for name, scores in metrics.items()}
