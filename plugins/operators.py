"""Spark jobs as tasks."""

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from failures import reported

from lake.lake import Lake
from lake.names import StageName
from lake.partitions import days, parse, resolve
from lake.settings import CHECKOUT, load

if TYPE_CHECKING:
    from airflow.sdk import Context


class SparkStageOperator(SparkSubmitOperator):
    """Begins an attempt of a stage and submits its Spark job.

    The job gets one argument, the address of the attempt's plan. Returns the attempt. When the job
    fails, its own error is raised instead of Spark's.

    Parameters
    ----------
    stage
        The stage.
    job
        Its program in `spark_jobs`.
    """

    def __init__(self, *, stage: StageName, job: str, **kwargs: Any) -> None:
        super().__init__(
            application=str(CHECKOUT / "spark_jobs" / f"{job}.py"),
            name=f"nightjar-{job}",
            conn_id="spark_default",
            **kwargs,
        )
        self.stage = stage

    def execute(self, context: "Context") -> str:  # type: ignore[override]
        """Begin, submit, and wait for the job."""
        with reported():
            from nightjar.stages import attempt as attempts
            from nightjar.stages import runner

            settings = load()
            lake, stage = Lake.open(settings), runner.open_stage(self.stage, settings)
            attempt = attempts.begin(lake, stage, _days(context))
            runner.run(lake, stage, attempt, settings, start=partial(self._start, context))
            return attempt

    def _start(self, context: "Context", job: Any) -> str:
        """Submit a `spark_jobs.submit.Job` as Airflow's operator does, and wait for it."""
        self.application_args = [job.plan_uri]
        self.env_vars = dict(job.environment)
        self.conf = dict(job.conf)
        self.properties_file = job.properties or None
        super().execute(context)
        return "spark-submit ended well"


def _days(context: "Context") -> list[dt.date]:
    """The range that the run's parameters give, else the run's partition."""
    params = context["params"]
    return list(days(parse(params["from"]), parse(params["to"]))) if "from" in params else [resolve(context)]
