from types import SimpleNamespace

import proclimits
import psutil
import pytest

from lake import memory

GIB = 2**30


@pytest.mark.parametrize(
    ("available", "heap"),
    [(GIB // 2, "1024m"), (3 * GIB, "1024m"), (8 * GIB, "2730m"), (24 * GIB, "4096m"), (512 * GIB, "4096m")],
)
def test_spark_gets_a_third_within_bounds(available, heap):
    assert memory.of_spark(available) == heap


@pytest.mark.parametrize(("budget", "limit"), [(None, 64 * GIB), (SimpleNamespace(limit=3 * GIB), 3 * GIB)])
def test_the_limit_is_that_of_the_cgroups_else_of_the_machine(budget, limit, monkeypatch):
    monkeypatch.setattr(proclimits, "get_memory_budget", lambda: budget)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB))
    assert memory.limit() == limit
