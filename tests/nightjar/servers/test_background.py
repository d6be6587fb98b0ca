"""Whatever a component has started ends with it."""

import os
import sys
from dataclasses import replace

import psutil
import pytest

from nightjar.servers import background
from nightjar.servers.waiting import wait_until

# starts a child in a process group of its own, says its id, and waits
PARENT = """
import os, signal, subprocess, sys, time
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def spawn(tmp_path):
    """A component with a child; whatever happens in the test, both end."""
    spawned = []

    def start(deaf=False):
        output = tmp_path / "out.log"
        command = [sys.executable, "-c", PARENT.format(deaf=deaf)]
        component = background.spawn("parent", command, os.environ, tmp_path, output)
        spawned.append(component)
        wait_until(lambda: output.read_text().strip(), component.alive, "its child's id", pause=0.05)
        return component, int(output.read_text())

    yield start
    for process in background.members(spawned):
        process.kill()


def _runs(pid):
    """Whether it is there; one that has ended and that its new parent has not asked about is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_members_are_the_leader_and_what_it_started_in_another_group(spawn):
    component, child = spawn()
    assert os.getpgid(child) != component.pid
    assert {process.pid for process in background.members([component])} == {component.pid, child}


def test_stop_leaves_nothing(spawn):
    component, child = spawn()
    background.stop([component])
    assert background.members([component]) == []
    assert not component.alive()
    assert not _runs(child)


def test_stop_kills_what_does_not_hear(spawn, monkeypatch):
    monkeypatch.setattr(background, "STOP_SECONDS", 1)
    component, child = spawn(deaf=True)
    background.stop([component])
    assert not _runs(component.pid)
    assert not _runs(child)


def test_stop_ends_what_a_killed_leader_left(spawn):
    component, child = spawn()
    psutil.Process(component.pid).kill()
    wait_until(lambda: not component.alive(), component.alive, "its end", pause=0.05)
    assert _runs(child)
    background.stop([component])
    assert not _runs(child)


def test_a_process_that_only_has_the_id_of_an_old_one_is_left_alone(spawn):
    component, child = spawn()
    older = replace(component, started=component.started - 100)
    assert not older.alive()
    background.stop([older])
    assert component.alive()
    assert _runs(child)


def test_a_change_of_the_clock_does_not_hide_a_component(spawn, monkeypatch):
    component, child = spawn()
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) + 3600)
    assert component.alive()
    assert {process.pid for process in background.members([component])} == {component.pid, child}


def test_a_component_of_before_the_machine_was_started_is_gone(spawn):
    component, _ = spawn()
    older = replace(component, boot="another")
    assert not older.alive()
    assert not older.owns_session()


def test_last_lines_are_the_end_of_the_output(spawn):
    component, child = spawn()
    assert component.last_lines(1) == str(child)
