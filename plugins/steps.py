"""The tasks of the night that are not Spark jobs: each calls one or two functions of `nightjar`.

The stages of `nightjar` are imported inside the tasks, so that reading a DAG loads nothing heavy.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from failures import ERROR_KEY, reported

from lake.decisions import Failure, Outcome, decision_of
from lake.errors import PermanentError
from lake.lake import Lake
from lake.names import StageName
from lake.partitions import day_of, resolve, utc_now
from lake.records import Record
from lake.settings import load

log = logging.getLogger(__name__)

Reference = dict[str, Any]

ATTEMPT_KEY = "attempt"
MOST_TOLD = 60  # a bootstrap of years would put half a megabyte of counts into Airflow's database
RAN = frozenset({"success", "failed"})


def _name(record: Record) -> str:
    return f"{record.stage}/{record.partition}/{record.sequence}"


def _reference(record: Record) -> Reference:
    return {
        "record": _name(record),
        "outcome": record.outcome,
        "fingerprint": record.fingerprint,
        "counts": dict(record.counts),
    }


@task
@reported()
def open_night() -> int:
    """Refuse a partition that the data set does not have; mark that its night has begun."""
    lake = Lake.open(load())
    today = day_of(utc_now(), lake.data.zone)
    day = lake.data.require_day(resolve(get_current_context()), today=today)
    return lake.records.open_night(day)


@task
@reported()
def commit(stage: StageName, attempt: str) -> list[Reference | str]:
    """Validate what the work of an attempt wrote and commit it; gives the records, of many by name alone."""
    from nightjar.stages import attempt as attempts
    from nightjar.stages import runner

    settings = load()
    chosen = runner.open_stage(stage, settings)
    records = attempts.commit(Lake.open(settings), chosen, attempt)
    return [_reference(record) if len(records) <= MOST_TOLD else _name(record) for record in records]


@task
@reported()
def work(stage: StageName) -> str:
    """Begin an attempt of the run's partition and do its work, in this process."""
    from nightjar.stages import attempt as attempts
    from nightjar.stages import runner

    context, settings = get_current_context(), load()
    lake, chosen = Lake.open(settings), runner.open_stage(stage, settings)
    attempt: str = attempts.begin(lake, chosen, [resolve(context)])
    context["ti"].xcom_push(ATTEMPT_KEY, attempt)
    runner.run(lake, chosen, attempt, settings)
    return attempt


@task(trigger_rule=TriggerRule.ALL_DONE)
@reported()
def decide(night: int | None, train_task: str) -> Reference:
    """Append the night's decision, whatever happened before; then fail if something before it did."""
    from nightjar.stages.decision import commit_decision

    if night is None:
        raise AirflowFailException("open_night failed: there is no night to decide")
    states = _states_before()
    failure = _first_failure(states)
    if failure:
        log.error("%s", _cause(failure))
    try:
        day, attempt = resolve(get_current_context()), _attempt(train_task, states)
        record: Record = commit_decision(day, attempt, Lake.open(load()), failure=failure, night=night)
    except PermanentError as error:
        before = f"{_cause(failure)}; and " if failure else ""
        raise AirflowFailException(f"{before}deciding failed: {type(error).__name__}: {error}") from error
    decision = decision_of(record)
    if decision.outcome == Outcome.FAILED:
        raise AirflowFailException(_cause(failure or decision.failure or Failure(StageName.TRAIN, "unknown")))
    return _reference(record)


def _states_before() -> dict[str, str | None]:
    """The states of the tasks of this run that come before this one, in their order."""
    context = get_current_context()
    ti, run = context["ti"], context["dag_run"].run_id
    before = sorted(_upstream(ti.task), key=lambda task_id: len(_upstream(ti.task.dag.get_task(task_id))))
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=before, run_ids=[run]).get(run, {})
    return {task_id: states.get(task_id) for task_id in before}


def _first_failure(states: Mapping[str, str | None]) -> Failure | None:
    """The first task that failed, with its error's class."""
    failed = next((task_id for task_id, state in states.items() if state == "failed"), None)
    if failed is None:
        return None
    error = get_current_context()["ti"].xcom_pull(task_ids=failed, key=ERROR_KEY)
    return Failure(failed, error or "killed or timed out")


def _attempt(train_task: str, states: Mapping[str, str | None]) -> str | None:
    """The training's attempt; None where it did not run, as its XCom may be of an earlier time."""
    if states.get(train_task) not in RAN:
        return None
    attempt: str | None = get_current_context()["ti"].xcom_pull(task_ids=train_task, key=ATTEMPT_KEY)
    return attempt


def _cause(failure: Failure) -> str:
    return f"this night failed in {failure.stage}: {failure.error}"


def _upstream(operator: Any) -> set[str]:
    task_ids: set[str] = operator.get_flat_relative_ids(upstream=True)
    return task_ids


@task
@reported()
def publish(attempt: str) -> Reference:
    """Check the release, put it, and make it current unless a newer day already is."""
    from nightjar.stages import precompute

    run = get_current_context()["dag_run"].run_id
    return asdict(precompute.commit_and_publish(attempt, Lake.open(load()), actor="airflow", reason=run))


@task
@reported()
def mirror() -> dict[str, int]:
    """Make the Delta tables show what the records name; gives the version of each."""
    from nightjar.stages import mirror

    versions: dict[str, int] = mirror.run(Lake.open(load()))
    return versions


@task
@reported()
def clean() -> dict[str, list[int]]:
    """Remove what no night needs any more; gives folders, files and bytes by kind."""
    from nightjar import retention

    removed: dict[str, list[int]] = retention.clean(Lake.open(load()))
    return removed
