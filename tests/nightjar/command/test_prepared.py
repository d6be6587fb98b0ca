import pytest

from lake.settings import Settings
from nightjar.command import prepared
from spark_jobs import classes
from spark_jobs.java import java_home


@pytest.mark.spark
@pytest.mark.services
def test_the_classes_of_a_job_are_kept_whatever_the_places_are(tmp_path, monkeypatch):
    monkeypatch.setattr(classes, "FOLDER", tmp_path / "share")
    monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
    settings = Settings(home=tmp_path / "home", lake="s3://bucket/prefix", spark_master="spark://host:7077")
    prepared.archive_classes(settings)
    archive = classes.archive(java_home(settings))
    assert archive.stat().st_size > 100_000_000  # the classes of Spark's queries are among them
