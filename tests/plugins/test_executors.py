"""Taking back a task, with real processes in the place of workers."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from executors import RevokingExecutor

WORKER = """
import sys, time
from setproctitle import setproctitle
setproctitle(f"airflow worker -- LocalExecutor: {sys.argv[1]}")
print("titled", flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker():
    """Starts a process that is titled as the worker of a task."""
    started = []

    def start(task):
        process = subprocess.Popen([sys.executable, "-c", WORKER, task], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"titled\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def task():
    return SimpleNamespace(id="the-task", key=("nightly", "train.decide", "run", 1, -1))


@pytest.fixture
def executor(task):
    made = RevokingExecutor()
    made.workers = {}
    made.running = {task.key, "another"}
    return made


def test_a_task_whose_worker_is_gone_is_forgotten(executor, task, worker):
    gone = worker("the-task")
    gone.kill()
    gone.wait()
    executor.workers = {gone.pid: None}
    executor.revoke_task(ti=task)
    assert executor.running == {"another"}
    assert not executor.event_buffer


def test_a_worker_that_hangs_with_the_task_is_killed_and_no_other(executor, task, worker):
    hanging, other, idle = worker("the-task"), worker("another-task-of-the-tasks"), worker("<idle>")
    executor.workers = dict.fromkeys((hanging.pid, other.pid, idle.pid))
    executor.revoke_task(ti=task)
    assert hanging.wait(10) == -9
    for process in (other, idle):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)


def test_a_task_that_no_worker_has_taken_yet_is_forgotten(executor, task):
    executor.queued_tasks[task.key] = None
    executor.revoke_task(ti=task)
    assert not executor.queued_tasks
