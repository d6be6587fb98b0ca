"""The job of `nightjar cut`: the day of each row of a file, by the rules of the ingest."""

from pyspark.sql import functions as fn

from lake import layout
from lake.partitions import day_sql
from lake.schemas import EVENT_TS, LANDED, ROW_NUMBER
from spark_jobs import judge, read
from spark_jobs.job import main
from spark_jobs.plans import CutResult, ExtractPlan
from spark_jobs.session import session_for


def run(plan: ExtractPlan) -> CutResult:
    """Write of each row its number and its day, which is null where its stamp cannot be read."""
    judged = judge.judged(session_for("cut", plan.rows), plan, judge.events(plan))
    days = judged.select(ROW_NUMBER, fn.expr(day_sql(EVENT_TS, plan.config.zone)).alias(LANDED))
    days.write.parquet(read.hadoop_path(f"{plan.lake}/{layout.days_of_rows(plan.attempt)}"))
    return CutResult(plan.rows)


if __name__ == "__main__":
    main(ExtractPlan, run)
