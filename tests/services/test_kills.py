"""Nights whose processes are killed, through a real Airflow, against the same nights unharmed.

One night in which a process of each stage is killed; and three nights in a row in one lake: in the
first every task's own process is killed on its first try and its supervisor on the second, in the
next both Spark JVMs and a worker that has not begun its task yet, in the last the scheduler.
"""

import datetime as dt
import itertools
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import psutil
import pytest

from lake.records import Records
from lake.storage import open_storage
from nightjar.servers import background, local_airflow
from nightjar.servers.rest import ENDED_RUN
from nightjar.servers.waiting import Still, wait_until
from nightjar_reader import Reader

pytestmark = pytest.mark.services

BEFORE, EVERY_TASK, JVMS, SCHEDULER = (dt.date(2017, 8, day) for day in (14, 15, 16, 17))
STAGES = ("ingest", "features", "train", "precompute")
WORKER = "airflow worker -- LocalExecutor: "
IDLE = "<idle>"
# How long a process may work before it is killed, where it is not killed at once.
MOMENTS = {"ingest.extract": 5, "features.build": 7, "train.train": 3, "precompute.build": 2, "mirror": 0.5}
SPARK_TASKS = ("ingest.extract", "features.build")
OF_EACH_STAGE = (*SPARK_TASKS, "train.train", "precompute.build")
UNBEGUN = "train.decide"
QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "2",
}


@dataclass
class Served:
    """What readers were served, and what went wrong for them, while it looked."""

    releases: str
    ids: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.wait(1):
            try:
                reader = Reader(self.releases)
                assert reader.for_user(next(reader.users())).items
                self.ids.append(reader.release_id)
            except Exception as error:
                self.errors.append(error)


@dataclass(frozen=True)
class Killed:
    """A night that has ended.

    Attributes
    ----------
    kills
        What was killed, in order.
    left
        The processes of its tasks that did not end with it.
    """

    state: str
    tries: dict[str, int]
    kills: list[object]
    served: Served
    left: list[str]


@contextmanager
def _reading(settings):
    served = Served(settings.releases)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        yield served
    finally:
        served.done.set()
        thread.join()


def _title(process):
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def _children(process, recursive=False):
    try:
        return process.children(recursive)
    except psutil.Error:
        return []


def _age(process):
    """For how many seconds it has run; 0 where it has ended meanwhile, as what starts a JVM soon does."""
    try:
        return time.time() - process.create_time() if process.is_running() else 0
    except psutil.Error:
        return 0


def _is_java(process):
    try:
        return process.name() == "java"
    except psutil.Error:
        return False


def _component(settings, name):
    [component] = [component for component in local_airflow._components(settings) if component.name == name]
    return psutil.Process(component.pid)


def _scheduler(settings):
    return _component(settings, "scheduler")


def _supervisors(settings):
    """The executor's workers that have a task now, by the id of the task's try."""
    titled = {_title(child): child for child in _children(_scheduler(settings))}
    return {
        title.removeprefix(WORKER): worker
        for title, worker in titled.items()
        if title.startswith(WORKER) and not title.endswith(IDLE)
    }


def _tasks(slice, run_id):
    return {task.try_id: task for task in slice.client.tasks("nightly", run_id)}


def _by_id(slice, run_id):
    return {task.id: task for task in slice.client.tasks("nightly", run_id)}


def _go_on(slice, run_id, kill, pause):
    """Call `kill` again and again until the run has ended; returns its state."""
    ask, once_a_second = itertools.count(), round(1 / pause)

    def ended():
        kill()
        return next(ask) % once_a_second == 0 and slice.client.run("nightly", run_id).state in ENDED_RUN

    def movement():
        return slice.client.progress("nightly")

    wait_until(ended, _now_and_then(movement, once_a_second), f"{run_id} to end", pause=pause)
    return slice.client.run("nightly", run_id).state


def _now_and_then(look, every):
    """`look`, but that it looks at every so-manieth call only."""
    calls, seen = itertools.count(), [None]

    def sometimes():
        if next(calls) % every == 0:
            seen[0] = look()
        return seen[0]

    return sometimes


class _Holder:
    """Suspends the process of each task as it comes, until it is set free: a short one would soon be done.

    It does nothing else, as Airflow may take seconds to say which task a process has.
    """

    def __init__(self, settings):
        self._settings, self._free = settings, set()
        self._done, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        for child in self.children().values():
            _do(child.resume)

    def _run(self):
        while not self._done.wait(0.02):
            for child in self.children().values():
                with self._lock:
                    if child not in self._free:
                        _do(child.suspend)

    def children(self):
        """The tasks' own processes, by the id of the task's try."""
        supervisors = _supervisors(self._settings).items()
        return {try_id: child for try_id, worker in supervisors for child in _children(worker)[:1]}

    def free(self, child):
        with self._lock:
            self._free.add(child)
        _do(child.resume)


