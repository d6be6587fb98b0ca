"""Starting and stopping, without an Airflow."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest

from lake.settings import CHECKOUT, Settings
from nightjar.servers import background, local_airflow

# says how the stop went, during which all signals arrive; the first ones come together
SIGNALLED = """
import os, signal
from lake.settings import Settings
from nightjar.servers import local_airflow

def stop(settings):
    for number in local_airflow.SIGNALS:
        os.kill(os.getpid(), number)
    print("stopped", flush=True)

local_airflow.start, local_airflow.stop = lambda settings, port: "airflow", stop
first = {first}
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests are run under
with local_airflow.running(Settings()):
    signal.pthread_sigmask(signal.SIG_BLOCK, first)
    for number in first:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, first)
    print("went on")
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


@pytest.fixture
def component(settings):
    """A process that is written down as a component of Airflow."""
    folder = settings.home / "airflow"
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = background.spawn("scheduler", command, os.environ, folder, folder / "out.log")
    (folder / "components.json").write_text(json.dumps([asdict(started)]))
    yield started
    background.stop([started])


def test_an_airflow_that_runs_already_goes_on_running(settings, component):
    with pytest.raises(local_airflow.ServiceError, match="runs already"), local_airflow.running(settings):
        pass
    assert component.alive()
    assert local_airflow.stop(settings)
    assert not component.alive()


def test_what_is_left_of_one_that_lost_a_part_is_stopped_first(settings, component, monkeypatch):
    folder = settings.home / "airflow"
    dead = background.spawn("api-server", ["true"], os.environ, folder, folder / "out.log")
    (folder / "components.json").write_text(json.dumps([asdict(component), asdict(dead)]))
    background.stop([dead])

    def started(settings):
        raise local_airflow.ServiceError("it goes on to start")

    monkeypatch.setattr(local_airflow, "migrate", started)
    with pytest.raises(local_airflow.ServiceError, match="it goes on to start"):
        local_airflow.start(settings, local_airflow.free_port())
    assert not component.alive()


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ([signal.SIGHUP], 128 + signal.SIGHUP),
        ([signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGINT], -signal.SIGINT),
        ([signal.SIGHUP, signal.SIGTERM], 128 + signal.SIGHUP),
    ],
)
def test_a_signal_ends_it_and_none_disturbs_the_stop(first, code):
    script = SIGNALLED.format(first=[int(number) for number in first])
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("stopped\n", code)


def test_handlers_are_as_before_afterwards(settings, monkeypatch):
    monkeypatch.setattr(local_airflow, "start", lambda settings, port: None)
    monkeypatch.setattr(local_airflow, "stop", lambda settings: None)
    before = [signal.getsignal(number) for number in local_airflow.SIGNALS]
    with local_airflow.running(settings):
        assert [signal.getsignal(number) for number in local_airflow.SIGNALS] != before
    assert [signal.getsignal(number) for number in local_airflow.SIGNALS] == before


def test_what_is_ignored_stays_ignored(settings, monkeypatch):
    """As SIGHUP is under nohup."""
    monkeypatch.setattr(local_airflow, "start", lambda settings, port: None)
    monkeypatch.setattr(local_airflow, "stop", lambda settings: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with local_airflow.running(settings):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
