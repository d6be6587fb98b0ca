"""A wait is as long as what moves, and no longer."""

import itertools
from types import SimpleNamespace

import pytest

from nightjar.servers.waiting import Still, wait_until


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by pauses alone; gives the seconds that have passed."""
    passed = [0.0]
    # In place of the module there: other threads of this process go by the real clock.
    told = SimpleNamespace(
        monotonic=lambda: passed[0], sleep=lambda seconds: passed.__setitem__(0, passed[0] + seconds)
    )
    monkeypatch.setattr("nightjar.servers.waiting.time", told)
    return passed


def test_what_moves_is_waited_for_however_long_it_takes(clock):
    """By total time, as waits once were, it would be given up after 900 seconds."""
    steps = itertools.count()
    wait_until(lambda: clock[0] >= 100_000, lambda: next(steps) // 800, "a slow night")
    assert clock[0] == 100_000


def test_what_is_still_is_given_up_and_the_last_that_was_seen_is_told(clock):
    with pytest.raises(
        Still, match=r"waited for r1 to end; nothing has moved for 60 s: \{'extract': 'running'"
    ):
        wait_until(lambda: False, lambda: {"extract": "running"}, "r1 to end", still=60)
    assert clock[0] == 60


def test_what_is_so_already_is_not_waited_for(clock):
    wait_until(lambda: True, lambda: None, "nothing", still=0)
    assert clock[0] == 0
