"""### The night of one partition

Takes in the raw day that landed, builds features as of it, trains and decides, makes lists and
publishes them. Runs for yesterday at 02:00 in the data set's zone. A backfill runs the same nights; clearing
a group runs one stage again (clear `precompute` with `train`, which it does not follow, for new lists).
`decide` runs whatever happened before it: a night whose training failed ships lists by the newest
earlier decision and ends red. Last, the Delta tables follow.

To run one day by hand, trigger with a partition key such as `2017-09-30`.
"""

import datetime as dt

import steps
from airflow.sdk import DAG, Asset, task_group
from operators import SparkStageOperator
from sensors import DecisionSensor, HistorySensor, PreviousDecisionSensor, RawDaySensor
from timetables import NightlyPartitionTimetable

from lake.dataset import read_dataset
from lake.names import StageName
from lake.partitions import begin_of, end_of
from lake.settings import load

UNTIL_TICK = dt.timedelta(hours=3)  # 02:00 is so late where clocks went back before
settings = load()
data = read_dataset(settings.dataset, unparsed=True)
light, heavy = settings.light_timeout, settings.heavy_timeout
spark = {"pool": "spark", "execution_timeout": heavy}


@task_group
def ingest() -> None:
    """Raw day -> interactions, quarantine, catalogue."""
    extract = SparkStageOperator(task_id="extract", stage=StageName.INGEST, job="extract", **spark)
    commit = steps.commit.override(outlets=[Asset("nightjar_interactions")])
    RawDaySensor(task_id="wait_for_raw") >> extract >> commit(StageName.INGEST, extract.output)


@task_group
def features() -> None:
    """Interactions -> the four feature tables as of the day and its snapshots."""
    build = SparkStageOperator(task_id="build", stage=StageName.FEATURES, job="feature_tables", **spark)
    commit = steps.commit.override(outlets=[Asset("nightjar_features")])
    HistorySensor(task_id="wait_for_history") >> build >> commit(StageName.FEATURES, build.output)


@task_group
def train(night: int) -> None:
    """Features -> a bundle and the night's decision."""
    work = steps.work.override(task_id="train", pool="train", execution_timeout=heavy)(StageName.TRAIN)
    decide = steps.decide.override(outlets=[Asset("nightjar_decision")])
    PreviousDecisionSensor(task_id="wait_for_decision") >> work >> decide(night, "train.train")


@task_group
def precompute() -> None:
    """Features and the newest decision -> a release."""
    build = steps.work.override(task_id="build", pool="precompute", execution_timeout=heavy)
    attempt = build(StageName.PRECOMPUTE)
    publish = steps.publish.override(outlets=[Asset("nightjar_release")])
    DecisionSensor(task_id="wait_for_decide", decide="train.decide") >> attempt >> publish(attempt)


with DAG(
    "nightly",
    schedule=NightlyPartitionTimetable("0 2 * * *", timezone=data.zone),
    start_date=begin_of(data.first_day, data.zone),
    end_date=end_of(data.last_day, data.zone) + UNTIL_TICK if data.last_day else None,
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 2, "retry_delay": settings.retry_delay, "execution_timeout": light},
    doc_md=__doc__,
    tags=["nightjar"],
):
    night = steps.open_night()
    built = features()
    mirror = steps.mirror.override(pool="mirror")
    night >> ingest() >> built >> [train(night), precompute()] >> mirror().as_teardown()
