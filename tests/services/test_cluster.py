"""Nights on a standalone cluster of Spark, a master and two workers, whose lake is on an S3 server.

The workers' Python has our requirements, but not our packages: they come with each job. Nor have workers
any variable of ours, or a key.
"""

import datetime as dt
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy.sparse import random_array

import recommender
import topn
from lake import layout
from lake.errors import ClusterUnavailable, ConfigError, JobFailed
from lake.names import StageName
from lake.partitions import ONE_DAY
from lake.plan import Plan
from lake.records import Records
from lake.sections import RetrievalSection
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.command.land import land
from nightjar.servers import background, local_airflow
from nightjar.servers.waiting import wait_until
from nightjar.stages import attempt as attempts
from nightjar.stages import night as nights
from nightjar.stages import runner
from recommender import retrieval
from spark_jobs import java
from spark_jobs.submit import submit
from training.spark_als import SparkAls

pytestmark = pytest.mark.services

FIRST, BEFORE = dt.date(2017, 6, 25), dt.date(2017, 8, 13)
NIGHTS = [BEFORE + n * ONE_DAY for n in (1, 2, 3)]
HOUSEHOLDS = 500
CASES = Path(__file__).parents[1] / "nightjar" / "stages" / "test_precompute.py"
DAY = dt.date(2024, 1, 1)
SMALL = {"first_day": FIRST, "min_rows": 20, "snapshots": 1, "trees": [10], "recall_floor": 0.5, "buckets": 8}
LIMITS = {"spark_memory": "1g", "threads": 1}
SITE = Path(pytest.__file__).parents[1]
PYTHON = f"""#!/bin/sh
# our requirements without the links to our packages: Python reads those of its own folder alone
PYTHONPATH="$PYTHONPATH:{SITE}" exec {sys.executable} -S "$@"
"""
CLASS = "org.apache.spark.deploy"


