"""Train: features become a bundle, and the night's decision about it.

The record is appended by `nightjar.stages.decision`, whatever happened before.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from lake import decisions
from lake.decisions import Decision, Outcome
from lake.errors import PermanentError
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.names import StageName, TableName
from lake.records import Draft, Input, Record
from nightjar.stages.features import Features, snapshot_days
from nightjar.stages.stage import Checks, Stage, features_of
from training.evaluation import Evaluation
from training.models import TrainResult, run
from training.snapshots import TrainPlan
from training.spark_als import Submit, nowhere


@dataclass(frozen=True)
class Train(Stage[TrainPlan, TrainResult]):
    """Trains the models, and compares them with the champion and the baselines.

    Attributes
    ----------
    ranker_on_disk
        Whether the rows that the ranker learns from lie on disk, not in memory.
    submit
        Runs a Spark job of an attempt; its work asks for one where `retrieval.backend` is ``spark``.
    """

    NAME: ClassVar = StageName.TRAIN
    VERSION: ClassVar = 3
    SECTIONS: ClassVar = (
        "id_type",
        "zone",
        "repeats",
        "events",
        "features",
        "retrieval",
        "candidates",
        "training",
        "ranker",
        "evaluation",
        "promotion",
    )
    READS: ClassVar = (*FEATURES, TableName.INTERACTIONS, TableName.CATALOGUE)
    PLAN: ClassVar = TrainPlan
    MADE: ClassVar = TrainResult
    STEPS: ClassVar = ("pin what is read", "retrieval, ranker, evaluation", "decide")

    ranker_on_disk: bool = False
    submit: Submit = nowhere

    def plan(self, lake: Lake, days: Sequence[dt.date]) -> TrainPlan:
        """Pin the features of a day and of its snapshots, and the champion that the challenger meets.

        Raises
        ------
        PermanentError
            When the day has no feature record, or other settings made it.
        """
        (day,) = days
        features = features_of(lake, day, self.NAME)
        _require_same_settings(features, lake)
        return TrainPlan(
            **self.pins(lake, [day]),
            inputs=train_inputs(lake, features),
            champion=decisions.champion(lake.records, day),
            threads=self.threads,
            block_mib=self.block_mib,
            ranker_on_disk=self.ranker_on_disk,
        )

    def run(self, lake: Lake, plan: TrainPlan) -> TrainResult:
        """Train, evaluate, and store the bundle."""
        return run(plan, lake, self.submit)

    def check(self, lake: Lake, plan: TrainPlan, made: TrainResult) -> Checks:
        """No checks: the gate between models has judged, and every verdict is a decision."""
        return {plan.day: []}

    def draft(self, plan: TrainPlan, made: TrainResult, day: dt.date) -> Draft:
        """The draft of a decision."""
        decision = _decision(plan, made)
        draft = plan.draft(day, decision.outcome)
        return replace(draft, counts=made.counts, details=decisions.details(decision))

    def reads(self, lake: Lake, day: dt.date) -> tuple[Input, ...] | None:
        """What training reads of the current features of a day."""
        features = lake.records.current(StageName.FEATURES, day)
        return train_inputs(lake, features) if features else None


def train_inputs(lake: Lake, features: Record) -> tuple[Input, ...]:
    """Features of D and of its snapshots, and the pinned interactions (labels) and catalogue.

    Interactions and catalogue are those that the features of D were made of, so that no stage mixes
    two states of a day.
    """
    days = snapshot_days(features.day, lake.data)
    snapshots = [lake.records.current(StageName.FEATURES, day) for day in days]
    records = [record for record in snapshots if record] + [features]
    tables = tuple(record.as_input(table) for record in records for table in FEATURES)
    first_label = min(record.partition for record in records)
    labels = (pin for pin in features.inputs_of(TableName.INTERACTIONS) if pin.partition > first_label)
    return (*tables, *labels, *features.inputs_of(TableName.CATALOGUE))


def _require_same_settings(features: Record, lake: Lake) -> None:
    """Refuse features of other settings: the bundle would claim a training that never saw them."""
    stage = Features()
    if (features.version, features.config_digest) != (stage.VERSION, stage.config_digest(lake)):
        raise PermanentError(
            f"train {features.partition}: expected features by the settings as they are, found a record by "
            f"others; run `nightjar run features --partition {features.partition}` first"
        )


def _decision(plan: TrainPlan, made: TrainResult) -> Decision:
    """The decision of a training. The champion is lineage: part of its content, but no input."""
    verdict = made.verdict
    return Decision(
        outcome=verdict.outcome,
        bundle_id=made.bundle_id,
        bundle_as_of=plan.day,
        booster_as_of=_trained(plan, verdict.outcome),
        baseline=verdict.baseline,
        reasons=verdict.reasons,
        checks=verdict.checks,
        champion=plan.champion,
        metrics=_metrics(made.evaluation),
        evaluation=_evaluation(made.evaluation),
        notes=made.notes,
    )


def _trained(plan: TrainPlan, outcome: Outcome) -> dt.date | None:
    """The day for which the bundle's booster was trained."""
    if outcome == Outcome.KEPT and plan.champion:
        return plan.champion.booster_as_of
    return plan.day if outcome == Outcome.PROMOTED else None


def _metrics(evaluation: Evaluation | None) -> dict[str, dict[str, Any]]:
    """Value and interval by contestant and metric."""
    return {name: asdict(score)["metrics"] for name, score in evaluation.scores.items()} if evaluation else {}


def _evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """An evaluation without its metrics."""
    if evaluation is None:
        return None
    popularity = {name: score.popularity for name, score in evaluation.scores.items()}
    fields = asdict(evaluation) | {"as_of": evaluation.as_of.isoformat(), "popularity": popularity}
    del fields["scores"]
    return fields
