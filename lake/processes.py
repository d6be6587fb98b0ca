"""Processes of this machine: which of them run, and how they are ended with all that they start.

What a session leader starts stays in its session, whatever process group it moves to and whatever
becomes of its parent. So the session names all that has to end.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress

import psutil

log = logging.getLogger(__name__)

Members = Callable[[], list[psutil.Process]]

POLL_SECONDS = 0.2  # how soon a process that was started meanwhile is seen and signalled


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie, which has ended and waits to be reaped, does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def in_sessions(sessions: Collection[int]) -> list[psutil.Process]:
    """Every process that runs in one of the sessions, even if their leaders are gone."""
    return [process for process in psutil.process_iter() if _is_in(process.pid, sessions)]


def _is_in(pid: int, sessions: Collection[int]) -> bool:
    try:
        return os.getsid(pid) in sessions and is_running(pid)
    except (ProcessLookupError, PermissionError):
        return False


def end(members: Members, seconds: float) -> None:
    """End processes by SIGTERM; after so many seconds, or when interrupted, kill those that still run.

    Parameters
    ----------
    members
        Lists those that run. It is called until it lists none, as they may start others meanwhile.
    """
    try:
        _end_by(signal.SIGTERM, members, seconds)
    finally:
        if left := members():
            names = ", ".join(sorted({process.name() for process in left}))
            log.warning("%s did not stop within %d s: killed", names, seconds)
            _end_by(signal.SIGKILL, members, seconds)


def _end_by(number: signal.Signals, members: Members, seconds: float) -> None:
    """Send a signal to each of them once, and wait until none runs, but no longer than `seconds`."""
    deadline = time.monotonic() + seconds
    signalled: set[psutil.Process] = set()
    while (left := set(members())) and time.monotonic() < deadline:
        for process in left - signalled:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        signalled |= left
        psutil.wait_procs(left, timeout=POLL_SECONDS)
