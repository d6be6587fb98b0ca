"""A small client of Airflow's REST API: what the demo, the tests and the command need."""

import datetime as dt
import logging
from typing import Any, Literal

import httpx
import tenacity
from pydantic import BaseModel, Field

from lake.errors import NightjarError
from nightjar.servers.waiting import STILL_SECONDS, wait_until

log = logging.getLogger(__name__)

Json = dict[str, Any]
Reprocess = Literal["none", "failed", "completed"]

ENDED_RUN = frozenset({"success", "failed"})
LOGGED = frozenset({"running", "success", "failed", "skipped", "upstream_failed", "up_for_retry"})
# Ten seconds in all: enough for an API server that is busy, and soon said of one that is down.
TRIES = 20
RETRY_SECONDS = 0.5
REPEATABLE = frozenset({"GET", "PUT", "PATCH"})  # each sets a state or reads it: twice is as once
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
PARTS = frozenset({"scheduler", "dag-processor", "triggerer"})


class RestError(NightjarError):
    """Airflow's API refused a request, or cannot do what was asked."""


class Undone(RestError):
    """A request failed that may be made again: it did not arrive, or does no harm when repeated."""


class Task(BaseModel, frozen=True):
    """A task of a run.

    Attributes
    ----------
    try_id
        Names its last try; the processes of the try bear it in their titles.
    state
        None before it is scheduled.
    seconds
        How long its last try took; None before it has ended.
    """

    id: str = Field(validation_alias="task_id")
    try_id: str = Field(validation_alias="id")
    state: str | None
    tries: int = Field(validation_alias="try_number")
    start: dt.datetime | None = Field(validation_alias="start_date")
    end: dt.datetime | None = Field(validation_alias="end_date")
    seconds: float | None = Field(validation_alias="duration")


class Run(BaseModel, frozen=True):
    """A run of a DAG."""

    id: str = Field(validation_alias="dag_run_id")
    partition: str | None = Field(default=None, validation_alias="partition_key")
    kind: str = Field(validation_alias="run_type")
    state: str


def answers(url: str) -> bool:
    """Whether a GET of an address, such as that of a server's health, succeeds."""
    return _get(url) is not None


def health(url: str) -> set[str]:
    """The parts of Airflow that say that they are healthy, named as their commands are."""
    answer = _get(f"{url}/api/v2/monitor/health")
    if answer is None:
        return set()
    parts: Json = answer.json()
    healthy = {name for name, part in parts.items() if (part or {}).get("status") == "healthy"}
    return {"api-server"} | ({name.replace("_", "-") for name in healthy} & PARTS)


def _get(url: str) -> httpx.Response | None:
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.TransportError:
        return None
    return answer if answer.status_code == httpx.codes.OK else None


