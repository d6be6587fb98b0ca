"""What is ended is ended with all that it starts meanwhile."""

import os
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from lake.processes import end, in_sessions, is_running
from nightjar.servers.waiting import wait_until

# When it is told to end it starts a child in a process group of its own, which says that it is told too.
# The signal is held back meanwhile: Python forgets one that comes just after a fork.
HEIR = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def say(number, frame):
    (folder / "told").touch()
    os._exit(0)
def leave(number, frame):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, say)
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    time.sleep(600)
signal.signal(signal.SIGTERM, leave)
(folder / "ready").touch()
time.sleep(600)
"""
DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(600)
"""


@contextmanager
def running(program, folder):
    """The leader of a new session; whatever happens meanwhile, nothing of it is left."""
    leader = subprocess.Popen([sys.executable, "-c", program, str(folder)], start_new_session=True)
    try:
        wait_until((folder / "ready").exists, leader.poll, "a program to be ready", pause=0.05)
        yield leader.pid
    finally:
        for process in in_sessions({leader.pid}):
            process.kill()
        leader.wait()


def test_what_is_started_meanwhile_is_told_to_end_too(tmp_path):
    with running(HEIR, tmp_path) as leader:
        end(lambda: in_sessions({leader}), 300)
        assert in_sessions({leader}) == []
        assert (tmp_path / "told").exists()


def test_an_interrupted_wait_kills_what_is_left(tmp_path):
    with running(DEAF, tmp_path) as leader:
        looks = iter(range(2))

        def members():
            if next(looks, None) == 1:
                raise KeyboardInterrupt
            return in_sessions({leader})

        with pytest.raises(KeyboardInterrupt):
            end(members, 300)
        assert not is_running(leader)


def test_what_has_ended_runs_no_more_also_where_nobody_has_asked(tmp_path):
    with running(DEAF, tmp_path) as leader:
        assert is_running(leader)
        psutil.Process(leader).kill()
        wait_until(lambda: not is_running(leader), lambda: None, "its end", pause=0.05)
        assert os.getsid(leader) == leader  # its entry is there until its parent asks
        assert in_sessions({leader}) == []
