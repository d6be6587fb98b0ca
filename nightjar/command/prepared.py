"""What `nightjar prepare` makes: at installation, or before servers start, so that no night has to."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lake.dataset import read_dataset
from lake.lake import Lake
from lake.names import StageName
from lake.settings import Settings
from nightjar.command.land import land
from nightjar.servers import local_airflow
from nightjar.stages import attempt as attempts
from nightjar.stages import runner
from spark_jobs import classes
from spark_jobs.java import java_home
from spark_jobs.submit import Job, start_here

log = logging.getLogger(__name__)

HOUSEHOLDS = 100
"""Whose day of the demo is taken in, with the whole catalogue: so no path of the job is left out."""


def archive_classes(settings: Settings) -> None:
    """Keep the classes that Java loads for the ingest of one day, which are nearly those of every job."""
    with tempfile.TemporaryDirectory() as folder:
        small = _apart(settings, Path(folder))
        classes.make(java_home(settings), lambda option: _ingest(small, option))


def _apart(settings: Settings, folder: Path) -> Settings:
    """The settings with the demo's data and a lake of its own, on this machine alone."""
    lake = folder.as_uri()
    places = {"lake": lake, "raw": f"{lake}/raw", "releases": f"{lake}/published"}
    spark = {"spark_master": "local[2]", "spark_properties": None}
    return settings.model_copy(update={"dataset": "complete_journey", **places, **spark})


def _ingest(settings: Settings, option: str) -> None:
    """Take in one day, with an option of Java more."""

    def start(job: Job) -> str:
        return start_here(replace(job, conf={**job.conf, "spark.driver.extraJavaOptions": option}))

    log.info("keeping the classes that Java loads for Spark, once for this environment")
    day = read_dataset(settings.dataset).first_day
    land(settings, day, day, HOUSEHOLDS)
    lake, stage = Lake.open(settings), runner.open_stage(StageName.INGEST, settings)
    runner.run(lake, stage, attempts.begin(lake, stage, [day]), settings, start)


def compile_kernels(settings: Settings) -> None:
    """Compile what nights run by numba."""
    from recommender import compiling

    log.info("compiling what nights run by numba, once for this machine")
    compiling.compile_kernels()


PREPARE: dict[str, Callable[[Settings], None]] = {
    "buckets": local_airflow.make_buckets,
    "classes": archive_classes,
    "database": local_airflow.migrate,
    "kernels": compile_kernels,
    "pools": local_airflow.make_pools_of_running,
}
"""By the word that the command takes."""
