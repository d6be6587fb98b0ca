"""`decide` runs whatever happened before it, and ends red when something did."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pytest
import steps
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from lake.decisions import Failure
from lake.errors import Conflict, PermanentError
from lake.records import Record

DAY = "2017-09-30"
DAGS = Path(__file__).resolve().parents[2] / "dags"
BEFORE_TRAIN = ["open_night", "ingest.wait_for_raw", "ingest.extract", "ingest.commit"]


@pytest.fixture(scope="module")
def task():
    return DagBag(str(DAGS)).dags["nightly"].get_task("train.decide")


@pytest.fixture
def decide(task, monkeypatch):
    """Run `decide` after tasks that ended so, with a train stage that answers so."""

    def run(states=(), errors=(), outcome="promoted", raises=None, night=3):
        errors = {("train.train", "attempt"): "abc"} | {(name, "error"): kind for name, kind in errors}
        ti = SimpleNamespace(
            dag_id="nightly",
            task=task,
            get_task_states=lambda dag_id, task_ids, run_ids: {
                "r1": {"train.train": "success"} | dict(states)
            },
            xcom_pull=lambda task_ids, key: errors.get((task_ids, key)),
            xcom_push=lambda key, value: None,
        )
        context = {"ti": ti, "dag_run": SimpleNamespace(run_id="r1", partition_key=DAY, conf={})}
        asked = []

        def stage(day, attempt, lake, failure=None, night=0):
            asked.append((day, attempt, failure, night))
            if raises:
                raise raises
            details = {"failure": {"stage": "train", "error": "no result"}}
            return Record("train", DAY, attempt, "failed" if failure else outcome, 1, "", details=details)

        monkeypatch.setattr(steps, "get_current_context", lambda: context)
        monkeypatch.setattr("failures.get_current_context", lambda: context)
        monkeypatch.setattr("nightjar.stages.decision.commit_decision", stage)
        try:
            return asked, steps.decide.function(night, "train.train")
        except AirflowFailException as error:
            return asked, str(error)

    return run


def test_a_night_without_a_failure_is_decided(decide):
    asked, reference = decide({"open_night": "success", "train.train": "success"})
    assert asked == [(dt.date(2017, 9, 30), "abc", None, 3)]
    assert (reference["outcome"], reference["record"]) == ("promoted", f"train/{DAY}/0")


def test_a_failed_training_is_decided_and_ends_red(decide):
    asked, message = decide(
        {"open_night": "success", "train.train": "failed"}, [("train.train", "ValueError")]
    )
    assert asked == [(dt.date(2017, 9, 30), "abc", Failure("train.train", "ValueError"), 3)]
    assert "this night failed in train.train: ValueError" in message


def test_a_killed_training_left_no_error(decide):
    asked, message = decide({"train.train": "failed"})
    assert asked[0][2] == Failure("train.train", "killed or timed out")
    assert "killed or timed out" in message


def test_the_first_task_that_failed_is_named(decide):
    states = dict.fromkeys(BEFORE_TRAIN, "success") | {
        "ingest.extract": "failed",
        "ingest.commit": "upstream_failed",
        "train.train": "upstream_failed",
    }
    asked, message = decide(states, [("ingest.extract", "FileFault")])
    assert asked[0][2] == Failure("ingest.extract", "FileFault")
    assert "this night failed in ingest.extract: FileFault" in message


@pytest.mark.parametrize("state", ["upstream_failed", None])
def test_the_attempt_of_an_earlier_training_is_not_passed_on(decide, state):
    asked, _ = decide({"ingest.extract": "failed", "train.train": state})
    assert asked[0][1] is None


@pytest.mark.parametrize("error", [PermanentError("no feature record"), Conflict("another run decided")])
def test_when_deciding_fails_too_the_message_names_both(decide, error):
    asked, message = decide(
        {"ingest.extract": "failed", "train.train": "upstream_failed"},
        [("ingest.extract", "FileFault")],
        raises=error,
    )
    assert len(asked) == 1
    named = f"{type(error).__name__}: {error}"
    assert message == f"this night failed in ingest.extract: FileFault; and deciding failed: {named}"


def test_an_error_of_deciding_itself_is_final(decide):
    _, message = decide(raises=Conflict("another run decided"))
    assert message == "deciding failed: Conflict: another run decided"


def test_an_error_of_deciding_that_a_retry_may_mend_goes_on_as_it_is(decide):
    with pytest.raises(OSError, match="disk"):
        decide({"train.train": "failed"}, raises=OSError("disk"))


def test_a_decision_that_is_failed_without_a_failed_task_ends_red(decide):
    _, message = decide(outcome="failed")
    assert message == "this night failed in train: no result"


def test_without_a_night_there_is_nothing_to_decide(decide):
    asked, message = decide(night=None)
    assert asked == []
    assert "open_night failed" in message


@pytest.mark.parametrize(("days", "kind"), [(1, dict), (steps.MOST_TOLD, dict), (steps.MOST_TOLD + 1, str)])
def test_a_bootstrap_of_years_leaves_the_names_of_its_records_alone(monkeypatch, tmp_path, days, kind):
    """Counts of two years were half a megabyte in Airflow's database."""
    records = [Record("ingest", DAY, "a", "committed", 1, "c", sequence=n + 1) for n in range(days)]
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path))
    monkeypatch.setattr("nightjar.stages.attempt.commit", lambda lake, stage, attempt: records)
    references = steps.commit.function("ingest", "a")
    assert {type(reference) for reference in references} == {kind}
    names = [one if kind is str else one["record"] for one in references]
    assert names == [f"ingest/{DAY}/{n + 1}" for n in range(days)]
