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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lake import layout
from lake.dataset import Dataset
from lake.decisions import Outcome, Verdict
from lake.feature_spec import USERS
from lake.lake import Lake
from lake.names import TableName
from lake.processor import Machine
from recommender import asof, bundle, scoring
from recommender.arrays import Int32
from recommender.asof import AsOf, Block
from recommender.retrieval import Retrieval, of_users
from recommender.view import View
from training import labels, promotion, ranker
from training.evaluation import CHALLENGER, CHAMPION, Evaluation, Field, baselines, evaluate
from training.metrics import head
from training.set_files import SetFiles
from training.snapshots import TrainPlan, Work
from training.spark_als import Submit

log = logging.getLogger(__name__)

Boosters = dict[str, bytes]


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


def run(plan: TrainPlan, lake: Lake, submit: Submit) -> TrainResult:
    """Train, evaluate, decide, and put the bundle that the decision asks for.

    The evaluation is as of the last day whose labels are complete. The same plan gives the same bytes of
    the bundle and the same numbers.

    Parameters
    ----------
    submit
        Runs a Spark job; it is asked for ALS where `retrieval.backend` is ``spark``.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as open_files:
        return _train(Work(plan, lake, Path(scratch), open_files, submit))


def _train(work: Work) -> TrainResult:
    plan, rows = work.plan, _snapshots(work)
    counts, notes = _set_counts(rows), _notes_on(rows, plan.config)
    booster = _fit_ranker(rows, work) if rows.rows else None
    champion, unfit = _champion(work)
    boosters = {
        name: model for name, model in ((CHALLENGER, booster), (CHAMPION, champion)) if model is not None
    }
    evaluation = _evaluate(boosters, work)
    why = _why_untested(booster, evaluation, work)
    verdict = promotion.judge(evaluation, plan.config, why)
    log.info("verdict for %s: %s (%s)", plan.day, verdict.outcome, "; ".join(verdict.reasons))
    bundle_id, sizes = _put_bundle(verdict, boosters, work)
    counts |= {"evaluated_users": evaluation.users if evaluation else 0} | sizes
    notes += unfit + _gaps(work)
    for note in notes:
        log.warning("training for %s: %s", plan.day, note)
    return TrainResult(verdict, bundle_id, evaluation, counts, notes, Machine.here())


@contextmanager
def _step(text: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    log.info("%s: %.1f s", text, time.monotonic() - began)


def _snapshots(work: Work) -> SetFiles:
    """The ranking sets of all snapshots; without a row where none has a positive."""
    events, files = work.events(), []
    for day in work.snapshots:
        with _step(f"ranking set as of {day}"):
            files.append(work.ranking_set(day, events))
    return SetFiles(tuple(files))


def _set_counts(rows: SetFiles) -> dict[str, int]:
    return {
        "ranking_rows": rows.rows,
        "ranking_positives": rows.positives,
        "ranking_users": rows.users,
        "ranking_users_taken": rows.taken,
    }


def _notes_on(rows: SetFiles, data: Dataset) -> tuple[str, ...]:
    if rows.taken == rows.users:
        return ()
    most = f"at most {data.training.max_users:,} a snapshot (training.max_users)"
    return (f"the ranker learned from {rows.taken:,} of {rows.users:,} users with a label: {most}",)


def _gaps(work: Work) -> tuple[str, ...]:
    """Notes on days that labels lack: it is the same for all contestants, but their numbers sink."""
    first = min(work.snapshots, default=work.evaluated)
    learned = _gap(work, first, work.evaluated, "the ranker learned")
    return learned + _gap(work, work.evaluated, work.plan.day, "the models were judged")


def _gap(work: Work, after: dt.date, last: dt.date, who: str) -> tuple[str, ...]:
    absent = map(dt.date.fromisoformat, work.features.details.get("missing_days", ()))
    lost = [day.isoformat() for day in absent if after < day <= last]
    return (f"{who} by labels without those of {', '.join(lost)}: the lake lacks these days",) if lost else ()


def _fit_ranker(rows: SetFiles, work: Work) -> bytes:
    config, threads = work.data.ranker, work.plan.threads
    with _step(f"quantiles of {rows.rows:,} rows"):
        disk = work.scratch if work.plan.ranker_on_disk else None
        matrix = ranker.quantised(rows.parts, config, threads, disk)
    with _step("ranker"):
        saved = bytes(ranker.train(matrix, config, threads).save_raw("ubj"))
    work.lake.storage.put_new(challenger(work.plan.attempt), saved)
    return saved


def challenger(attempt: str) -> str:
    """Where an attempt keeps the booster that it trained."""
    return layout.attempt(attempt, "challenger.ubj")


def _champion(work: Work) -> tuple[bytes | None, tuple[str, ...]]:
    """The champion's booster, or why it does not fit tonight's features."""
    if work.plan.champion is None:
        return None, ()
    champion = bundle.load(work.lake.storage, work.plan.champion.bundle_id)
    reason = bundle.mismatch(champion, asof.origin_of(work.features))
    if reason:
        return None, (reason,)
    return champion.booster, ()


def _evaluate(boosters: Boosters, work: Work) -> Evaluation | None:
    """Judge boosters and baselines; None without features of the day that is evaluated or without labels."""
    day = work.evaluated
    if day not in work.plan.snapshots:
        return None
    with _step(f"evaluation as of {day}"):
        as_of = work.as_of(day)
        pairs = labels.distinct(work.events(), day, work.plan.day, work.data)
        judged = _field(as_of.small, labels.truth(pairs, as_of, work.data))
        if not len(judged.users):
            return None
        lists = _contestants(as_of, judged.users, boosters, work)
        return evaluate(judged, lists, work.data.evaluation, work.plan.threads)


def _field(view: View, truth: labels.Truth) -> Field:
    return Field(
        as_of=view.day,
        users=np.unique(truth.users),
        truth=truth,
        item_users=view.column(TableName.ITEMS, USERS).astype(np.float64),
        item_users_lately=view.users_lately.astype(np.float64),
        known_users=len(view.users),
        listed=max(1, int(view.listed.sum())),
    )


def _contestants(as_of: AsOf, users: Int32, boosters: Boosters, work: Work) -> dict[str, Int32]:
    """The first items of the lists that each contestant would have shipped, int32 [users, cut]."""
    fitted = work.evaluated_retrieval(as_of)
    heads = partial(_heads, fitted=fitted, boosters=boosters, work=work)
    parts = list(as_of.each(heads, work.plan.threads, users))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _heads(block: Block, fitted: Retrieval, boosters: Boosters, work: Work) -> dict[str, Int32]:
    cut, mine = work.data.evaluation.cut, of_users(fitted, block.users, block.view.users)
    maker = scoring.ListMaker(block.view, work.data, cut, block.view.listed)
    contestants = {name: maker.baseline(name, mine) for name in baselines(work.data.repeats)}
    if boosters:
        contestants |= dict(zip(boosters, maker.ranked(mine, boosters.values()), strict=True))
    places = np.arange(len(block.users), dtype=np.int32)
    return {name: head(lists.indptr, lists.items, places, cut) for name, lists in contestants.items()}


def _why_untested(booster: bytes | None, evaluation: Evaluation | None, work: Work) -> str:
    if not work.snapshots:
        return f"too little history to train: no features as of a day before {work.evaluated}"
    if booster is None:
        return "too little history to train: nobody took one of the candidates of a snapshot"
    if evaluation is None:
        return f"too little history to evaluate: no features or no labels as of {work.evaluated}"
    return ""


def _put_bundle(verdict: Verdict, boosters: Boosters, work: Work) -> tuple[str, dict[str, int]]:
    day = work.plan.day
    shipped = {Outcome.PROMOTED: CHALLENGER, Outcome.KEPT: CHAMPION}.get(verdict.outcome, "")
    with _step(f"retrieval and bundle as of {day}"):
        as_of, folder = work.as_of(day), work.scratch / "bundle"
        bundle_id = bundle.write(
            folder,
            as_of=day,
            outcome=verdict.outcome,
            retrieval=work.retrieval_of(as_of),
            data=work.data,
            features=as_of.small.origin,
            baseline=verdict.baseline,
            booster=boosters.get(shipped),
        )
        bundle.put(work.lake.storage, folder, bundle_id)
        work.refer_to_bundle(bundle_id, folder)
        return bundle_id, {"users": len(as_of.small.users), "items": len(as_of.small.items)}
