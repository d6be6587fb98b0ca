"""The ALS job: factors of users and items by Spark ML, from a confidence matrix.

Spark adds up what its tasks give in the order in which they end, and reads a shuffle in the order in
which it arrives. The bytes depend on neither:

- Users and items are cut into two blocks each. Two summands have the same sum in either order. With a
  third block the Gram matrix of all factors would depend on which task ends first.
- All pairs pass through one partition, sorted. So every block is made of one task's output, in its order.
- `spark_jobs.submit` starts the job with options for the rest: how Java sums, and that nothing is spilled.
"""

from typing import Final

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession

from lake import layout
from lake.storage import open_storage
from spark_jobs import read
from spark_jobs.job import main
from spark_jobs.plans import AlsPlan, AlsResult
from spark_jobs.session import session_for

BLOCKS: Final = 2
"""Of users, and of items: as many tasks work side by side."""
CHECKPOINT_ITERATIONS: Final = 10
"""After so many the lineage is cut; that of hundreds would overflow the driver's stack."""


def run(plan: AlsPlan) -> AlsResult:
    """Fit ALS; a user or an item without a pair has no row of factors."""
    spark = session_for("als", plan.pairs)
    spark.sparkContext.setCheckpointDir(_path(plan, "checkpoints"))
    model = _als(plan).fit(_pairs(spark, plan))
    return AlsResult(_written(model.userFactors, "users", plan), _written(model.itemFactors, "items", plan))


def _als(plan: AlsPlan) -> ALS:
    config = plan.config.retrieval
    return ALS(
        userCol="user",
        itemCol="item",
        ratingCol="confidence",
        implicitPrefs=True,
        nonnegative=False,
        rank=config.factors,
        regParam=plan.regularization,
        alpha=config.alpha,
        maxIter=config.iterations,
        seed=config.seed,
        numUserBlocks=BLOCKS,
        numItemBlocks=BLOCKS,
        checkpointInterval=CHECKPOINT_ITERATIONS,
    )


def _pairs(spark: SparkSession, plan: AlsPlan) -> DataFrame:
    file = read.literal(f"{plan.lake}/{plan.confidence}")
    rows = spark.read.schema("user INT, item INT, confidence FLOAT").parquet(file)
    return rows.coalesce(1).sortWithinPartitions("user", "item")


def _written(factors: DataFrame, name: str, plan: AlsPlan) -> tuple[str, ...]:
    """The files of factors, in the folder of the attempt; each task writes a block."""
    factors.write.parquet(_path(plan, name))
    return tuple(open_storage(plan.lake).list(layout.attempt(plan.attempt, name)))


def _path(plan: AlsPlan, name: str) -> str:
    return read.hadoop_path(f"{plan.lake}/{layout.attempt(plan.attempt, name)}")


if __name__ == "__main__":
    main(AlsPlan, run)
