"""The training of one night in one process: retrieval, ranking sets, ranker, evaluation, bundle.

What it puts into the lake is named by content and referred to by nothing until the decision's
record is committed. Each earlier night is loaded, used and forgotten in turn, so that memory does
not grow with their number.
"""

import datetime as dt
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake import layout, settings
from lake.decisions import Champion, Outcome, Verdict
from lake.inputs import label_window
from lake.processor import Machine
from lake.records import Input, Record, Records, require_unchanged
from lake.settings import Dataset
from lake.storage import Storage, open_storage
from recommender import bundle, night, retrieval, scoring
from training import labels, promotion, ranker, sets
from training.evaluation import CHALLENGER, CHAMPION, Evaluation, Field, baselines, evaluate
from training.metrics import head
from training.sets import RankingSet, Snapshots

log = logging.getLogger(__name__)

Boosters = dict[str, bytes]


@dataclass(frozen=True)
class TrainRequest:
    """What to train, with everything that it reads pinned.

    Attributes
    ----------
    attempt
        Whose folder keeps the challenger, also when it is not shipped.
    day
        The as-of day D.
    lake, dataset
        The lake's address, and the data set's name or TOML.
    features
        The sequence of the feature record of D, whose pins lead to interactions and catalogue.
    snapshots
        The sequence of each earlier feature record, the one to evaluate among them where there is one.
    inputs, version, config_digest
        Those of the record to come.
    based_on
        The sequence that was current when the work began.
    champion
        None where there is none yet.
    threads
        Changes nothing in the result.
    """

    attempt: str
    day: dt.date
    lake: str
    dataset: str
    features: int
    snapshots: dict[dt.date, int]
    inputs: tuple[Input, ...]
    version: int
    config_digest: str
    based_on: int
    champion: Champion | None
    threads: int


@dataclass(frozen=True)
class TrainResult:
    """What training found.

    Attributes
    ----------
    verdict
        What the gate between models said.
    bundle_id
        The bundle that follows from it.
    evaluation
        None where nothing could be judged.
    counts
        Users and items of D; rows and positives of the ranking set, and over its snapshots users
        with a label and users taken; users evaluated.
    notes
        What a person should know: a champion that does not fit, a ranking set that was cut, days
        that labels lack.
    machine
        What it ran on, for provenance only.
    """

    verdict: Verdict
    bundle_id: str
    evaluation: Evaluation | None = None
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    machine: Machine = field(default_factory=Machine)


def run(request: TrainRequest) -> TrainResult:
    """Train, evaluate, decide, and put the bundle that the decision asks for.

    It is evaluated as of the last day whose labels are all there.

    Same request, same bytes of the bundle and same numbers.
    """
    storage = open_storage(request.lake)
    data = settings.dataset(request.dataset)
    require_unchanged("train", data, request.config_digest)
    lake = _Lake(storage, Records(storage), request, data)
    rows = _ranking_set(lake)
    counts, notes = _set_counts(rows), _notes_on(rows, data)
    booster = _fit_ranker(rows.parts, lake) if rows.parts else None
    champion, unfit = _champion(lake)
    boosters = {
        name: model for name, model in ((CHALLENGER, booster), (CHAMPION, champion)) if model is not None
    }
    evaluation = _evaluate(boosters, lake)
    why = _why_untested(booster, evaluation, lake)
    verdict = promotion.decide(evaluation, lake.data.evaluation.min_users, why)
    log.info("verdict for %s: %s (%s)", request.day, verdict.outcome, "; ".join(verdict.reasons))
    bundle_id, sizes = _put_bundle(verdict, boosters, lake)
    counts |= {"evaluated_users": evaluation.users if evaluation else 0} | sizes
    notes += unfit + _gaps(lake)
    for note in notes:
        log.warning("training for %s: %s", request.day, note)
    return TrainResult(verdict, bundle_id, evaluation, counts, notes, Machine.here())


@dataclass(frozen=True)
class _Lake:
    """Where the request's inputs are read."""

    storage: Storage
    records: Records
    request: TrainRequest
    data: Dataset

    @property
    def features(self) -> Record:
        return self.records.at("features", self.request.day.isoformat(), self.request.features)

    @property
    def evaluated(self) -> dt.date:
        """The as-of day whose label window ends with D: ``label_days`` before it."""
        return self.request.day - label_window(self.data)

    @property
    def snapshots(self) -> list[dt.date]:
        """The days to train on, oldest first: their labels end by the day that is evaluated."""
        return sorted(day for day in self.request.snapshots if day < self.evaluated)

    def night_of(self, day: dt.date) -> night.Night:
        sequence = self.request.features if day == self.request.day else self.request.snapshots[day]
        record = self.records.at("features", day.isoformat(), sequence)
        return night.load(self.storage, self.records, record, self.data)

    def fit(self, found: night.Night) -> retrieval.Retrieval:
        return retrieval.fit(found, self.data.retrieval, self.request.threads)

    def events(self) -> pa.Table:
        first = min(self.request.snapshots, default=self.request.day)
        return labels.read(self.storage, self.records, self.features, first, self.data)