class Client:
    """The REST API of one Airflow, as one user.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        login = self._send("POST", "/auth/token", json={"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {login['access_token']}"

    def _send(self, method: str, path: str, **kwargs: Any) -> Json:
        answer = self._try(method, path, **kwargs)
        if answer.is_error:
            raise RestError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else {}

    @tenacity.retry(
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_fixed(RETRY_SECONDS),
        retry=tenacity.retry_if_exception_type(Undone),
        reraise=True,
    )
    def _try(self, method: str, path: str, *, again: bool = False, **kwargs: Any) -> httpx.Response:
        """Send a request; repeat it where it did not arrive, or where its method or `again` allows it.

        While its SQLite is locked, Airflow answers 500 and has done nothing.
        """
        again = again or method in REPEATABLE
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            kind = Undone if again or isinstance(error, NOT_SENT) else RestError
            problem = f"no answer from {self._http.base_url}: {type(error).__name__}: {error}"
            raise kind(f"{method} {path}: {problem}; is Airflow up?") from error
        if answer.is_server_error if again else answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Undone(f"{method} {path}: {answer.status_code} {answer.text[:500]}; is Airflow up?")
        return answer

    def _api(self, method: str, path: str, **kwargs: Any) -> Json:
        return self._send(method, f"/api/v2/{path}", **kwargs)

    def _ensure(self, method: str, path: str, what: str, **kwargs: Any) -> None:
        """Send a request that 409 answers where what it asks for holds already."""
        answer = self._try(method, f"/api/v2/{path}", **kwargs)
        if answer.is_error and answer.status_code != httpx.codes.CONFLICT:
            raise RestError(f"{what}: {answer.status_code} {answer.text[:500]}")

    def put_pool(self, name: str, slots: int, description: str) -> None:
        """Make a pool; an existing one is left as it is."""
        pool = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        self._ensure("POST", "pools", f"pool {name}", json=pool, again=True)

    def pools(self) -> dict[str, int]:
        """The slots of every pool."""
        return {pool["name"]: pool["slots"] for pool in self._api("GET", "pools")["pools"]}

    def import_errors(self) -> dict[str, str]:
        """The DAG files that could not be read, with the reason."""
        return {e["filename"]: e["stack_trace"] for e in self._api("GET", "importErrors")["import_errors"]}

    def dags(self) -> dict[str, bool]:
        """All DAGs, and whether each is paused."""
        return {dag["dag_id"]: dag["is_paused"] for dag in self._api("GET", "dags")["dags"]}

    def wait_for_dag(self, dag: str) -> None:
        """Wait until Airflow has read a DAG.

        Raises
        ------
        RestError
            When a DAG file cannot be read.
        Still
            When no DAG at all has appeared for long.
        """
        wait_until(lambda: self._has(dag), self.dags, f"DAG {dag} to appear")

    def _has(self, dag: str) -> bool:
        exists = dag in self.dags()
        if not exists and (errors := self.import_errors()):
            raise RestError(f"DAG files with errors: {errors}")
        return exists

    def unpause(self, dag: str, paused: bool = False) -> None:
        """Let a DAG run (or, with `paused`, not any more)."""
        self._api("PATCH", f"dags/{dag}", json={"is_paused": paused})

    def trigger(self, dag: str, partition: str | None = None, conf: Json | None = None) -> str:
        """Start a run of a partition, or with a configuration; returns the run's id."""
        body = {"logical_date": None, "partition_key": partition, "conf": conf or {}}
        run_id: str = self._api("POST", f"dags/{dag}/dagRuns", json=body)["dag_run_id"]
        return run_id

    def runs(self, dag: str) -> list[Run]:
        """All runs of a DAG, oldest first."""
        listing = self._api("GET", f"dags/{dag}/dagRuns", params={"limit": 500, "order_by": "run_after"})
        return [Run.model_validate(entry) for entry in listing["dag_runs"]]

    def run(self, dag: str, run_id: str) -> Run:
        """One run."""
        return Run.model_validate(self._api("GET", f"dags/{dag}/dagRuns/{run_id}"))

    def wait_for_run(self, dag: str, run_id: str, still: float = STILL_SECONDS) -> Run:
        """Wait until a run has ended, and log how its tasks get on.

        Parameters
        ----------
        still
            Seconds after which the wait is given up if no run of the DAG and none of its tasks moves.

        Raises
        ------
        Still
            When nothing of the DAG moves; the message names the tasks with their states.
        """
        logged: dict[str, str | None] = {}

        def ended() -> bool:
            over = self.run(dag, run_id).state in ENDED_RUN
            self._log_changes(dag, run_id, logged)
            return over

        wait_until(ended, lambda: self.progress(dag), f"{dag} {run_id} to end", still=still)
        return self.run(dag, run_id)

    def progress(self, dag: str) -> Json:
        """How far a DAG's runs are: the state of each that has ended, else the states of its tasks."""
        return {
            run.id: run.state
            if run.state in ENDED_RUN
            else {task.id: (task.state, task.tries) for task in self.tasks(dag, run.id)}
            for run in self.runs(dag)
        }

    def _log_changes(self, dag: str, run_id: str, logged: dict[str, str | None]) -> None:
        for task in self.tasks(dag, run_id):
            if task.state in LOGGED and logged.get(task.id) != task.state:
                logged[task.id] = task.state
                took = f" after {task.seconds:.1f} s" if task.seconds and task.state != "running" else ""
                log.info("%s: %s%s", task.id, task.state, took)

    def tasks(self, dag: str, run_id: str) -> list[Task]:
        """The tasks of a run, in the order in which they started."""
        listing = self._api("GET", f"dags/{dag}/dagRuns/{run_id}/taskInstances", params={"limit": 500})
        return sorted(map(Task.model_validate, listing["task_instances"]), key=_started)

    def logs(self, dag: str, run_id: str, task: str, number: int = 1) -> str:
        """The log of one try of a task, as lines of text."""
        path = f"dags/{dag}/dagRuns/{run_id}/taskInstances/{task}/logs/{number}"
        content = self._api("GET", path, params={"full_content": "true"})["content"]
        return "\n".join(_line(entry) for entry in content)

    def clear(self, dag: str, run_id: str, tasks: list[str]) -> None:
        """Run tasks of a run again."""
        body = {"dag_run_id": run_id, "task_ids": tasks, "only_failed": False, "dry_run": False}
        self._api("POST", f"dags/{dag}/clearTaskInstances", json=body)

    def backfill(
        self,
        dag: str,
        first: dt.date,
        last: dt.date,
        *,
        reprocess: Reprocess = "none",
        max_active_runs: int = 10,
    ) -> int:
        """Start a backfill of partitions, as the UI does; returns its id.

        Parameters
        ----------
        reprocess
            Which partitions to run besides those without a run: ``none``, those whose newest run
            ``failed``, or all whose newest run is ``completed``.
        max_active_runs
            How many runs go on at once: the API's own default, where the UI's form proposes 1.
        """
        body = {
            "dag_id": dag,
            "dag_run_conf": {},
            "from_date": f"{first}T00:00:00.000Z",
            "to_date": f"{last}T00:00:00.000Z",
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
            "run_backwards": False,
            "run_on_latest_version": True,
        }
        backfill_id: int = self._api("POST", "backfills", json=body)["id"]
        return backfill_id

    def cancel_backfill(self, backfill: int) -> None:
        """Start no more runs of a backfill: runs that wait fail, runs that have begun go on.

        One that is over stays as it is.
        """
        self._ensure("PUT", f"backfills/{backfill}/cancel", f"backfill {backfill}")

    def wait_for_backfill(self, dag: str, backfill: int) -> None:
        """Wait until a backfill is completed, which is some seconds after its last run.

        Raises
        ------
        Still
            When nothing of the DAG moves.
        """

        def completed() -> bool:
            return self._api("GET", f"backfills/{backfill}")["completed_at"] is not None

        wait_until(completed, lambda: self.progress(dag), f"backfill {backfill} of {dag} to complete")


def _started(task: Task) -> tuple[bool, float, str]:
    return task.start is None, task.start.timestamp() if task.start else 0.0, task.id


def _line(entry: Json | str) -> str:
    if isinstance(entry, str):
        return entry
    error: Json = next(iter(entry.get("error_detail") or []), {})
    parts = entry.get("event", ""), error.get("exc_type", ""), error.get("exc_value", "")
    return " ".join(part for part in parts if part)
