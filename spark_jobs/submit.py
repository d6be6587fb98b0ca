"""Starts a job by spark-submit. Where the job fails, its own error is raised, not a Java trace."""

import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lake import errors, layout, messages
from lake.errors import ConfigError, DiskFull, JobFailed, NightjarError
from lake.processes import end, in_sessions
from lake.settings import Settings
from lake.storage import Storage, open_storage
from spark_jobs import classes, cluster, options
from spark_jobs.java import environment, java_home, spark_home
from spark_jobs.job import SUBMITTER, JobError
from spark_jobs.plans import ExtractPlan

log = logging.getLogger(__name__)

# Of the AWS library only what s3a uses: its bundle is one jar of 686 MB, these are 19 MB.
S3A_PACKAGES = (
    "org.apache.hadoop:hadoop-aws:3.5.0",
    *(
        f"software.amazon.awssdk:{name}:2.35.4"
        for name in ("s3", "s3-transfer-manager", "sts", "apache-client", "url-connection-client")
    ),
)
STOP_SECONDS = 10
"""Given to the JVM to end by itself before it is killed."""


def program(job: str) -> Path:
    """The file of a job, such as ``extract``."""
    return Path(__file__).with_name(f"{job}.py")


def spark_conf(settings: Settings) -> dict[str, str]:
    """The options of Spark that have to be set before the JVM starts."""
    partitions = settings.spark_partitions
    fixed = {"spark.sql.shuffle.partitions": str(partitions)} if partitions else {}
    shipped = cluster.conf(settings) if cluster.is_one(settings.spark_master) else {}
    return {
        "spark.driver.memory": settings.spark_memory,
        **fixed,
        **_s3_conf(settings),
        **shipped,
        **_beats(settings),
    }


def _beats(settings: Settings) -> dict[str, str]:
    """How often an executor says that it lives: seldom, as with a cached table Spark 4.2 may stumble over it.

    The thread then dies, and after `spark.network.timeout` the executor counts as lost with all that it
    cached (https://github.com/apache/spark/pull/58785). On one machine nobody need be told.
    """
    seconds = 60 if cluster.is_one(settings.spark_master) else 86_400
    return {"spark.executor.heartbeatInterval": f"{seconds}s", "spark.network.timeout": f"{5 * seconds}s"}


def _s3_conf(settings: Settings) -> dict[str, str]:
    """The options with which Spark reads and writes on S3. The access keys it takes from the environment."""
    if not any(uri.startswith("s3://") for uri in (settings.lake, settings.raw)):
        return {}
    from lake import s3

    jars = {
        "spark.jars.packages": ",".join(S3A_PACKAGES),
        "spark.jars.excludes": "software.amazon.awssdk:bundle",
        "spark.jars.ivy": str(settings.home / "ivy"),
    }
    return jars | s3.spark_options()


@dataclass(frozen=True)
class Job:
    """A program, and the plan that it runs.

    Attributes
    ----------
    name
        ``extract``, ``feature_tables``, ``als`` or ``score``.
    plan_uri
        The program's only argument.
    master, conf, environment
        Spark's master, its options, and the environment variables of spark-submit.
    logfile
        The file of its log.
    properties
        A file of more options; those of `conf` come before them.
    """

    name: str
    plan_uri: str
    master: str
    conf: Mapping[str, str]
    environment: Mapping[str, str]
    logfile: Path
    properties: str = ""


def command(job: Job) -> list[str]:
    """The spark-submit command of a job."""
    conf = [part for name, value in job.conf.items() for part in ("--conf", f"{name}={value}")]
    more = ["--properties-file", job.properties] if job.properties else []
    submit = str(spark_home() / "bin" / "spark-submit")
    return [submit, "--master", job.master, *more, *conf, str(program(job.name)), job.plan_uri]