@contextmanager
def _step(text: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    log.info("%s: %.1f s", text, time.monotonic() - began)


def _ranking_set(lake: _Lake) -> Snapshots:
    """The sets of all snapshots; without a part where they have no positive."""
    events = lake.events()
    found = Snapshots()
    for day in lake.snapshots:
        with _step(f"ranking set as of {day}"):
            found += _snapshot_set(day, events, lake)
    return found


def _snapshot_set(day: dt.date, events: pa.Table, lake: _Lake) -> Snapshots:
    there = lake.night_of(day)
    truth = labels.labels(events, there, day, lake.evaluated, lake.data)
    return sets.build(there, lake.fit(there), truth, lake.data, lake.request.threads)


def _set_counts(rows: Snapshots) -> dict[str, int]:
    return {
        "ranking_rows": rows.rows,
        "ranking_positives": rows.positives,
        "ranking_users": rows.users,
        "ranking_users_taken": rows.taken,
    }


def _notes_on(rows: Snapshots, data: Dataset) -> tuple[str, ...]:
    if rows.taken == rows.users:
        return ()
    most = f"at most {data.training.max_users:,} a snapshot (training.max_users)"
    return (f"the ranker learned from {rows.taken:,} of {rows.users:,} users with a label: {most}",)


def _gaps(lake: _Lake) -> tuple[str, ...]:
    """What days that nobody delivered took from labels: of all contestants alike, but the numbers sink."""
    first = min(lake.snapshots, default=lake.evaluated)
    learned = _gap(lake, first, lake.evaluated, "the ranker learned")
    return learned + _gap(lake, lake.evaluated, lake.request.day, "the models were judged")


def _gap(lake: _Lake, after: dt.date, last: dt.date, who: str) -> tuple[str, ...]:
    absent = map(dt.date.fromisoformat, lake.features.details.get("missing_days", ()))
    lost = [day.isoformat() for day in absent if after < day <= last]
    return (f"{who} by labels without those of {', '.join(lost)}: the lake lacks these days",) if lost else ()


def _fit_ranker(parts: list[RankingSet], lake: _Lake) -> bytes:
    """The booster; `parts` is empty afterwards, since rows and their quantiles together are the peak."""
    config, threads = lake.data.ranker, lake.request.threads
    with _step(f"quantiles of {sum(len(part.labels) for part in parts):,} rows"):
        matrix = ranker.quantised(parts, config, threads)
        parts.clear()
    with _step("ranker"):
        saved = bytes(ranker.train(matrix, config, threads).save_raw("ubj"))
    lake.storage.put_new(challenger(lake.request.attempt), saved)
    return saved


def challenger(attempt: str) -> str:
    """Where an attempt keeps the booster that it trained."""
    return layout.attempt(attempt, "challenger.ubj")


def _champion(lake: _Lake) -> tuple[bytes | None, tuple[str, ...]]:
    """The champion's booster, or why it does not fit tonight's features."""
    if lake.request.champion is None:
        return None, ()
    found = bundle.load(lake.storage, lake.request.champion.bundle_id)
    reason = bundle.mismatch(found, lake.data)
    if reason:
        return None, (reason,)
    return found.booster, ()


def _evaluate(boosters: Boosters, lake: _Lake) -> Evaluation | None:
    """Judge boosters and baselines; None without features of the day that is evaluated or without labels."""
    day = lake.evaluated
    if day not in lake.request.snapshots:
        return None
    with _step(f"evaluation as of {day}"):
        there = lake.night_of(day)
        truth = labels.labels(lake.events(), there, day, lake.request.day, lake.data)
        judged = _field(there, truth)
        if not len(judged.users):
            return None
        return evaluate(judged, _contestants(there, judged.users, boosters, lake), lake.data.evaluation)


def _field(there: night.Night, truth: labels.Truth) -> Field:
    return Field(
        as_of=there.day,
        users=np.unique(truth.users),
        truth=truth,
        item_users=there.column("item_features", "users").astype(np.float64),
        item_users_28=there.column("item_features", "users_28").astype(np.float64),
        known_users=len(there.users),
        listed=max(1, int(there.listed.sum())),
    )


def _contestants(
    there: night.Night, users: npt.NDArray[np.int32], boosters: Boosters, lake: _Lake
) -> dict[str, npt.NDArray[np.int32]]:
    """The first items of the lists that each contestant would have shipped, int32 [users, cut]."""
    fitted, cut, threads = lake.fit(there), lake.data.evaluation.cut, lake.request.threads
    found = {
        name: scoring.baseline_lists(name, there, fitted, lake.data, cut, there.listed, threads, users)
        for name in baselines(lake.data.repeats)
    } | {
        name: scoring.ranked_lists(there, fitted, booster, lake.data, cut, there.listed, threads, users)
        for name, booster in boosters.items()
    }
    places = np.arange(len(users), dtype=np.int32)
    return {name: head(lists.indptr, lists.items, places, cut) for name, lists in found.items()}


def _why_untested(booster: bytes | None, evaluation: Evaluation | None, lake: _Lake) -> str:
    if not lake.snapshots:
        return f"too little history to train: no features as of a day before {lake.evaluated}"
    if booster is None:
        return "too little history to train: nobody took one of the candidates of a snapshot"
    if evaluation is None:
        return f"too little history to evaluate: no features or no labels as of {lake.evaluated}"
    return ""


def _put_bundle(verdict: Verdict, boosters: Boosters, lake: _Lake) -> tuple[str, dict[str, int]]:
    day = lake.request.day
    with _step(f"retrieval and bundle as of {day}"), tempfile.TemporaryDirectory() as scratch:
        tonight = lake.night_of(day)
        bundle_id = bundle.write(
            Path(scratch),
            as_of=day,
            outcome=verdict.outcome,
            retrieval=lake.fit(tonight),
            data=lake.data,
            baseline=verdict.baseline,
            booster=boosters.get(_shipped(verdict)),
        )
        bundle.publish(lake.storage, Path(scratch), bundle_id)
        return bundle_id, {"users": len(tonight.users), "items": len(tonight.items)}


def _shipped(verdict: Verdict) -> str:
    return {Outcome.PROMOTED: CHALLENGER, Outcome.KEPT: CHAMPION}.get(verdict.outcome, "")
