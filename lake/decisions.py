"""Decisions: how a night judged its models, and which bundle the lists follow.

A decision is the record of the train stage. Only this module writes and reads its details, and only
this module chooses the champion and the decision that lists follow.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

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
"""The outcomes whose bundle holds a judged booster; only these can give later nights their champion."""


@dataclass(frozen=True)
class Condition:
    """One condition of promotion: the value that was found, and its bound."""

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
        The gate gives any but *failed*.
    baseline
        The best baseline where the outcome is *baseline*, else None.
    reasons
        Sentences for people.
    checks
        The conditions of promotion, in the order in which they are checked.
    """

    outcome: Outcome
    baseline: str | None = None
    reasons: tuple[str, ...] = ()
    checks: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Failure:
    """The first stage or task of a night that failed.

    Attributes
    ----------
    stage
        Its name.
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
class Decision(Verdict):
    """What a night decided: the verdict of the gate, or *failed*, and what it is about.

    Attributes
    ----------
    bundle_id, bundle_as_of
        The bundle and its day; None where the night failed.
    booster_as_of
        The day for which the bundle's booster was trained; None without one.
    champion
        The champion that the challenger met: lineage, no part of the fingerprint.
    metrics
        Value and interval by contestant and metric.
    evaluation
        The rest of the evaluation: as-of day, users, gains, churn; None without one.
    notes
        What people should know about the training.
    failure
        What ended the night, where the outcome is *failed*.
    """

    bundle_id: str | None = None
    bundle_as_of: dt.date | None = None
    booster_as_of: dt.date | None = None
    champion: Champion | None = None
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def churn(self) -> float | None:
        """How far the challenger's lists differ from the champion's."""
        return (self.evaluation or {}).get("churn")


_DECISION: Final = TypeAdapter(Decision)


def details(decision: Decision) -> dict[str, Any]:
    """A decision as the details of its record; a failed one says only what failed."""
    if decision.outcome == Outcome.FAILED:
        failure = decision.failure and asdict(decision.failure)
        return {"bundle_id": None, "baseline": None, "failure": failure}
    fields = asdict(decision)
    del fields["outcome"], fields["failure"]
    # Not by pydantic, which makes null of NaN: a record refuses NaN.
    plain: dict[str, Any] = json.loads(json.dumps(fields, default=dt.date.isoformat))
    return plain


def decision_of(record: Record) -> Decision:
    """The decision that a record of the train stage holds.

    Raises
    ------
    PermanentError
        When its outcome is no `Outcome`, or a detail is not what it should be.
    """
    given = {name: value for name, value in record.details.items() if value is not None}
    given["outcome"] = _outcome(record)
    try:
        return _DECISION.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        place, expected = ".".join(map(str, wrong["loc"])), wrong["msg"]
        raise _damaged(record, f"details.{place}: {expected}, found {wrong['input']!r}") from error


def _outcome(record: Record) -> Outcome:
    try:
        return Outcome(record.outcome)
    except ValueError as error:
        expected = f"expected an outcome of {', '.join(Outcome)}, found {record.outcome!r}"
        raise _damaged(record, expected) from error


def _damaged(record: Record, problem: str) -> PermanentError:
    return PermanentError(
        f"{record.stage} record {record.sequence} of {record.partition}: {problem}; restore the file, "
        f"or run {STAGE} again"
    )


def newest(records: Records, last: dt.date) -> Iterator[Record]:
    """The newest decision that did not fail of each as-of day up to `last`, the newest day first.

    Records are read one by one: a damaged one stops only a caller who goes as far back.
    """
    for day in reversed(records.partitions(STAGE)):
        history = records.history(STAGE, day) if day <= last else ()
        yield from islice((record for record in history if record.outcome != Outcome.FAILED), 1)


def champion(records: Records, day: dt.date) -> Champion | None:
    """The champion of `day`: the newest decision before it with a judged booster."""
    before = newest(records, day - ONE_DAY)
    record = next((record for record in before if record.outcome in WITH_BOOSTER), None)
    if record is None:
        return None
    trained = dt.date.fromisoformat(record.require("booster_as_of"))
    return Champion(record.require("bundle_id"), record.day, trained)


def serving(records: Records, day: dt.date) -> Record | None:
    """The decision that the lists of `day` follow: the newest up to it that did not fail."""
    return next(newest(records, day), None)


def bundle_input(record: Record, features: Record) -> Input:
    """A decision as an input of lists: its digest is its outcome, baseline and bundle, as one text.

    Version and configuration of the features belong to it: a booster of other features is not used.
    """
    decision = decision_of(record)
    parts = (
        decision.outcome,
        decision.baseline,
        decision.bundle_id,
        features.version,
        features.config_digest,
    )
    digest = "/".join(str(part or "") for part in parts)
    return Input(BUNDLE, digest, record.partition, record.sequence)
