"""The night of one partition: its stages in order, as the DAG `nightly` runs them.

A failed training does not stop the lists: they follow the newest earlier decision, and the night
ends with the error.
"""

import datetime as dt
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tenacity import before_sleep_log, retry, retry_if_exception_type, stop_after_attempt

from lake.decisions import Failure
from lake.errors import ClusterUnavailable, PermanentError, StorageUnavailable
from lake.lake import Lake
from lake.names import StageName
from lake.partitions import days
from lake.settings import Settings
from nightjar.console import step
from nightjar.stages import attempt as attempts
from nightjar.stages import mirror, runner
from nightjar.stages.stage import Stage
from spark_jobs import cluster
from spark_jobs.hosting import Host
from spark_jobs.submit import start_here
from validation import expectations

log = logging.getLogger(__name__)

TRIES = 3
"""How many times work is tried while storage or cluster is lost: as many as the DAGs' tasks."""


@dataclass(frozen=True)
class _Turn:
    """A stage's turn, for one day or a range of days; the terminal shows each step."""

    name: StageName
    span: Sequence[dt.date]
    settings: Settings
    start: runner.Start = start_here

    @cached_property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    @cached_property
    def stage(self) -> Stage[Any, Any]:
        return runner.open_stage(self.name, self.settings)

    def step(self, place: int) -> AbstractContextManager[None]:
        """Show the planning (0), the work (1) or the commit (2)."""
        span = str(self.span[0]) if len(self.span) == 1 else f"{self.span[0]} to {self.span[-1]}"
        return step(f"{self.name} {span}: {self.stage.STEPS[place]}")

    def begin(self) -> str:
        with self.step(0):
            return attempts.begin(self.lake, self.stage, self.span)

    def work(self, attempt: str) -> None:
        with self.step(1):
            if self.stage.PROGRAM:  # the commit checks what a job makes, and a core is idle while it starts
                threading.Thread(target=expectations.load, daemon=True).start()
            runner.run(self.lake, self.stage, attempt, self.settings, self.start)

    @retry(
        stop=stop_after_attempt(TRIES),
        retry=retry_if_exception_type((StorageUnavailable, ClusterUnavailable)),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    def begin_and_work(self) -> str:
        """Begin an attempt and do its work, `TRIES` times at most, where storage or cluster was lost.

        The AWS library repeats most requests of Spark whose connection ended. Where it ended after
        the head of the answer, the library takes that for an error that stays.
        """
        attempt = self.begin()
        self.work(attempt)
        return attempt

    def run(self) -> None:
        """Plan, work and commit."""
        attempt = self.begin_and_work()
        with self.step(2):
            attempts.commit(self.lake, self.stage, attempt)


def run_train(day: dt.date, settings: Settings, night: int = 0) -> None:
    """Train, evaluate and decide; the decision is appended also when training fails."""
    from nightjar.stages.decision import commit_decision

    turn, attempt = _Turn(StageName.TRAIN, [day], settings), None
    try:
        attempt = turn.begin()
        turn.work(attempt)
    except Exception as error:
        commit_decision(day, attempt, turn.lake, Failure(turn.name, type(error).__name__), night)
        raise
    with turn.step(2):
        commit_decision(day, attempt, turn.lake, night=night)


def run_precompute(day: dt.date, settings: Settings, force: bool = False) -> None:
    """Make the lists and the index by the newest decision, check and publish them.

    Parameters
    ----------
    force
        Make readers follow the release even if a later day has ever been published.
    """
    from nightjar.stages.precompute import commit_and_publish

    turn = _Turn(StageName.PRECOMPUTE, [day], settings)
    attempt = turn.begin_and_work()
    with turn.step(2):
        commit_and_publish(attempt, turn.lake, force=force)


def run_stage(name: StageName, day: dt.date, settings: Settings, force: bool = False) -> None:
    """Run one stage, and mirror the tables after one that writes any.

    Parameters
    ----------
    force
        As `run_precompute` takes it.
    """
    match name:
        case StageName.TRAIN:
            run_train(day, settings)
        case StageName.PRECOMPUTE:
            run_precompute(day, settings, force)
        case _:
            with mirror.afterwards(Lake.open(settings)):
                _Turn(name, [day], settings).run()


def run(day: dt.date, settings: Settings) -> None:
    """Run the whole night of one partition, and mirror the tables whatever became of it.

    Raises
    ------
    NightjarError
        When a stage failed. Lists are made even when it was training.
    """
    failure = None
    threading.Thread(target=_load_libraries, daemon=True).start()
    with mirror.afterwards(Lake.open(settings)):
        night = Lake.open(settings).records.open_night(day)
        with _spark(settings) as start:
            for name in (StageName.INGEST, StageName.FEATURES):
                with _decided_when_failed(name, day, settings, night):
                    _Turn(name, [day], settings, start).run()
        try:
            run_train(day, settings, night)
        except Exception as error:
            log.exception("training of %s failed; the lists follow the newest earlier decision", day)
            failure = error
        run_precompute(day, settings)
        if failure:
            raise failure


@contextmanager
def _spark(settings: Settings) -> Iterator[runner.Start]:
    """What starts the jobs: on this machine one Spark that runs them all; on a cluster each has its own."""
    if cluster.is_one(settings.spark_master):
        yield start_here
        return
    with Host(settings) as host:
        yield host.start


def _load_libraries() -> None:
    """Import what training needs: seconds that a core has to spare while Spark starts."""
    from training import ranker, registry

    expectations.load()
    registry.load()
    ranker.load()


@contextmanager
def _decided_when_failed(name: StageName, day: dt.date, settings: Settings, night: int) -> Iterator[None]:
    """Append the *failed* decision when a stage before the decision fails."""
    from nightjar.stages.decision import commit_decision

    try:
        yield
    except Exception as error:
        with suppress(PermanentError):  # no features, no decision
            commit_decision(day, None, Lake.open(settings), Failure(name, type(error).__name__), night)
        raise


def run_bootstrap(first: dt.date, last: dt.date, settings: Settings) -> None:
    """Load a range of raw days in one Spark pass, with the records that their nights would have made."""
    if last < first:
        raise PermanentError(f"a bootstrap from {first} to {last} has no day: give the earlier day first")
    with mirror.afterwards(Lake.open(settings)):
        _Turn(StageName.INGEST, list(days(first, last)), settings).run()
