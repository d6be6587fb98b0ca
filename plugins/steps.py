"""The tasks of the night that are not Spark jobs: each calls one or two functions of `nightjar`.

`nightjar` is imported inside the tasks, so that reading a DAG loads nothing heavy.
"""

from dataclasses import asdict
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from failures import ERROR_KEY, reported

from lake.errors import PermanentError
from lake.partitions import resolve, utc_now
from lake.records import Record, Records
from lake.settings import load
from lake.storage import open_storage

Reference = dict[str, Any]

ATTEMPT_KEY = "attempt"


def _reference(record: Record) -> Reference:
    return {
        "record": f"{record.stage}/{record.partition}/{record.sequence}",
        "outcome": record.outcome,
        "fingerprint": record.fingerprint,
        "counts": dict(record.counts),
    }


@task
@reported()
def open_night() -> int:
    """Refuse a partition that the data set does not have; mark that its night has begun."""
    settings = load()
    day = settings.data.require_day(resolve(get_current_context()), today=utc_now().date())
    return Records(open_storage(settings.lake)).open_night(day)


@task(task_id="commit")
@reported()
def commit_ingest(attempt: str) -> Reference:
    """Validate what the extract wrote and commit it."""
    from nightjar import ingest

    return _reference(ingest.commit(attempt, load()))


@task(task_id="commit")
@reported()
def commit_range(attempt: str) -> list[str]:
    """Validate a bootstrap and commit its days."""
    from nightjar import bootstrap

    return [record.partition for record in bootstrap.commit(attempt, load())]


@task(task_id="commit")
@reported()
def commit_features(attempt: str) -> Reference:
    """Validate the feature tables and commit them, those of the day itself last."""
    from nightjar import features

    return _reference(features.commit(attempt, load()))


@task
@reported()
def train() -> str:
    """Train retrieval and ranker and evaluate them, in one process."""
    from nightjar import train

    context, settings = get_current_context(), load()
    attempt: str = train.prepare(resolve(context), settings)
    context["ti"].xcom_push(ATTEMPT_KEY, attempt)
    train.train(attempt, settings)
    return attempt


@task(trigger_rule=TriggerRule.ALL_DONE)
@reported()
def decide(night: int | None, train_task: str) -> Reference:
    """Append the night's decision, whatever happened before; then fail if something before it did."""
    if night is None:
        raise AirflowFailException("open_night failed: there is no night to decide")
    failure = _failure_before()
    attempt = get_current_context()["ti"].xcom_pull(task_ids=train_task, key=ATTEMPT_KEY)
    try:
        return _decide(night, attempt, failure)
    except PermanentError as error:
        raise AirflowFailException(f"this night failed in {failure}" if failure else str(error)) from error


def _decide(night: int, attempt: str | None, failure: str | None) -> Reference:
    from nightjar import train

    record = train.decide(resolve(get_current_context()), attempt, load(), failure=failure, night=night)
    if record.outcome == "failed":
        raise PermanentError(f"the decision is failed: {record.details['failure']}")
    return _reference(record)


def _failure_before() -> str | None:
    """The first task of this run that failed before this one, with its error's class."""
    context = get_current_context()
    ti, run = context["ti"], context["dag_run"].run_id
    before = sorted(_upstream(ti.task), key=lambda task_id: len(_upstream(ti.task.dag.get_task(task_id))))
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=before, run_ids=[run]).get(run, {})
    failed = next((task_id for task_id in before if states.get(task_id) == "failed"), None)
    return failed and f"{failed}: {ti.xcom_pull(task_ids=failed, key=ERROR_KEY) or 'killed or timed out'}"


def _upstream(operator: Any) -> set[str]:
    found: set[str] = operator.get_flat_relative_ids(upstream=True)
    return found


@task
@reported()
def build() -> str:
    """Make lists, item-to-item lists and the index of the day, by the newest decision."""
    from nightjar import precompute

    settings = load()
    attempt: str = precompute.prepare(resolve(get_current_context()), settings)
    precompute.build(attempt, settings)
    return attempt


@task
@reported()
def publish(attempt: str) -> Reference:
    """Check the release, put it, and make it current unless a newer day already is."""
    from nightjar import precompute

    run = get_current_context()["dag_run"].run_id
    return asdict(precompute.publish(attempt, load(), actor="airflow", reason=run))
