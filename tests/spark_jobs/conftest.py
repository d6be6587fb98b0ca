from contextlib import contextmanager

import pytest

from spark_jobs import extract
from spark_jobs.session import PARTITIONS


@pytest.fixture
def partitions(spark, monkeypatch):
    """A function: within it, shuffles have so many partitions, and each writes what it gets."""

    @contextmanager
    def of_shuffles(count):
        options = {
            PARTITIONS: count,
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
            "spark.sql.autoBroadcastJoinThreshold": "-1",
        }
        before = {name: spark.conf.get(name) for name in options}
        with monkeypatch.context() as patched:
            patched.setattr(extract, "session_for", lambda app, rows: spark)
            try:
                for name, value in options.items():
                    spark.conf.set(name, value)
                yield
            finally:
                for name, value in before.items():
                    spark.conf.set(name, value)

    return of_shuffles
