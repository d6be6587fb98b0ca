"""Spark jobs as tasks."""

import datetime as dt
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowException
from failures import reported

from lake import layout
from lake.lake import Lake
from lake.partitions import parse, resolve
from lake.settings import CHECKOUT, Settings, load
from lake.storage import open_storage

if TYPE_CHECKING:
    from airflow.sdk import Context


class SparkStageOperator(SparkSubmitOperator):
    """Prepares an attempt of a stage and submits its Spark job.

    The job gets one argument, the address of the request that `nightjar.<stage>.prepare` wrote.
    Returns the attempt. When the job fails, its own error is raised instead of Spark's.

    Parameters
    ----------
    stage
        The module of `nightjar` that prepares.
    job
        The program in `spark_jobs`.
    """

    def __init__(self, *, stage: str, job: str, **kwargs: Any) -> None:
        super().__init__(
            application=str(CHECKOUT / "spark_jobs" / f"{job}.py"),
            name=f"nightjar-{job}",
            conn_id="spark_default",
            **kwargs,
        )
        self.stage = stage

    def execute(self, context: "Context") -> str:  # type: ignore[override]
        """Prepare, submit, and wait for the job."""
        with reported():
            settings = load()
            attempt: str = import_module(f"nightjar.{self.stage}").prepare(
                *_days(context), Lake.open(settings)
            )
            self._submit(attempt, settings, context)
            return attempt

    def _submit(self, attempt: str, settings: Settings, context: "Context") -> None:
        from spark_jobs import java, submit

        storage = open_storage(settings.lake)
        self.application_args = [storage.uri(layout.request(attempt))]
        self.env_vars = java.environment(settings)
        self.conf = submit.spark_conf(settings)
        try:
            super().execute(context)
        except AirflowException as failure:
            submit.raise_job_error(storage, attempt, str(failure))
            raise
        submit.raise_job_error(storage, attempt)


def _days(context: "Context") -> list[dt.date]:
    """The range that the run's parameters give, else the run's partition."""
    params = context["params"]
    return [parse(params["from"]), parse(params["to"])] if "from" in params else [resolve(context)]
