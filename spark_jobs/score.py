"""The job of lists: each task makes those of some buckets, as list making does here.

A task reads all files of the features and passes over users of other buckets. So there are not many more
tasks than cores: with more, a lost one would cost less, and all of them together would read more.
"""

import logging
from functools import reduce
from typing import Final

import numpy as np
from pyspark import SparkContext

from lake import layout, s3
from spark_jobs.buckets import Part, ScoreResult, Task
from spark_jobs.job import main
from spark_jobs.plans import PrecomputePlan
from spark_jobs.session import session

log = logging.getLogger(__name__)

TASKS_PER_CORE: Final = 2


def run(plan: PrecomputePlan) -> ScoreResult:
    """Put the lists of all buckets into the attempt's folder."""
    context, buckets = session(f"nightjar lists {plan.day}").sparkContext, plan.config.lists.buckets
    threads = int(context.getConf().get("spark.task.cpus") or 1)
    shares = share_out(buckets, _tasks(context, threads, buckets))
    log.info("%d buckets in %d tasks of %d threads", buckets, len(shares), threads)
    task = Task(plan.lake, plan.attempt, threads, s3.environment())
    parts = context.parallelize(shares, len(shares)).map(task.write).collect()
    whole = reduce(Part.merge, parts)
    return ScoreResult(whole.totals.made(), dict(whole.files))


def _tasks(context: SparkContext, threads: int, buckets: int) -> int:
    """How many tasks there are: where executors come as they are needed, one for each bucket."""
    if context.getConf().get("spark.dynamicAllocation.enabled") == "true":
        return buckets
    return TASKS_PER_CORE * max(1, context.defaultParallelism // threads)


def share_out(buckets: int, tasks: int) -> list[list[int]]:
    """The buckets of each task, about equally many; no task is without."""
    return [part.tolist() for part in np.array_split(np.arange(buckets), min(buckets, tasks))]


if __name__ == "__main__":
    main(PrecomputePlan, run, layout.scored)
