import socket
import subprocess
import sys
import zipfile

import pytest

from lake.errors import ClusterUnavailable, ConfigError
from lake.settings import Settings
from nightjar.servers.local_airflow import free_port
from spark_jobs import cluster
from spark_jobs.java import environment
from spark_jobs.submit import command, job_of

REMOTE = "spark://10.0.0.7:7077"


@pytest.mark.parametrize(
    ("master", "is_one", "is_here"),
    [
        ("local[2]", False, True),
        ("local", False, True),
        ("spark://127.0.0.1:7077", True, True),
        ("spark://[::1]:7077,localhost:7078", True, True),
        ("spark://127.0.0.1:7077,10.0.0.7:7077", True, False),
        ("spark://spark-master:7077", True, False),
        ("yarn", True, False),
        ("k8s://https://127.0.0.1:6443", True, False),
    ],
)
def test_which_masters_are_of_a_cluster_and_which_of_this_machine(master, is_one, is_here):
    """The executors of a cluster elsewhere have to reach the driver."""
    assert (cluster.is_one(master), cluster.is_here(master)) == (is_one, is_here)


def test_code_is_packed_with_all_that_tasks_import_and_nothing_else(tmp_path):
    packed = cluster.pack(tmp_path)
    script = (
        "import sys, spark_jobs.buckets, spark_jobs.score; ours = {m.split('.')[0] for m in sys.modules"
        f" if m.split('.')[0] in {cluster.PACKAGES!r}}}; print(*sorted(ours));"
        f"print(all('.zip/' in sys.modules[name].__file__ for name in ours))"
    )
    line = [sys.executable, "-c", script]
    done = subprocess.run(
        line, cwd=tmp_path, env={"PYTHONPATH": str(packed)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [" ".join(cluster.PACKAGES), "True"]
    names = zipfile.ZipFile(packed).namelist()
    assert "recommender/userlists.py" in names
    assert {name.split("/")[0] for name in names} == set(cluster.PACKAGES)


def _code(folder, text):
    for package in cluster.PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(text)
    return folder


def test_the_same_code_is_the_same_file_wherever_it_lies(tmp_path):
    texts = {"a": "one", "b": "one", "c": "two"}
    packed = [
        cluster.pack(tmp_path / f"to-{name}", _code(tmp_path / name, text)) for name, text in texts.items()
    ]
    assert packed[0].name == packed[1].name != packed[2].name
    assert packed[0].read_bytes() == packed[1].read_bytes()


def test_what_is_packed_already_is_left_and_nothing_half_written_stays(tmp_path):
    first = cluster.pack(tmp_path)
    before = first.stat().st_mtime_ns
    assert cluster.pack(tmp_path).stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [first]


def _line(settings: Settings) -> str:
    return " ".join(command(job_of("score", "a1", settings)))


def test_a_cluster_is_told_what_its_workers_need(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    archive, options = "s3://bucket/env.tar.gz", tmp_path / "spark.conf"
    options.touch()
    settings = Settings(
        home=tmp_path,
        lake="s3://bucket/lake",
        spark_master=REMOTE,
        spark_executor_memory="3g",
        spark_executor_cores=2,
        spark_archive=archive,
        spark_properties=str(options),
    )
    line = _line(settings)
    [code] = (tmp_path / "spark").iterdir()
    for told in (
        f"--properties-file {options}",
        f"spark.submit.pyFiles={code}",
        "spark.executor.memory=3g",
        "spark.executor.cores=2",
        "spark.archives=s3a://bucket/env.tar.gz#environment",
        "spark.executorEnv.OPENBLAS_CORETYPE=Haswell",
    ):
        assert told in line
    assert "the-secret-key" not in line
    assert environment(settings)["PYSPARK_PYTHON"] == "./environment/bin/python"
    assert "SPARK_LOCAL_IP" not in environment(settings)


def test_options_in_a_file_that_is_not_there_are_told(tmp_path):
    """Spark-submit ended with 1, and its log had a Java trace."""
    with pytest.raises(ConfigError, match="NIGHTJAR_SPARK_PROPERTIES: expected a file, found none at /none"):
        _line(Settings(home=tmp_path, spark_master=REMOTE, spark_properties="/none"))


def test_python_is_that_of_the_driver_unless_it_is_told(tmp_path):
    told = {"home": tmp_path, "spark_master": REMOTE}
    assert environment(Settings(**told))["PYSPARK_PYTHON"] == sys.executable
    named = Settings(**told, spark_python="/opt/python", spark_archive="env.tar.gz")
    assert environment(named)["PYSPARK_PYTHON"] == "/opt/python"


def test_nothing_travels_within_one_machine(tmp_path):
    line = _line(Settings(home=tmp_path, spark_master="local[2]"))
    assert "spark.submit.pyFiles" not in line
    assert "spark.executorEnv" not in line
    assert "spark.executor.memory" not in line


def test_a_master_that_listens_is_one():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cluster.require_master(f"spark://127.0.0.1:{port}", seconds=0)
        cluster.require_master(f"spark://127.0.0.1:{free_port()},127.0.0.1:{port}", seconds=0)


@pytest.mark.parametrize("master", ["local[2]", "yarn", "k8s://https://nowhere:6443"])
def test_only_a_master_of_sparks_own_is_asked(master):
    cluster.require_master(master, seconds=0)


def test_a_master_that_is_away_is_told_with_its_setting():
    master = f"spark://127.0.0.1:{free_port()}"
    with pytest.raises(ClusterUnavailable, match=rf"{master}: expected .* refused; .*NIGHTJAR_SPARK_MASTER"):
        cluster.require_master(master, seconds=0)


def test_a_master_that_comes_back_in_time_is_one():
    tries = []

    def connect(_):
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "_connect", connect)
        cluster.require_master(REMOTE, seconds=30)
    assert len(tries) == 2
