"""Forks: what a child must make anew, and what must not be under way at a fork."""

import os
import time
from threading import Condition
from typing import Protocol
from weakref import WeakSet

_PATIENCE = 120.0
"""Seconds that a fork waits at most: longer than one request may take with all its tries."""


class Forked(Protocol):
    """Holds what a child must not use: locks that no thread of it releases, handles of its parent."""

    def after_fork(self) -> None:
        """Make it anew; called in the child before anything else runs there."""


_holders: WeakSet[Forked] = WeakSet()


def register(holder: Forked) -> None:
    """Call the holder's `after_fork` in every process that is forked while it lives."""
    _holders.add(holder)


class Requests:
    """A context for requests to a server, which keeps them from being under way at a fork.

    The AWS library in Arrow holds locks during a request. A child that is forked meanwhile hangs in
    its first own request.
    """

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._changed = Condition()
        self._under_way = 0
        self._forks = 0

    def __enter__(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait for requests under way, and let none begin."""
        deadline = time.monotonic() + _PATIENCE
        with self._changed:
            self._forks += 1
            while self._under_way and (seconds := deadline - time.monotonic()) > 0:
                self._changed.wait(seconds)

    def in_parent(self) -> None:
        """Let requests begin again."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def in_child(self) -> None:
        """Begin anew: the child has no other thread."""
        self._open()


requests = Requests()


def _in_child() -> None:
    requests.in_child()
    for holder in list(_holders):
        holder.after_fork()


os.register_at_fork(before=requests.before_fork, after_in_parent=requests.in_parent, after_in_child=_in_child)