def _kill_tries(slice, run_id, kills, holder):
    """Kill each task's process on its first try, and its supervisor on the second."""
    own = holder.children()
    known = _tasks(slice, run_id) if own else {}
    for try_id, child in own.items():
        task = known.get(try_id)
        if task is None or task.state != "running":
            continue  # Airflow has not heard of it yet
        due = task.tries <= 2 and (task.id, task.tries) not in kills
        if due and _age(child) >= MOMENTS.get(task.id, 0):
            _do((child if task.tries == 1 else _supervisors(slice.settings)[try_id]).kill)
            kills.append((task.id, task.tries))
        holder.free(child)


def _kill_in_each_stage(slice, run_id, kills):
    """Kill the process of each stage's longest task on its first try, when it has worked for a while."""
    known = _tasks(slice, run_id)
    for try_id, supervisor in _supervisors(slice.settings).items():
        task = known.get(try_id)
        if task and task.id in OF_EACH_STAGE and task.id not in kills:
            for child in _children(supervisor)[:1]:
                if _age(child) >= MOMENTS[task.id]:
                    child.kill()
                    kills.append(task.id)


def _do(act):
    with suppress(psutil.NoSuchProcess):
        act()


def _kill_jvms(slice, run_id, kills):
    """Kill the JVM of each Spark task's first try, when it has worked for a while."""
    known = _tasks(slice, run_id)
    for try_id, supervisor in _supervisors(slice.settings).items():
        task = known.get(try_id)
        if task and task.id in SPARK_TASKS and task.id not in kills:
            for jvm in _children(supervisor, recursive=True):
                if _is_java(jvm) and _age(jvm) >= MOMENTS[task.id]:
                    _do(jvm.kill)
                    kills.append(task.id)


def _kill_unbegun(slice, run_id, kills):
    """Kill the worker that takes a certain task before it begins it: meanwhile nobody answers it.

    The scheduler hands the task out only when the API server is held, however busy the machine is.
    """
    tasks = _by_id(slice, run_id)
    if UNBEGUN in kills or tasks["train.train"].state != "running":
        return
    try_id, api_server = tasks[UNBEGUN].try_id, _component(slice.settings, "api-server")
    with ExitStack() as unanswered:
        with _held([_scheduler(slice.settings)]):
            wait_until(lambda: _has_ended(slice, run_id, "train.train"), lambda: None, "the training to end")
            unanswered.enter_context(_held([api_server, *_children(api_server, recursive=True)]))
        wait_until(lambda: try_id in _supervisors(slice.settings), lambda: None, "a worker", pause=0.01)
        _supervisors(slice.settings)[try_id].kill()
    assert _tasks(slice, run_id)[try_id].state in {"queued", "scheduled"}
    kills.append(UNBEGUN)


def _has_ended(slice, run_id, task):
    return _by_id(slice, run_id)[task].state != "running"


@contextmanager
def _held(processes):
    """Processes that do nothing for a while."""
    for process in processes:
        _do(process.suspend)
    try:
        yield
    finally:
        for process in processes:
            _do(process.resume)


def _kill_jvms_and_unbegun(slice, run_id, kills):
    _kill_jvms(slice, run_id, kills)
    _kill_unbegun(slice, run_id, kills)


def _kill_scheduler(slice, run_id, kills):
    """Kill the scheduler while the training goes on, and start Airflow again."""
    working = [] if kills else [_tasks(slice, run_id).get(id) for id in _supervisors(slice.settings)]
    if "train.train" in [task.id for task in working if task]:
        scheduler = _scheduler(slice.settings)
        scheduler.kill()
        scheduler.wait()
        kills.append("scheduler")
        local_airflow.start(slice.settings, urlsplit(slice.airflow.url).port)


def _of_tasks(settings):
    """The processes of tasks: Spark, the tasks' own, and workers that have one."""
    titles = map(_title, background.members(local_airflow._components(settings)))
    return [
        title
        for title in titles
        if "spark" in title or (title.startswith("airflow worker") and IDLE not in title)
    ]


def _left(settings):
    with suppress(Still):
        wait_until(lambda: not _of_tasks(settings), lambda: _of_tasks(settings), "all to end", still=300)
    return _of_tasks(settings)


def _night(slice, night, kill, pause=0.05):
    kills = []
    with _reading(slice.settings) as served:
        run_id = slice.client.trigger("nightly", str(night))
        state = _go_on(slice, run_id, lambda: kill(slice, run_id, kills), pause)
    tries = {task.id: task.tries for task in slice.client.tasks("nightly", run_id)}
    return Killed(state, tries, kills, served, _left(slice.settings))


