"""Decisions: what a night found of its models, and which bundle the lists follow.

A decision is the record of the train stage. Here alone its details are written and read, and here
the champion and the decision that lists follow are chosen.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from lake.errors import PermanentError
from lake.names import StageName
from lake.partitions import ONE_DAY
from lake.records import BUNDLE, Input, Record, Records

STAGE: Final = StageName.TRAIN


class Outcome(StrEnum):
    """What became of a night's models."""

    PROMOTED = "promoted"
    KEPT = "kept"
    BASELINE = "baseline"
    UNTESTED = "untested"
    FAILED = "failed"


WITH_BOOSTER: Final = frozenset({Outcome.PROMOTED, Outcome.KEPT})
"""The outcomes whose bundle holds a booster that was judged: that of the champion of later nights."""


@dataclass(frozen=True)
class Condition:
    """One condition of promotion: what was found, and the bound that it had to keep."""

    name: str
    passed: bool
    found: float
    bound: float


@dataclass(frozen=True)
class Verdict:
    """What the gate between models says.

    Attributes
    ----------
    outcome
        Every one but *failed*.
    baseline
        The best baseline where the outcome is *baseline*, else None.
    reasons
        Sentences for people.
    checks
        The conditions of promotion, in the order in which they are asked.
    """

    outcome: Outcome
    baseline: str | None = None
    reasons: tuple[str, ...] = ()
    checks: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Failure:
    """The first thing of a night that failed.

    Attributes
    ----------
    stage
        The stage, or the task.
    error
        The class of the exception.
    """

    stage: str
    error: str


@dataclass(frozen=True)
class Champion:
    """The decision whose booster is champion of a night.

    Attributes
    ----------
    bundle_id
        The bundle that holds the booster.
    as_of
        The day of that decision.
    booster_as_of
        The day for which the booster was trained: `as_of`, or an earlier one where it was kept.
    """

    bundle_id: str
    as_of: dt.date
    booster_as_of: dt.date


@dataclass(frozen=True)
class Decision:
    """What a night decided.

    Attributes
    ----------
    bundle_id, bundle_as_of
        The bundle and its day; None where the night failed.
    booster_as_of
        The day for which the bundle's booster was trained; None without one.
    champion
        Whom the challenger met: lineage, no part of the fingerprint.
    metrics
        Value and interval by contestant and metric.
    evaluation
        What else was judged: as-of day, users, gains, churn; None where nothing was.
    notes
        What a person should know of the training.
    failure
        What ended the night, where the outcome is *failed*.
    """

    outcome: Outcome
    bundle_id: str | None = None
    bundle_as_of: dt.date | None = None
    booster_as_of: dt.date | None = None
    baseline: str | None = None
    reasons: tuple[str, ...] = ()
    checks: tuple[Condition, ...] = ()
    champion: Champion | None = None
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def churn(self) -> float | None:
        """How much of its lists the challenger changes against the champion's."""
        return (self.evaluation or {}).get("churn")

    def ndcg(self) -> dict[str, float]:
        """The NDCG of each contestant."""
        return {name: metrics["ndcg"]["value"] for name, metrics in self.metrics.items()}


def details(decision: Decision) -> dict[str, Any]:
    """A decision as the details of its record; of a failed one only what failed."""
    if decision.outcome == Outcome.FAILED:
        failure = decision.failure and asdict(decision.failure)
        return {"bundle_id": None, "baseline": None, "failure": failure}
    fields = asdict(decision)
    del fields["outcome"], fields["failure"]
    days = {name: _text(fields[name]) for name in ("bundle_as_of", "booster_as_of")}
    champion = fields["champion"] and {name: str(value) for name, value in fields["champion"].items()}
    lists = {name: list(fields[name]) for name in ("reasons", "checks", "notes")}
    return fields | days | lists | {"champion": champion}


def _text(day: dt.date | None) -> str | None:
    return day.isoformat() if day else None


def decision_of(record: Record) -> Decision:
    """What a record of the train stage says.

    Raises
    ------
    PermanentError
        When its outcome is none of them.
    """
    told = record.details
    champion, failure = told.get("champion"), told.get("failure")
    return Decision(
        outcome=_outcome(record),
        bundle_id=told.get("bundle_id"),
        bundle_as_of=_day(told.get("bundle_as_of")),
        booster_as_of=_day(told.get("booster_as_of")),
        baseline=told.get("baseline"),
        reasons=tuple(told.get("reasons", ())),
        checks=tuple(Condition(**condition) for condition in told.get("checks", ())),
        champion=champion and _champion(**champion),
        metrics=told.get("metrics") or {},
        evaluation=told.get("evaluation"),
        notes=tuple(told.get("notes", ())),
        failure=failure and Failure(**failure),
    )


def _outcome(record: Record) -> Outcome:
    try:
        return Outcome(record.outcome)
    except ValueError as error:
        raise PermanentError(
            f"{record.stage} record {record.sequence} of {record.partition}: expected an outcome of "
            f"{', '.join(Outcome)}, found {record.outcome!r}; restore the file, or run {STAGE} again"
        ) from error


def _champion(bundle_id: str, as_of: str, booster_as_of: str) -> Champion:
    return Champion(bundle_id, dt.date.fromisoformat(as_of), dt.date.fromisoformat(booster_as_of))


def _day(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def newest(records: Records, last: dt.date) -> Iterator[Record]:
    """Of each as-of up to `last` its newest decision that did not fail, the newest as-of first.

    Each is read when it is asked for: a damaged one stops only who needs it, or one before it.
    """
    for day in reversed(records.partitions(STAGE)):
        history = records.history(STAGE, day) if day <= last else ()
        yield from islice((record for record in history if record.outcome != Outcome.FAILED), 1)


def champion(records: Records, day: dt.date) -> Champion | None:
    """The newest decision before `day` with a booster that was judged."""
    before = newest(records, day - ONE_DAY)
    record = next((record for record in before if record.outcome in WITH_BOOSTER), None)
    if record is None:
        return None
    trained = dt.date.fromisoformat(record.require("booster_as_of"))
    return Champion(record.require("bundle_id"), record.day, trained)


def serving(records: Records, day: dt.date) -> Record | None:
    """The decision that the lists of `day` follow: the newest up to it that did not fail."""
    return next(newest(records, day), None)


def bundle_input(record: Record, features_version: int) -> Input:
    """A decision as an input of lists: what it means for them is its outcome, baseline and bundle.

    The version of the features belongs to it: a booster of another one is not used.
    """
    decision = decision_of(record)
    parts = (decision.outcome, decision.baseline, decision.bundle_id, features_version)
    means = "/".join(str(part or "") for part in parts)
    return Input(BUNDLE, means, record.partition, record.sequence)
