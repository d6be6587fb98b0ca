import pytest

from lake.settings import Settings
from nightjar.command import prepared
from spark_jobs import classes
from spark_jobs.java import java_home


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Those of a cluster that works on S3, as variables say."""
    for name in ("LAKE", "RAW", "RELEASES"):
        monkeypatch.setenv(f"NIGHTJAR_{name}", f"s3://bucket/{name}")
    return Settings(home=tmp_path / "home", spark_master="spark://host:7077")


def test_nothing_is_landed_in_the_places_of_the_settings(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(classes, "make", lambda home, run: run("-XX:an-option"))
    monkeypatch.setattr(prepared, "_ingest", lambda small, option: taken.append((small, option)))
    taken = []
    prepared.archive_classes(settings)
    [(small, option)] = taken
    assert option == "-XX:an-option"
    assert all(uri.startswith("file:///") for uri in (small.lake, small.raw, small.releases))
    assert (small.home, small.spark_master) == (tmp_path / "home", "local[2]")


@pytest.mark.spark
@pytest.mark.services
def test_the_classes_of_a_job_are_kept(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(classes, "FOLDER", tmp_path / "share")
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    prepared.archive_classes(settings)
    archive = classes.archive(java_home(settings))
    assert archive.stat().st_size > 100_000_000  # the classes of Spark's queries are among them
