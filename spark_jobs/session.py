"""The one place that makes and configures a Spark session."""

import logging
from typing import Final

from pyspark.sql import SparkSession

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
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # ICU's tables of letters take seconds of each job; Java's lower case is the same for our words.
    "spark.sql.icu.caseMappings.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def session(app: str) -> SparkSession:
    """The session of this process, made on the first call.

    The master is not set here: spark-submit gives it, and tests give it in `PYSPARK_SUBMIT_ARGS`.

    Parameters
    ----------
    app
        The name under which a cluster shows the program.
    """
    builder: SparkSession.Builder = SparkSession.builder.appName(app)
    for name, value in CONFIG.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


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
