"""The night of one partition: its stages in order, as the DAG `nightly` runs them.

A failed training does not stop the lists: they follow the newest earlier decision, and the night
ends with the error.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from lake import cores
from lake.decisions import Failure
from lake.errors import PermanentError, StorageUnavailable
from lake.lake import Lake
from lake.settings import Settings
from nightjar import bootstrap, features, ingest, mirror, precompute, train
from nightjar.console import step
from spark_jobs.submit import submit

log = logging.getLogger(__name__)

TRIES = 3
"""How often a Spark job is run whose connection to the storage is lost; the DAGs' tasks have as many."""


def run_ingest(day: dt.date, settings: Settings) -> None:
    """Take in the raw day: check its files, split its rows, validate, commit."""
    lake = Lake.open(settings)

    def prepare() -> str:
        with step(f"ingest {day}: check the raw files"):
            return ingest.prepare(day, lake)

    attempt = _by_spark("extract", prepare, f"ingest {day}: extract (Spark)", settings)
    with step(f"ingest {day}: validate and commit"):
        ingest.commit(attempt, lake)


def run_features(day: dt.date, settings: Settings) -> None:
    """Build the feature tables as of the day, and those of earlier days that training lacks."""
    lake, title = Lake.open(settings), f"features {day}: build (Spark)"
    attempt = _by_spark("features", lambda: features.prepare(day, lake), title, settings)
    with step(f"features {day}: validate and commit"):
        features.commit(attempt, lake)


def _by_spark(job: str, prepare: Callable[[], str], title: str, settings: Settings) -> str:
    """Prepare an attempt and run its Spark job, up to `TRIES` times while the storage is lost meanwhile.

    The AWS library makes most requests again whose connection ends, but not all: an answer of
    which only the head has come is an error to it that cannot pass.
    """
    for left in reversed(range(TRIES)):
        attempt = prepare()
        try:
            with step(title):
                submit(job, attempt, settings)
            break
        except StorageUnavailable as error:
            if not left:
                raise
            log.warning("%s; %d more tries", error, left)
    return attempt


def run_train(day: dt.date, settings: Settings, night: int = 0) -> None:
    """Train, evaluate and decide; the decision is appended also when training fails."""
    lake = Lake.open(settings)
    attempt: str | None = None
    try:
        with step(f"train {day}: retrieval, ranker, evaluation"):
            attempt = train.prepare(day, lake, settings.threads or cores.count())
            train.train(attempt, lake)
    except Exception as error:
        train.decide(day, attempt, lake, Failure("train", type(error).__name__), night)
        raise
    with step(f"train {day}: decide"):
        train.decide(day, attempt, lake, night=night)


def run_precompute(day: dt.date, settings: Settings, force: bool = False) -> None:
    """Make the lists and the index by the newest decision, check and publish them.

    Parameters
    ----------
    force
        Make readers follow the release also when its day is before the newest ever published.
    """
    lake = Lake.open(settings)
    with step(f"precompute {day}: lists and index"):
        attempt = precompute.prepare(day, lake, settings.threads or cores.count())
        precompute.build(attempt, lake)
    with step(f"precompute {day}: validate and publish"):
        precompute.publish(attempt, lake, force=force)


STAGES: dict[str, Callable[[dt.date, Settings], None]] = {
    "ingest": run_ingest,
    "features": run_features,
    "train": run_train,
    "precompute": run_precompute,
}


def run_stage(stage: str, day: dt.date, settings: Settings) -> None:
    """Run one stage, and mirror the tables after one that writes any."""
    with mirror.afterwards(Lake.open(settings)) if stage in ("ingest", "features") else nullcontext():
        STAGES[stage](day, settings)


def run(day: dt.date, settings: Settings) -> None:
    """Run the whole night of one partition, and mirror the tables whatever became of it.

    Raises
    ------
    NightjarError
        When a stage failed. Lists are made all the same when it was training.
    """
    with mirror.afterwards(Lake.open(settings)):
        _run(day, settings)


def _run(day: dt.date, settings: Settings) -> None:
    night = Lake.open(settings).records.open_night(day)
    for stage in ("ingest", "features"):
        with _decided_when_failed(stage, day, settings, night):
            STAGES[stage](day, settings)
    failure = _train_or_failure(day, settings, night)
    run_precompute(day, settings)
    if failure:
        raise failure


@contextmanager
def _decided_when_failed(stage: str, day: dt.date, settings: Settings, night: int) -> Iterator[None]:
    """Append the *failed* decision when a stage before the decision fails."""
    try:
        yield
    except Exception as error:
        with suppress(PermanentError):  # no features, no decision
            train.decide(day, None, Lake.open(settings), Failure(stage, type(error).__name__), night)
        raise


def _train_or_failure(day: dt.date, settings: Settings, night: int) -> Exception | None:
    try:
        run_train(day, settings, night)
    except Exception as error:
        log.exception("training of %s failed; the lists follow the newest earlier decision", day)
        return error
    return None


def run_bootstrap(first: dt.date, last: dt.date, settings: Settings) -> None:
    """Load a range of raw days in one Spark pass, with the records that their nights would have made."""
    with mirror.afterwards(Lake.open(settings)):
        _run_bootstrap(first, last, settings)


def _run_bootstrap(first: dt.date, last: dt.date, settings: Settings) -> None:
    lake = Lake.open(settings)

    def prepare() -> str:
        with step(f"bootstrap {first} to {last}: check the raw files"):
            return bootstrap.prepare(first, last, lake)

    attempt = _by_spark("extract", prepare, "bootstrap: extract (Spark)", settings)
    with step("bootstrap: validate and commit"):
        bootstrap.commit(attempt, lake)
