"""The one place that makes and configures a Spark session."""

from typing import Final

from pyspark.sql import SparkSession

CONFIG: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.shuffle.partitions": "8",
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
