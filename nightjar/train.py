"""The train stage: pin what it reads, train, and append the night's decision, whatever happened.

The decision is the record. MLflow follows it, and the mark that the night is decided ends the
waits of the next night.
"""

import datetime as dt
import logging
from dataclasses import asdict
from typing import Any

from lake import decisions, inputs, layout, messages
from lake.dataset import Dataset
from lake.decisions import Decision, Failure, Outcome
from lake.errors import PermanentError
from lake.lake import Lake
from lake.records import STAGES, Draft, Input, Record, config_digest
from training import registry
from training.evaluation import CHALLENGER, Evaluation
from training.run import TrainRequest, TrainResult, run

log = logging.getLogger(__name__)


def prepare(day: dt.date, lake: Lake, threads: int) -> str:
    """Pin what training reads and write the request.

    Returns
    -------
    str
        The attempt.

    Raises
    ------
    PermanentError
        When there is no feature record of `day`, or one that other settings made.
    """
    records = lake.records
    features = inputs.features_of(records, day, "train")
    _require_same_settings(features, lake.data)
    read = inputs.train_inputs(records, features, lake.data)
    pinned = {
        dt.date.fromisoformat(source.partition): source.sequence
        for source in read
        if source.name == "user_features"
    }
    attempt = layout.new_attempt()
    request = TrainRequest(
        attempt=attempt,
        day=day,
        features=features.sequence,
        snapshots={snapshot: sequence for snapshot, sequence in pinned.items() if snapshot < day},
        inputs=read,
        version=STAGES["train"].version,
        config_digest=config_digest("train", lake.data),
        based_on=records.latest("train", day),
        champion=decisions.champion(records, day),
        threads=threads,
    )
    messages.write(lake.storage, layout.request(attempt), request)
    return attempt


def _require_same_settings(features: Record, data: Dataset) -> None:
    """Else the bundle would say that its booster was trained on features that it has never seen."""
    now = STAGES["features"].version, config_digest("features", data)
    if (features.version, features.config_digest) != now:
        raise PermanentError(
            f"train {features.partition}: expected features by the settings as they are, found a record by "
            f"others; run `nightjar run features --partition {features.partition}` first"
        )


def train(attempt: str, lake: Lake) -> None:
    """Train and evaluate what the attempt's request names; the result is put beside it."""
    if lake.storage.exists(layout.result(attempt)):
        log.info("attempt %s has been trained already", attempt)
        return
    result = run(messages.read(lake.storage, layout.request(attempt), TrainRequest), lake)
    messages.write(lake.storage, layout.result(attempt), result)


def decide(
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
        What `prepare` gave; None where that failed.
    failure
        What ended the night before its decision. The decision is then *failed*, as it is where the
        attempt left no result.
    night
        The night's mark (`Records.open_night`); 0 for work outside of a night.

    Returns
    -------
    Record
        The decision, which may be *failed*: a caller that wants an error raises it.

    Raises
    ------
    PermanentError
        When there is no feature record of `day`: then there is no decision.
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
    request = _request(attempt, lake)
    result = None if failure else _result(attempt, lake)
    read = request.inputs if request else _inputs(day, lake)
    decision = _decided(request, result) if request and result else _failed(failure)
    draft = Draft(
        stage=decisions.STAGE,
        partition=day.isoformat(),
        attempt=attempt or layout.new_attempt(),
        outcome=decision.outcome,
        version=request.version if request else STAGES["train"].version,
        config_digest=request.config_digest if request else config_digest("train", lake.data),
        inputs=read,
        counts=result.counts if result else {},
        details=decisions.details(decision),
    )
    return lake.records.commit(draft, request.based_on if request else lake.records.latest("train", day))


def _inputs(day: dt.date, lake: Lake) -> tuple[Input, ...]:
    return inputs.train_inputs(lake.records, inputs.features_of(lake.records, day, "train"), lake.data)


def _request(attempt: str | None, lake: Lake) -> TrainRequest | None:
    if attempt is None:
        return None
    return messages.read(lake.storage, layout.request(attempt), TrainRequest)


def _result(attempt: str | None, lake: Lake) -> TrainResult | None:
    if attempt is None or not lake.storage.exists(layout.result(attempt)):
        return None
    return messages.read(lake.storage, layout.result(attempt), TrainResult)


def _failed(failure: Failure | None) -> Decision:
    known = failure or Failure("train", "no result: the process ended before it was written")
    return Decision(Outcome.FAILED, failure=known)


def _decided(request: TrainRequest, result: TrainResult) -> Decision:
    """What training found; the champion is lineage, and part of the content alone."""
    verdict = result.verdict
    return Decision(
        outcome=verdict.outcome,
        bundle_id=result.bundle_id,
        bundle_as_of=request.day,
        booster_as_of=_trained(request, verdict.outcome),
        baseline=verdict.baseline,
        reasons=verdict.reasons,
        checks=verdict.checks,
        champion=request.champion,
        metrics=_metrics(result.evaluation),
        evaluation=_evaluation(result.evaluation),
        notes=result.notes,
    )


def _trained(request: TrainRequest, outcome: Outcome) -> dt.date | None:
    """The day for which the bundle's booster was trained."""
    if outcome == Outcome.KEPT and request.champion:
        return request.champion.booster_as_of
    return request.day if outcome == Outcome.PROMOTED else None


def _metrics(evaluation: Evaluation | None) -> dict[str, dict[str, Any]]:
    """Value and interval by contestant and metric."""
    if evaluation is None:
        return {}
    return {
        name: {metric: asdict(estimate) for metric, estimate in score.metrics.items()}
        for name, score in evaluation.scores.items()
    }


def _evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    return {
        "as_of": evaluation.as_of.isoformat(),
        "users": evaluation.users,
        "cut": evaluation.cut,
        "best_baseline": evaluation.best_baseline,
        "gains": {name: asdict(gain) for name, gain in evaluation.gains.items()},
        "popularity": {name: score.popularity for name, score in evaluation.scores.items()},
        "churn": evaluation.churn,
    }


def _mirror(record: Record, lake: Lake) -> None:
    """Let MLflow follow; a note beside the attempt says which version the bundle has there."""

    def decided() -> list[registry.Version]:
        oldest_first = reversed(list(decisions.newest(lake.records, dt.date.max)))
        return [_version(decision, lake) for decision in oldest_first]

    numbers = registry.mirror(lake.mlflow_uri, lake.data.name, decided)
    if number := numbers.get(record.require("bundle_id")):
        messages.write(lake.storage, layout.registered(record.attempt), registry.Registered(number))


def _version(record: Record, lake: Lake) -> registry.Version:
    decision, features = decisions.decision_of(record), record.inputs_of("user_features")[-1]
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
    scores = decision.ndcg() if CHALLENGER in decision.metrics else {}
    return {f"ndcg_{name}": repr(score) for name, score in scores.items()}
