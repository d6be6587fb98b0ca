"""### Remove what no night needs any more

Caches of old days, copies of raw files that were taken in, and what attempts without a record left.
Nothing goes that a record or an entry of a ledger names, or that a night which may still run can use.
"""

import steps
from airflow.sdk import DAG

from lake.dataset import read_dataset
from lake.partitions import begin_of
from lake.settings import load

settings = load()
data = read_dataset(settings.dataset, unparsed=True)

with DAG(
    "weekly_maintain",
    schedule="0 12 * * SUN",
    start_date=begin_of(data.first_day, data.zone),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": settings.retry_delay,
        "execution_timeout": settings.heavy_timeout,
    },
    doc_md=__doc__,
    tags=["nightjar"],
):
    steps.clean()
