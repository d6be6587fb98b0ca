"""Starts a job by spark-submit, and raises the job's own error instead of a Java trace."""

import logging
import os
import subprocess
from pathlib import Path

from lake import errors, layout, messages
from lake.errors import DiskFull, JobFailed, NightjarError
from lake.processes import end, in_sessions
from lake.settings import Settings
from lake.storage import Storage, open_storage
from spark_jobs.java import environment, spark_home
from spark_jobs.job import SUBMITTER, JobError

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


def program(job: str) -> Path:
    """The file of a job, such as ``extract``."""
    return Path(__file__).with_name(f"{job}.py")


def spark_conf(settings: Settings) -> dict[str, str]:
    """What has to be set before the JVM starts."""
    return {"spark.driver.memory": settings.spark_memory, **_s3_conf(settings)}


def _s3_conf(settings: Settings) -> dict[str, str]:
    """What Spark needs where it reads or writes on S3; the keys it finds in the environment."""
    if not any(place.startswith("s3://") for place in (settings.lake, settings.raw)):
        return {}
    from lake import s3

    jars = {
        "spark.jars.packages": ",".join(S3A_PACKAGES),
        "spark.jars.excludes": "software.amazon.awssdk:bundle",
        "spark.jars.ivy": str(settings.home / "ivy"),
    }
    return jars | s3.spark_options()


def command(job: str, request_uri: str, settings: Settings) -> list[str]:
    """The spark-submit command that runs a job's request."""
    conf = [part for name, value in spark_conf(settings).items() for part in ("--conf", f"{name}={value}")]
    submit = str(spark_home() / "bin" / "spark-submit")
    return [submit, "--master", settings.spark_master, *conf, str(program(job)), request_uri]


def submit(job: str, attempt: str, settings: Settings) -> None:
    """Run a job whose request lies in an attempt's folder, and wait for it.

    Its log goes to ``logs/spark/<job>-<attempt>.log`` in `NIGHTJAR_HOME`.

    Parameters
    ----------
    job
        ``extract`` or ``features``.
    attempt
        The attempt; it is run once.

    Raises
    ------
    NightjarError
        The job's own error, or `JobFailed` naming the log when the job left none.
    """
    storage = open_storage(settings.lake)
    logfile = settings.home / "logs" / "spark" / f"{job}-{attempt}.log"
    logfile.parent.mkdir(parents=True, exist_ok=True)
    line = command(job, storage.uri(layout.request(attempt)), settings)
    log.info("%s: spark-submit, log in %s", job, logfile)
    told = environment(settings) | {SUBMITTER: str(os.getpid())}
    code = _run(line, os.environ | told, logfile)
    raise_job_error(storage, attempt, f"spark-submit ended with {code}; see {logfile}")


def _run(line: list[str], env: dict[str, str], logfile: Path) -> int:
    with logfile.open("ab") as out:
        process = subprocess.Popen(
            line, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait()
        finally:
            if process.returncode is None:
                end(lambda: in_sessions({process.pid}), STOP_SECONDS)


def raise_job_error(storage: Storage, attempt: str, otherwise: str = "the job left neither") -> None:
    """Return when the attempt has a result; raise what ended it when it has not.

    Parameters
    ----------
    otherwise
        What to say when the job wrote neither a result nor an error.
    """
    if storage.exists(layout.result(attempt)):
        return
    if not storage.exists(layout.error(attempt)):
        raise JobFailed(f"attempt {attempt} has no result: {otherwise}")
    if not storage.size(layout.error(attempt)):
        place = storage.uri(layout.attempt(attempt))
        raise DiskFull(f"{place}: the job ran out of space on this disk; free some, then run again")
    error = messages.read(storage, layout.error(attempt), JobError)
    log.debug("%s", error.trace)
    raise _exception(error)


def _exception(error: JobError) -> NightjarError:
    kind = getattr(errors, error.type, None)
    if isinstance(kind, type) and issubclass(kind, NightjarError):
        return kind(error.message)
    return JobFailed(f"{error.type}: {error.message}")
