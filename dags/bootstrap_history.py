"""### Load history in one Spark pass

Takes in all raw days of a range at once and commits one record for each: the records that the
nightly runs would have written, so a year does not need 365 runs. Days that their own night
would have refused get no record and are named in the error. Started by hand.
"""

import steps
from airflow.sdk import DAG, Asset, Param
from operators import SparkStageOperator

from lake.dataset import read_dataset
from lake.names import StageName
from lake.settings import load

settings = load()
data = read_dataset(settings.dataset, unparsed=True)

with DAG(
    "bootstrap_history",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": settings.retry_delay,
        "execution_timeout": settings.heavy_timeout,
    },
    params={
        "from": Param(data.first_day.isoformat(), type="string", format="date", title="First day to load"),
        "to": Param(
            (data.last_day or data.first_day).isoformat(),
            type="string",
            format="date",
            title="Last day to load",
        ),
    },
    doc_md=__doc__,
    tags=["nightjar"],
):
    extract = SparkStageOperator(task_id="extract", stage=StageName.INGEST, job="extract", pool="spark")
    commit = steps.commit.override(outlets=[Asset("nightjar_interactions")])
    committed = commit(StageName.INGEST, extract.output)
    committed >> steps.mirror.override(pool="mirror")().as_teardown()
