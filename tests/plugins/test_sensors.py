"""What a sensor does with what a wait found."""

import datetime as dt
from types import SimpleNamespace

import failures
import pytest
import waits
from airflow.sdk.exceptions import AirflowFailException
from sensors import WaitSensor

from lake.errors import FileFault, GateFailed, JobFailed

HOUR = dt.timedelta(hours=1)
FIRST = dt.datetime(2024, 1, 6, 3, tzinfo=dt.UTC)
CONTEXT = {
    "dag_run": SimpleNamespace(partition_key="2024-01-05", conf={}),
    "ti": SimpleNamespace(get_first_reschedule_date=lambda context: FIRST, xcom_push=lambda key, value: None),
}


class Fixed(WaitSensor):
    def __init__(self, *, pending, **kwargs):
        super().__init__(**kwargs)
        self.pending = pending

    def look(self, poke, context):
        assert (poke.day, poke.first) == (dt.date(2024, 1, 5), FIRST)
        return self.pending


def sensor(pending):
    return Fixed(task_id="fixed", pending=pending)


@pytest.fixture(autouse=True)
def now(monkeypatch):
    monkeypatch.setattr("sensors.utc_now", lambda: FIRST + HOUR)
    monkeypatch.setattr("failures.get_current_context", lambda: CONTEXT)


def test_it_is_done_when_nothing_is_pending():
    assert sensor(None).poke(CONTEXT) is True


def test_it_waits_and_says_for_what(capsys):
    assert sensor(waits.Pending("the moon", FIRST + 2 * HOUR)).poke(CONTEXT) is False
    assert "waiting for the moon, until 2024-01-06 05:00:00 UTC at most" in capsys.readouterr().out


def test_it_goes_on_when_the_time_is_over(capsys):
    assert sensor(waits.Pending("the moon", FIRST + HOUR)).poke(CONTEXT) is True
    assert "going on without the moon" in capsys.readouterr().out


def test_it_fails_for_good_when_the_time_of_what_it_needs_is_over():
    late = sensor(waits.Pending("the raw file, expected at file:///x", FIRST, needed=True))
    with pytest.raises(AirflowFailException, match="FileFault: the raw file, expected at file:///x"):
        late.poke(CONTEXT)


def test_it_gives_its_slot_back_between_looks():
    made = sensor(None)
    assert made.reschedule
    assert made.timeout >= dt.timedelta(days=365).total_seconds()


@pytest.fixture
def pushed(monkeypatch):
    found = {}
    ti = SimpleNamespace(xcom_push=found.__setitem__)
    monkeypatch.setattr(failures, "get_current_context", lambda: {"ti": ti})
    return found


@pytest.mark.parametrize("error", [FileFault("no file"), GateFailed("bad rows")])
def test_what_a_retry_cannot_mend_fails_for_good(pushed, error):
    with pytest.raises(AirflowFailException, match=f"{type(error).__name__}: {error}"), failures.reported():
        raise error
    assert pushed == {"error": type(error).__name__}


@pytest.mark.parametrize("error", [JobFailed("lost"), OSError("disk")])
def test_other_errors_stay_as_they_are_so_that_airflow_tries_again(pushed, error):
    with pytest.raises(type(error)) as caught, failures.reported():
        raise error
    assert caught.value is error
    assert pushed == {"error": type(error).__name__}
