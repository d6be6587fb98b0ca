import os
import subprocess
import sys

import proclimits
import pytest

from lake import cores


@pytest.mark.parametrize(("quota", "count"), [(None, 3), (2.0, 2), (2.9, 2), (0.5, 1), (8.0, 3)])
def test_cores_are_those_allowed_up_to_the_quota(quota, count, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    monkeypatch.setattr(proclimits, "get_cpu_limit", lambda: quota)
    assert cores.count() == count


HELD = """
import os
from lake import cores
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(cores.count())
"""


def test_a_process_held_to_one_core_counts_one():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
