"""The job of `nightjar cut`: the day of each row of files, by the rules of the ingest."""

from pyspark.sql import functions as fn

from lake import layout
from lake.partitions import day_sql
from lake.schemas import EVENT_TS, LANDED, ROW_NUMBER, SOURCE_FILE
from spark_jobs import judge, read
from spark_jobs.job import main
from spark_jobs.plans import CutResult, ExtractPlan
from spark_jobs.session import session_for


def run(plan: ExtractPlan) -> CutResult:
    """Write of each row its place and its day, which is null where its stamp cannot be read."""
    judged = judge.judged(session_for("cut", plan.rows), plan, judge.events(plan))
    day = fn.expr(day_sql(EVENT_TS, plan.config.zone)).alias(LANDED)
    days = judged.select(SOURCE_FILE, ROW_NUMBER, day)
    days.write.parquet(read.hadoop_path(f"{plan.lake}/{layout.days_of_rows(plan.attempt)}"))
    return CutResult(plan.rows)


if __name__ == "__main__":
    main(ExtractPlan, run)
