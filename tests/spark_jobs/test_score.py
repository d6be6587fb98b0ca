from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.score import _tasks, share_out


@given(buckets=st.integers(1, 100), tasks=st.integers(1, 300))
def test_each_bucket_is_of_one_task_and_no_task_is_idle(buckets, tasks):
    shares = share_out(buckets, tasks)
    assert [bucket for share in shares for bucket in share] == list(range(buckets))
    assert len(shares) == min(buckets, tasks)
    assert {len(share) for share in shares} <= {buckets // len(shares), -(-buckets // len(shares))}


@pytest.mark.parametrize(
    ("options", "threads", "tasks"),
    [({}, 1, 16), ({}, 4, 4), ({}, 16, 2), ({"spark.dynamicAllocation.enabled": "true"}, 1, 64)],
)
def test_there_are_a_few_tasks_for_each_core(options, threads, tasks):
    context = SimpleNamespace(getConf=lambda: options, defaultParallelism=8)
    assert _tasks(context, threads, 64) == tasks
