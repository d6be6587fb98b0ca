"""The main job on the default data, from nothing: raw days, history, one night, the release.

Finished work is not done again, so that a second run prints the same at once.
"""

import datetime as dt
from itertools import islice

from lake.dataset import read_dataset
from lake.errors import NightjarError
from lake.names import StageName
from lake.partitions import ONE_DAY, days
from lake.records import Records
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.command import show
from nightjar.command.land import land
from nightjar.console import console, step
from nightjar.servers import local_airflow
from nightjar.servers.rest import Client
from nightjar.servers.waiting import STILL_SECONDS
from nightjar_reader import NoRelease, Reader

HOUSEHOLDS = 3


def run(day: dt.date, settings: Settings) -> None:
    """Do the night of `day` through Airflow, with all that it needs, and show what it published.

    Raises
    ------
    NightjarError
        When a run fails; the message names the task and ends with the end of its log.
    """
    with step("land the raw days of the demo data"):
        land(settings)
    history, night = _lacks_history(day, settings), _lacks_release(day, settings)
    if history or night:
        _run_dags(day, settings, history, night)
    else:
        console.print(f"history and the night of {day} are there already")
    _show(settings)


def _lacks_history(day: dt.date, settings: Settings) -> bool:
    ingested = Records(open_storage(settings.lake)).partitions(StageName.INGEST)
    first = read_dataset(settings.dataset).first_day
    return any(before not in ingested for before in days(first, day - ONE_DAY))


def _lacks_release(day: dt.date, settings: Settings) -> bool:
    try:
        return Reader(settings.releases).manifest.as_of < day.isoformat()
    except NoRelease:
        return True


def _run_dags(day: dt.date, settings: Settings, history: bool, night: bool) -> None:
    with local_airflow.running(settings) as airflow:
        client = airflow.client()
        console.print(f"Airflow's UI is at {airflow.url} meanwhile")
        if history:
            first = read_dataset(settings.dataset).first_day
            conf = {"from": first.isoformat(), "to": (day - ONE_DAY).isoformat()}
            with step(f"bootstrap_history from {conf['from']} to {conf['to']}, one Spark pass"):
                _run_dag(client, settings, "bootstrap_history", conf=conf)
        if night:
            with step(f"nightly of {day}"):
                _run_dag(client, settings, "nightly", partition=day.isoformat())


def _run_dag(
    client: Client,
    settings: Settings,
    dag: str,
    partition: str | None = None,
    conf: dict[str, str] | None = None,
) -> None:
    client.wait_for_dag(dag)
    client.unpause(dag)
    run_id = client.trigger(dag, partition=partition, conf=conf)
    # Airflow itself fails a task that takes longer than it may, and that moves the run
    ended = client.wait_for_run(dag, run_id, still=settings.heavy_timeout.total_seconds() + STILL_SECONDS)
    if ended.state != "success":
        raise NightjarError(f"{dag} {run_id} ended as {ended.state}{_first_failure(client, dag, run_id)}")


def _first_failure(client: Client, dag: str, run_id: str) -> str:
    failed = next((task for task in client.tasks(dag, run_id) if task.state == "failed"), None)
    if failed is None:
        return ""
    log = client.logs(dag, run_id, failed.id, failed.tries).splitlines()[-30:]
    return f" in {failed.id}; the end of its log:\n" + "\n".join(log)


def _show(settings: Settings) -> None:
    reader = Reader(settings.releases)
    show.print_release(reader)
    for user in islice(reader.users(), HOUSEHOLDS):
        show.print_list(settings, str(user), length=10)
    places = {
        "raw days": settings.raw,
        "lake": settings.lake,
        "releases": settings.releases,
        "models": settings.mlflow_uri,
        "reports": f"{settings.lake}/reports",
        "logs": settings.home / "logs",
    }
    console.print("\n[bold]where everything lies[/bold]")
    for name, place in places.items():
        console.print(f"  {name + ':':10} {place}", markup=False)
