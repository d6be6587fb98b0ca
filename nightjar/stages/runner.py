"""The one place that opens a stage by its name and decides where its plans run."""

from collections.abc import Callable
from typing import Any

from lake import cores, layout
from lake.lake import Lake
from lake.names import StageName
from lake.settings import Settings
from nightjar.stages import attempt as attempts
from nightjar.stages.stage import Stage
from spark_jobs import cluster
from spark_jobs.submit import Job, start_here, submit

Start = Callable[[Job], str]


def open_stage(name: StageName, settings: Settings) -> Stage[Any, Any]:
    """A stage, with as many threads as this process may use; only what it needs is imported."""
    threads = settings.threads or cores.count()
    match name:
        case StageName.INGEST:
            from nightjar.stages.ingest import Ingest

            return Ingest(threads)
        case StageName.FEATURES:
            from nightjar.stages.features import Features

            return Features(threads)
        case StageName.TRAIN:
            from nightjar.stages.train import Train

            return Train(
                threads,
                settings.block_mib,
                settings.ranker_on_disk,
                submit=lambda name, attempt: submit(name, attempt, settings),
            )
        case StageName.PRECOMPUTE:
            from nightjar.stages.precompute import Precompute

            return Precompute(threads, settings.block_mib)


def run(
    lake: Lake, stage: Stage[Any, Any], attempt: str, settings: Settings, start: Start = start_here
) -> None:
    """Run an attempt's plan: by spark-submit where the stage has a program, else in this process.

    On a cluster, the part of the work that can be done there is done first.

    Parameters
    ----------
    start
        Starts spark-submit and waits for it.
    """
    if stage.PROGRAM:
        submit(stage.PROGRAM, attempt, settings, start)
        return
    if stage.FANS_OUT and cluster.is_one(settings.spark_master):
        submit(stage.FANS_OUT, attempt, settings, start, layout.scored)
    attempts.work(lake, stage, attempt)