def job_of(name: str, attempt: str, settings: Settings, has_few_rows: bool = False) -> Job:
    """The job that runs an attempt's plan; its log is kept in `NIGHTJAR_HOME`.

    Parameters
    ----------
    has_few_rows
        Whether it reads `spark_jobs.options.FEW_ROWS` at most.

    Raises
    ------
    ConfigError
        When there is no file of options where the settings name one.
    """
    properties = settings.spark_properties or ""
    if properties and not Path(properties).is_file():
        raise ConfigError(f"NIGHTJAR_SPARK_PROPERTIES: expected a file, found none at {properties}")
    of_java = [*options.java(has_few_rows), *classes.options(java_home(settings))]
    return Job(
        name,
        open_storage(settings.lake).uri(layout.plan(attempt)),
        settings.spark_master,
        {
            **spark_conf(settings),
            "spark.driver.defaultJavaOptions": " ".join(of_java),
            **options.OF_JOB.get(name, {}),
        },
        environment(settings),
        settings.home / "logs" / "spark" / f"{name}-{attempt}.log",
        properties,
    )


def start_here(job: Job) -> str:
    """Start a job by spark-submit on this machine and wait for it; return how it ended, in words."""
    job.logfile.parent.mkdir(parents=True, exist_ok=True)
    log.info("%s: spark-submit, log in %s", job.name, job.logfile)
    variables = os.environ | job.environment | {SUBMITTER: str(os.getpid())}
    code = _run(command(job), variables, job.logfile)
    return f"spark-submit ended with {code}; see {job.logfile}"


def submit(
    name: str,
    attempt: str,
    settings: Settings,
    start: Callable[[Job], str] = start_here,
    result: Callable[[str], str] = layout.result,
) -> None:
    """Run the job of an attempt, whose plan lies in its folder, and wait for it.

    Parameters
    ----------
    name
        ``extract``, ``feature_tables``, ``als`` or ``score``.
    attempt
        The attempt; it is run once.
    start
        A function that starts spark-submit, waits for it, and returns how it ended.
    result
        The path of the result of an attempt, as the program knows it.

    Raises
    ------
    NightjarError
        The job's own error, or `JobFailed` when the job left none.
    """
    cluster.require_master(settings.spark_master)
    storage = open_storage(settings.lake)
    job = job_of(name, attempt, settings, _has_few_rows(name, attempt, storage))
    try:
        ending = start(job)
    except NightjarError:  # nothing was started: this says what is missing here
        raise
    except Exception as failure:
        raise_job_error(storage, attempt, str(failure), result)
        raise
    raise_job_error(storage, attempt, ending, result)


def _has_few_rows(name: str, attempt: str, storage: Storage) -> bool:
    """Whether an extract has few; other jobs read more than the rows that their plans count."""
    if name != "extract" or not storage.exists(layout.plan(attempt)):
        return False
    return messages.read(storage, layout.plan(attempt), ExtractPlan).rows <= options.FEW_ROWS


def _run(line: list[str], env: Mapping[str, str], logfile: Path) -> int:
    with logfile.open("ab") as out:
        process = subprocess.Popen(
            line, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait()
        finally:
            if process.returncode is None:
                end(lambda: in_sessions({process.pid}), STOP_SECONDS)


def raise_job_error(
    storage: Storage,
    attempt: str,
    otherwise: str = "the job left neither",
    result: Callable[[str], str] = layout.result,
) -> None:
    """Raise the error of an attempt that has no result.

    Parameters
    ----------
    otherwise
        The end of the message when the job wrote neither a result nor an error.
    result
        The path of the result of an attempt.
    """
    if storage.exists(result(attempt)):
        return
    if not storage.exists(layout.error(attempt)):
        raise JobFailed(f"attempt {attempt} has no result: {otherwise}")
    if not storage.size(layout.error(attempt)):
        folder = storage.uri(layout.attempt(attempt))
        raise DiskFull(f"{folder}: the job ran out of space on this disk; free some, then run again")
    error = messages.read(storage, layout.error(attempt), JobError)
    log.debug("%s", error.trace)
    raise _exception(error)


def _exception(error: JobError) -> NightjarError:
    kind = getattr(errors, error.type, None)
    if isinstance(kind, type) and issubclass(kind, NightjarError):
        return kind(error.message)
    return JobFailed(f"{error.type}: {error.message}")