@contextmanager
def _quick_airflow(nights, start, folder):
    """An Airflow that soon finds what was killed, in the lake as it is before `EVERY_TASK`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        with start(nights, EVERY_TASK, folder, retry_delay=5) as slice:
            yield slice


@pytest.fixture(scope="module")
def airflow(nights_on_disk, airflow_before, tmp_path_factory):
    with _quick_airflow(nights_on_disk, airflow_before, tmp_path_factory.mktemp("kills")) as slice:
        yield slice


@pytest.fixture(scope="module")
def every_task(airflow):
    with _Holder(airflow.settings) as holder:
        return _night(airflow, EVERY_TASK, partial(_kill_tries, holder=holder))


@pytest.fixture(scope="module")
def jvms(airflow, every_task):
    return _night(airflow, JVMS, _kill_jvms_and_unbegun)


@pytest.fixture(scope="module")
def scheduler(airflow, jvms):
    return _night(airflow, SCHEDULER, _kill_scheduler)


def _is_as_unharmed(airflow, nights, night, killed):
    """The release of the unharmed night, everything once, and the release before it until then."""
    release, before = nights.release_id(night), nights.release_id(night - dt.timedelta(days=1))
    records = Records(open_storage(airflow.settings.lake))
    assert killed.state == "success"
    assert records.current("precompute", night).details["release_id"] == release
    assert [len(list(records.history(stage, night))) for stage in STAGES] == [1, 1, 1, 1]
    assert [entry.as_of for entry in Reader(airflow.settings.releases).releases()].count(str(night)) == 1
    assert killed.served.errors == []
    assert list(dict.fromkeys(killed.served.ids)) in ([before], [before, release])
    assert killed.left == []
    return True


def test_a_night_with_a_kill_in_each_stage_is_as_unharmed(nights_on_disk, airflow_before, tmp_path):
    with _quick_airflow(nights_on_disk, airflow_before, tmp_path) as slice:
        night = _night(slice, EVERY_TASK, _kill_in_each_stage, pause=0.5)
        assert set(night.kills) == set(OF_EACH_STAGE)
        assert min(night.tries[task] for task in OF_EACH_STAGE) >= 2
        assert _is_as_unharmed(slice, nights_on_disk, EVERY_TASK, night)


@pytest.mark.long
def test_every_task_was_killed_twice_and_succeeded_the_third_time(every_task):
    assert Counter(every_task.kills) == Counter(
        (task, tried) for task in every_task.tries for tried in (1, 2)
    )
    sensors = {task for task in every_task.tries if "wait_" in task}
    assert {every_task.tries[task] for task in every_task.tries.keys() - sensors} == {3}
    assert min(every_task.tries[task] for task in sensors) == 3


@pytest.mark.long
def test_the_night_of_killed_tasks_is_as_unharmed(airflow, nights_on_disk, every_task):
    assert _is_as_unharmed(airflow, nights_on_disk, EVERY_TASK, every_task)


@pytest.mark.long
def test_the_night_of_killed_jvms_is_as_unharmed(airflow, nights_on_disk, jvms):
    assert jvms.kills == [*SPARK_TASKS, UNBEGUN]
    assert min(jvms.tries[task] for task in SPARK_TASKS) >= 2
    assert jvms.tries[UNBEGUN] == 1
    assert _is_as_unharmed(airflow, nights_on_disk, JVMS, jvms)


@pytest.mark.long
def test_the_night_whose_scheduler_was_killed_is_as_unharmed(airflow, nights_on_disk, scheduler):
    assert scheduler.kills == ["scheduler"]
    assert scheduler.tries["train.train"] >= 2
    assert _is_as_unharmed(airflow, nights_on_disk, SCHEDULER, scheduler)


@pytest.mark.long
def test_each_bundle_is_one_version_in_mlflow(airflow, scheduler):
    from mlflow import MlflowClient

    uri = airflow.settings.mlflow_uri
    versions = MlflowClient(uri, uri).search_model_versions("name = 'nightjar-slice'")
    records = Records(open_storage(airflow.settings.lake))
    decisions = [records.current("train", night) for night in (BEFORE, EVERY_TASK, JVMS, SCHEDULER)]
    bundles = Counter(version.tags["bundle_id"] for version in versions)
    assert bundles == Counter(decision.details["bundle_id"] for decision in decisions)


@pytest.mark.long
def test_no_process_is_left(airflow, scheduler):
    """After the stop, whatever session it is in: each inherits the settings."""
    local_airflow.stop(airflow.settings)
    ours = str(airflow.settings.home)
    assert [process for process in psutil.process_iter() if _home_of(process) == ours] == []


def _home_of(process):
    try:
        return process.environ().get("NIGHTJAR_HOME")
    except psutil.Error:
        return None