@dataclass
class Cluster:
    """A master and its workers, in empty folders and with an environment of their own.

    Attributes
    ----------
    archive
        The environment that executors unpack.
    """

    folder: Path
    port: int
    archive: Path
    components: dict[str, background.Component] = field(default_factory=dict)

    @property
    def master(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def start(self, name: str, ready: str, *arguments: str) -> None:
        """Start the master or a worker, and wait until its log says that it is ready."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        settings = Settings(home=self.folder / "home")
        told = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "JAVA_HOME": str(java.java_home(settings)),
            "SPARK_HOME": str(java.spark_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
            "NUMBA_CACHE_DIR": str(self.folder / "prepared"),
        }
        program = str(java.spark_home() / "bin" / "spark-class")
        line = [program, *arguments, "--host", "127.0.0.1", "--webui-port", "0"]
        log = folder / "log"
        before = log.stat().st_size if log.exists() else 0
        component = self.components[name] = background.spawn(name, line, told, folder, log)

        def is_ready() -> bool:
            said = log.read_bytes()[before:].decode()
            assert component.alive(), said
            return bool(re.search(ready, said))

        wait_until(is_ready, component.last_lines, name, pause=0.2)

    def start_master(self) -> None:
        self.start("master", "New state: ALIVE", f"{CLASS}.master.Master", "--port", str(self.port))

    def start_worker(self, name: str) -> None:
        limits = ["--cores", "1", "--memory", "1g", "--work-dir", str(self.folder / name / "work")]
        ready = "Successfully registered with master"
        self.start(name, ready, f"{CLASS}.worker.Worker", self.master, *limits)

    def kill(self, name: str) -> None:
        """End a part of it, with all that it has started, as a machine that is gone."""
        for process in background.members([self.components[name]]):
            process.kill()

    def stop(self) -> None:
        background.stop(list(self.components.values()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    made = Cluster(folder, local_airflow.free_port(), _archive(folder))
    for package in (topn, recommender):  # as `nightjar prepare kernels` leaves an environment
        shutil.copytree(
            Path(package.__file__).with_name(".numba"), folder / "prepared" / ".numba", dirs_exist_ok=True
        )
    try:
        made.start_master()
        made.start_worker("one")
        made.start_worker("two")
        yield made
    finally:
        made.stop()


def _archive(folder: Path) -> Path:
    """An environment as venv-pack makes one, but that its Python lies elsewhere."""
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    with tarfile.open(folder / "environment.tar.gz", "w:gz") as packed:
        packed.add(python, "bin/python")
    return folder / "environment.tar.gz"


@pytest.fixture(scope="module")
def toml(tmp_path_factory, demo_toml):
    return demo_toml(tmp_path_factory.mktemp("toml"), **SMALL)


@pytest.fixture(scope="module")
def in_one_process(submit_here):
    """A function: run nights in the Spark session of the tests, as others do."""

    def run(work, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "submit", submit_here)
            work(*arguments)

    return run


@pytest.fixture(scope="module")
def history(tmp_path_factory, toml, in_one_process) -> Settings:
    """A lake with the days before the nights, and with those of the nights landed."""
    home = tmp_path_factory.mktemp("history")
    settings = Settings(home=home, dataset=str(toml), spark_master="local[2]", **LIMITS)
    land(settings, FIRST, NIGHTS[-1], households=HOUSEHOLDS)
    in_one_process(nights.run_bootstrap, FIRST, BEFORE, settings)
    return settings


@pytest.fixture(scope="module")
def on_s3(history, s3_server, tmp_path_factory, cluster, toml) -> Iterator[Settings]:
    """Settings of the same lake on an S3 server, and of the cluster."""
    home = tmp_path_factory.mktemp("driver")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        lake = f"{s3_server.make_bucket('cluster')}/lake"
        target = open_storage(lake)
        source = open_storage(history.lake)
        for path in source.list(""):
            target.put_file(path, source.local(path))
        kept = Path(sys.prefix) / "ivy"  # so that no run fetches jars anew
        kept.mkdir(exist_ok=True)
        (home / "ivy").symlink_to(kept)
        yield Settings(
            home=home,
            dataset=str(toml),
            lake=lake,
            spark_master=cluster.master,
            spark_executor_memory="1g",
            spark_archive=str(cluster.archive),
            **LIMITS,
        )


@pytest.fixture(scope="module")
def local(history, in_one_process) -> dict[dt.date, str]:
    """The releases of the nights where all of it runs in one place."""
    for night in NIGHTS:
        in_one_process(nights.run, night, history)
    return releases(history)


def releases(settings: Settings) -> dict[dt.date, str]:
    records = Records(open_storage(settings.lake))
    found = {night: records.current("precompute", night) for night in NIGHTS}
    return {night: record.require("release_id") for night, record in found.items() if record}


class Run:
    """A night by the command, in a process of its own."""

    def __init__(self, cluster: Cluster, settings: Settings, night: dt.date) -> None:
        self.log = settings.home / f"{night}.log"
        told = os.environ | settings.environment()
        program = str(Path(sys.executable).with_name("nightjar"))
        line = [program, "run", "night", "--partition", str(night)]
        self.component = background.spawn(str(night), line, told, settings.home, self.log)
        cluster.components[str(night)] = self.component  # so that it is stopped with the cluster

    def wait_until(self, seen, what: str) -> None:
        def done() -> bool:
            reached = seen()
            assert reached or self.component.alive(), self.log.read_text()
            return reached

        wait_until(done, lambda: self.log.read_text(), what, pause=0.1)

    def finish(self) -> str:
        """Wait for its end; gives what it said."""
        wait_until(lambda: not self.component.alive(), lambda: self.log.read_text(), "the night", pause=0.2)
        return self.log.read_text()


def _lists_in(settings: Settings) -> list[str]:
    """The lists of all attempts that lie in the lake."""
    attempts = open_storage(settings.lake).list(layout.ATTEMPTS)
    return [path for path in attempts if "/release/lists/" in path]


def test_the_workers_python_lacks_our_packages(cluster):
    """They would hide that a job came without."""
    line = [str(cluster.folder / "python"), "-c", "import numba, pyspark, recommender"]
    done = subprocess.run(line, cwd=cluster.folder, env={"PATH": os.defpath}, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'recommender'"


@pytest.fixture(scope="module")
def new_nights():
    """A class: nights that have features and a decision, without Spark."""
    return runpy.run_path(str(CASES))["Nights"]


@pytest.fixture
def night(new_nights, tiny_with, tmp_path, cluster):
    """A night of 2,000 users whose lists are yet to be made, in a folder that all see; of the cluster."""
    found = new_nights(tiny_with(tmp_path).settings)
    bought = {(user, 1000 + (user + step) % 15): 3.0 - step for user in range(2000) for step in range(3)}
    found.features(DAY, bought, found.catalogue(DAY))
    found.decide(DAY)
    limits = {"spark_master": cluster.master, "spark_executor_memory": "1g", "block_mib": 1}
    found.settings = found.settings.model_copy(update={**limits, "spark_archive": str(cluster.archive)})
    return found


def _begin(night):
    stage = runner.open_stage(StageName.PRECOMPUTE, night.settings)
    return stage, attempts.begin(night.lake, stage, [DAY])


def _release(night, **changes):
    """The release of another attempt, by other settings."""
    settings = night.settings.model_copy(update=changes)
    stage, attempt = _begin(night)
    runner.run(night.lake, stage, attempt, settings)
    return attempts.read_made(night.lake, stage, attempt).release_id


@pytest.mark.long
def test_lists_of_a_cluster_are_those_of_one_machine(night):
    assert _release(night) == _release(night, spark_master="local[2]")


def _kill_in_the_middle(night, kill, has_come=None):
    """Let a cluster make lists, and kill at a moment, else once there are some; the release or the error."""
    has_come = has_come or (lambda: _lists_in(night.settings))
    stage, attempt = _begin(night)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, night.lake, stage, attempt, night.settings)
        wait_until(lambda: running.done() or has_come(), lambda: 0, "the moment", pause=0.01)
        kill()
        assert not night.storage.exists(layout.scored(attempt))
        error = running.exception()
    return error or attempts.read_made(night.lake, stage, attempt).release_id


@pytest.mark.long
def test_a_worker_that_is_killed_changes_no_list(night, cluster):
    found = _kill_in_the_middle(night, lambda: cluster.kill("two"))
    cluster.start_worker("two")
    assert found == _release(night, spark_master="local[2]")


@pytest.mark.long
def test_a_worker_that_is_killed_while_executors_start_changes_no_list(night, cluster):
    work = cluster.folder / "two" / "work"
    before = len(list(work.glob("app-*")))
    found = _kill_in_the_middle(
        night, lambda: cluster.kill("two"), lambda: len(list(work.glob("app-*"))) > before
    )
    cluster.start_worker("two")
    assert found == _release(night, spark_master="local[2]")


@pytest.mark.long
def test_a_job_that_loses_all_its_workers_says_so_in_time(night, cluster):
    """Spark waited for others without end."""
    night.settings = night.settings.model_copy(update={"spark_wait": dt.timedelta(seconds=10)})

    def kill():
        cluster.kill("one")
        cluster.kill("two")

    found = _kill_in_the_middle(night, kill)
    cluster.start_worker("one")
    cluster.start_worker("two")
    with pytest.raises(ClusterUnavailable, match="an executor of 1g and all cores within 10 s, found none"):
        raise found
    assert _release(night) == _release(night, spark_master="local[2]")


@pytest.mark.long
@pytest.mark.parametrize("has_executors", [False, True])
def test_a_master_that_is_killed_changes_no_list_and_one_in_its_place_has_the_next_job(
    night, cluster, has_executors
):
    """Executors that are there go on; without any the job says so in time."""
    night.settings = night.settings.model_copy(update={"spark_wait": dt.timedelta(seconds=10)})
    log = cluster.folder / "master" / "log"
    before = log.stat().st_size
    moment = None if has_executors else (lambda: b"Registering app" in log.read_bytes()[before:])
    found = _kill_in_the_middle(night, lambda: cluster.kill("master"), moment)
    cluster.stop()
    cluster.start_master()
    cluster.start_worker("one")
    cluster.start_worker("two")
    expected = _release(night, spark_master="local[2]")
    assert found == expected or (not has_executors and isinstance(found, ClusterUnavailable))
    assert _release(night) == expected


def _is_driver(process):
    """Of `psutil.process_iter`, which gives no command line of a process that has ended."""
    return "SparkSubmit" in " ".join(process.info["cmdline"] or ())


@pytest.mark.long
def test_a_driver_that_is_killed_ends_its_attempt_and_the_next_one_comes_to_the_same(night):
    def kill():
        below = psutil.Process().children(recursive=True)
        [java] = [one for one in psutil.process_iter(["cmdline"]) if one in below and _is_driver(one)]
        java.kill()

    assert isinstance(_kill_in_the_middle(night, kill), JobFailed)
    assert _release(night) == _release(night, spark_master="local[2]")


def test_a_cluster_without_room_for_an_executor_says_so_in_time(night):
    """Spark waited without end."""
    with pytest.raises(ClusterUnavailable, match="an executor of 64g .* NIGHTJAR_SPARK_EXECUTOR_MEMORY"):
        _release(night, spark_executor_memory="64g", spark_wait=dt.timedelta(seconds=5))


def test_workers_without_the_python_that_is_named_are_told(night):
    with pytest.raises(ConfigError, match='found: Cannot run program "/none/python".* NIGHTJAR_SPARK_PYTHON'):
        _release(night, spark_python="/none/python")


def test_a_backfill_comes_to_the_releases_of_one_machine(cluster, on_s3, local):
    first, second, third = NIGHTS
    said = Run(cluster, on_s3, first).finish()
    assert first in releases(on_s3), said

    run, before = Run(cluster, on_s3, second), len(_lists_in(on_s3))
    run.wait_until(lambda: len(_lists_in(on_s3)) > before, "the first lists")
    cluster.kill("two")
    said = run.finish()
    assert second in releases(on_s3), said

    cluster.start_worker("three")
    said = Run(cluster, on_s3.model_copy(update={"block_mib": 1}), third).finish()
    assert releases(on_s3) == local, said


@pytest.mark.long
def test_als_on_the_cluster_has_the_factors_of_one_machine(cluster, on_s3, history, tmp_path):
    """Its matrix and its factors are on S3."""

    def factors(settings):
        lake = open_storage(settings.lake)
        training = Plan(stage="train", attempt=layout.new_attempt(), version=1, sections={}, based_on={})
        lake.put_new(layout.begun(training.attempt), b"2024-01-05T02:00:00+00:00")
        solve = SparkAls(lake, training, tmp_path, lambda name, attempt: submit(name, attempt, settings))
        bought = random_array((300, 40), density=0.2, rng=np.random.default_rng(3), dtype=np.float32)
        config = RetrievalSection(backend="spark", factors=8, iterations=2)
        return [rows.tobytes() for rows in retrieval.als(bought.tocsr(), config, 1, solve)]

    assert factors(on_s3) == factors(history)


def test_lists_were_made_on_the_workers_and_no_key_was_told(cluster, on_s3, s3_server):
    logs = [
        *on_s3.home.glob("logs/spark/*.log"),
        *cluster.folder.glob("*/log"),
        *cluster.folder.glob("*/work/*/*/std*"),
    ]
    assert {log.name.partition("-")[0] for log in logs} >= {"extract", "feature_tables", "score"}
    assert not [log for log in logs if s3_server.secret_key in log.read_text()]
