"""The one place that makes and configures a Spark session."""

import logging
import os
import threading
import time
from contextlib import suppress
from typing import Final

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark import SparkContext
from pyspark.sql import SparkSession

from spark_jobs import cluster, faults
from spark_jobs.options import SECRET

log = logging.getLogger(__name__)

PARTITIONS: Final = "spark.sql.shuffle.partitions"
ROWS_PER_PARTITION: Final = 500_000
"""A task sorts so many in memory: of our widest rows, which have about 200 bytes, they are 100 MB."""
LEAST_PARTITIONS: Final = 8
"""Of few rows too, as keys have uneven numbers of rows; Spark merges partitions that stay small."""

CONFIG: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Stamps in nanoseconds, as pandas writes them, are read as integers; casts.py turns them into stamps.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # A page that is not what was written is never read; the file check has read each once before.
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    # Stamps before 1900 mean what they say, unless Spark 2 wrote them; by default Spark refuses the file.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    # Below this many paths Spark lists them itself instead of starting a job for it.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000",
    # Such a job has a task for each path by default, and 1,440 files took ten times as long to list.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # ICU's tables of letters take seconds of each job; Java's lower case is the same for our words.
    "spark.sql.icu.caseMappings.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def session(app: str) -> SparkSession:
    """The session of this process, made on the first call; that of a cluster is watched from then on.

    The master is not set here: spark-submit gives it, and tests give it in `PYSPARK_SUBMIT_ARGS`.

    Parameters
    ----------
    app
        The name under which a cluster shows the program.
    """
    builder: SparkSession.Builder = SparkSession.builder.appName(app)
    for name, value in (CONFIG | _login()).items():
        builder = builder.config(name, value)
    is_first = SparkSession.getActiveSession() is None
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    if is_first and cluster.is_one(str(spark.sparkContext.master)):
        threading.Thread(target=_watch, args=[spark.sparkContext], daemon=True).start()
        _take_executor(spark)
    return spark


def _take_executor(spark: SparkSession) -> None:
    """Run a task, so that the log says what executors there are, and when they came."""
    options, began = spark.sparkContext.getConf(), time.monotonic()
    spark.range(1, numPartitions=1).count()
    memory, cores = options.get("spark.executor.memory"), options.get("spark.executor.cores") or "all"
    log.info("executors of %s and %s cores, after %.0f s", memory, cores, time.monotonic() - began)


def _watch(context: SparkContext) -> None:
    """Cancel the jobs that have had no executor for too long: Spark by itself waits for one without end."""
    options = context.getConf()
    seconds = float(options.get(cluster.WAIT) or 600)
    memory, cores = options.get("spark.executor.memory"), options.get("spark.executor.cores") or "all"
    reason = faults.no_executor(str(context.master), f"{memory} and {cores} cores", seconds)
    java, last = context._jsc.sc(), time.monotonic()
    status = java.statusTracker()
    with suppress(Py4JError):  # the job has ended, and Java with it
        while True:
            time.sleep(1)
            jobs = list(status.getActiveJobIds())
            if not jobs or len(status.getExecutorInfos()) > 1:  # the driver is one
                last = time.monotonic()
            elif time.monotonic() - last >= seconds:
                for job in jobs:
                    java.cancelJob(job, reason)


def _login() -> dict[str, str]:
    """How the program logs in to a cluster that has a secret; on its command line everyone could read it."""
    secret = os.environ.get(SECRET)
    return {"spark.authenticate": "true", "spark.authenticate.secret": secret} if secret else {}


def session_for(app: str, rows: int) -> SparkSession:
    """The session of a job that reads so many rows; its log begins with what the job may take.

    `NIGHTJAR_SPARK_PARTITIONS`, which is an option of Spark by then, comes before `shuffle_partitions`.
    """
    spark = session(app)
    context, options = spark.sparkContext, spark.sparkContext.getConf()
    partitions = int(options.get(PARTITIONS) or shuffle_partitions(rows, context.defaultParallelism))
    spark.conf.set(PARTITIONS, partitions)
    log.info(
        "Spark: %s, %s of memory, %d partitions for %d rows (NIGHTJAR_SPARK_MASTER, NIGHTJAR_SPARK_MEMORY "
        "and NIGHTJAR_SPARK_PARTITIONS set them)",
        context.master, options.get("spark.driver.memory"), partitions, rows,
    )  # fmt: skip
    return spark


def shuffle_partitions(rows: int, cores: int) -> int:
    """How many partitions the shuffles of a job have: one at least for each core and `ROWS_PER_PARTITION`."""
    return max(LEAST_PARTITIONS, cores, -(-rows // ROWS_PER_PARTITION))
