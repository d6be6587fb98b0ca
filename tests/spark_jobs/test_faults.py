import pytest

from lake.errors import ClusterUnavailable, ConfigError, PermanentError, StorageUnavailable
from spark_jobs.faults import no_executor, of_cluster

IN_TASK = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed 4 times, \
most recent failure: Lost task 1.3 in stage 0.0 (TID 9) (127.0.0.1 executor 1): \
org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/opt/spark/python/lib/pyspark.zip/pyspark/worker.py", line 3395, in main
    process()
    ~~~~~~~^^
  File "nightjar-0a1b.zip/spark_jobs/buckets.py", line 71, in write
    making = load()
{raised}

\tat org.apache.spark.api.python.BasePythonRunner
"""


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        ("lake.errors.StorageUnavailable: s3://b/x: run again", StorageUnavailable, "^s3://b/x: run again$"),
        ("lake.errors.PermanentError: x: expected 1, found 2", PermanentError, "^x: expected 1, found 2$"),
        (
            "ModuleNotFoundError: No module named 'numba'",
            ConfigError,
            "found: ModuleNotFoundError: No",
        ),
        (
            "pyspark.errors.exceptions.base.PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python in worker",
            ConfigError,
            "NIGHTJAR_SPARK_PYTHON",
        ),
    ],
)
def test_what_a_task_raised_is_told_as_it_was(raised, kind, message):
    found = of_cluster(IN_TASK.format(raised=raised))
    assert type(found) is kind
    with pytest.raises(kind, match=message):
        raise found


@pytest.mark.parametrize(
    "raised", ["ValueError: no", "lake.errors.log: no error", "other.StorageUnavailable: not ours"]
)
def test_other_errors_of_a_task_have_no_meaning_of_their_own(raised):
    assert of_cluster(IN_TASK.format(raised=raised)) is None


def test_the_error_that_came_last_is_the_one():
    first = 'Traceback (most recent call last):\n  File "x"\nKeyError: 1\n\nDuring handling, another:\n\n'
    assert isinstance(of_cluster(first + IN_TASK.format(raised="lake.errors.ConfigError: a")), ConfigError)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('java.io.IOException: Cannot run program "./environment/bin/python": error=2, No such', ConfigError),
        ("org.apache.spark.SparkException: Master removed our application: FAILED", ClusterUnavailable),
        ("All masters are unresponsive! Giving up.", ClusterUnavailable),
        (
            "java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.",
            ClusterUnavailable,
        ),
        ("Job 0 cancelled because SparkContext was shut down", ClusterUnavailable),
    ],
)
def test_a_cluster_that_cannot_run_a_job_is_told(text, kind):
    assert type(of_cluster(text)) is kind


def test_a_job_without_an_executor_is_told_what_to_do():
    why = no_executor("spark://a:7077", "2g and all cores", 600)
    found = of_cluster(f"org.apache.spark.SparkException: Job 7 cancelled {why}\n\tat org")
    assert isinstance(found, ClusterUnavailable)
    assert str(found) == why


def test_an_error_of_spark_alone_is_none_of_the_cluster():
    assert of_cluster(": org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed") is None
