"""Starts and stops a local Airflow: api-server, scheduler and dag-processor.

Each component leads a session of its own, so that everything it has started can be found and
ended, whatever became of the component itself. `programs` says how each is started.
"""

import datetime as dt
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from lake.errors import NightjarError
from lake.settings import Settings
from nightjar.servers import background, programs, rest
from nightjar.servers.background import Component
from nightjar.servers.programs import LOOPBACK, USER, Server
from nightjar.servers.waiting import wait_until

log = logging.getLogger(__name__)

COMPONENTS = (Server.api_server, Server.scheduler, Server.dag_processor)
POOLS = {
    "spark": "Spark jobs",
    "train": "Training",
    "precompute": "Lists and index",
    "mirror": "Delta tables",
}
POKE_INTERVAL = dt.timedelta(seconds=5)  # somebody waits for a local Airflow
ARTIFACTS = "MLFLOW_ARTIFACTS_DESTINATION"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


class ServiceError(NightjarError):
    """A component of Airflow did not start, or something else is in its place."""


@dataclass(frozen=True)
class Airflow:
    """A running Airflow.

    Attributes
    ----------
    url
        Of the UI and the REST API.
    user, password
        The login for both.
    """

    url: str
    user: str
    password: str

    def client(self) -> rest.Client:
        """A REST client that has logged in."""
        return rest.Client(self.url, self.user, self.password)


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(settings: Settings, port: int | None = None) -> Iterator[Airflow]:
    """A local Airflow that is stopped at the end, also after an error, Ctrl-C, SIGTERM or SIGHUP.

    Its sensors look every 5 seconds, or as often as the settings say if that is more often.

    Parameters
    ----------
    port
        Where the UI listens on 127.0.0.1; by default any free port.

    Raises
    ------
    ServiceError
        As `start` does; an Airflow that runs already goes on running.
    """
    quick = settings.model_copy(update={"poke_interval": min(POKE_INTERVAL, settings.poke_interval)})
    with _signals(_exit_once):
        airflow = start(quick, port or free_port())
        try:
            yield airflow
        finally:
            with _signals(signal.SIG_IGN):
                stop(settings)


@contextmanager
def _signals(handler: Handler) -> Iterator[None]:
    """Let `handler` take the signals that end a program; ignored ones, as under nohup, stay ignored."""
    heard = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _exit_once(number: int, frame: FrameType | None) -> None:
    """End the program; signals that follow at once must not keep it from stopping Airflow."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def start(settings: Settings, port: int | None = None) -> Airflow:
    """Start Airflow and wait until it is healthy, with its pools made.

    The rest of an Airflow that has lost a part is stopped first; its tasks are tried again.

    Parameters
    ----------
    port
        Where the UI listens on 127.0.0.1; by default `NIGHTJAR_PORT`.

    Raises
    ------
    ServiceError
        When it runs already, the port is taken, or a component does not come up; nothing is
        left running then.
    """
    before = _components(settings)
    if before and all(component.alive() for component in before):
        raise ServiceError(f"Airflow of {settings.home} runs already; stop it with `make down`")
    port = port or settings.port
    stop(settings)
    _require_free(port)
    migrate(settings)
    try:
        airflow = Airflow(f"http://{LOOPBACK}:{port}", USER, programs.password(settings))
        # First what tasks report to: each that the scheduler starts before it answers costs a try.
        for servers in (COMPONENTS[:1], COMPONENTS[1:]):
            _spawn(settings, port, servers)
            _wait_healthy(settings, airflow.url, servers)
        make_pools(airflow.client())
    except BaseException:
        with _signals(signal.SIG_IGN):
            stop(settings)
        raise
    log.info("Airflow is up on %s", airflow.url)
    return airflow


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServiceError(
                f"port {port} is taken ({error}); choose another with NIGHTJAR_PORT"
            ) from error


def stop(settings: Settings) -> bool:
    """Stop all that runs of Airflow; return, when nothing of it is left, whether anything ran."""
    components = _components(settings)
    was_running = bool(background.members(components))
    background.stop(components)
    _components_file(settings).unlink(missing_ok=True)
    return was_running


def _spawn(settings: Settings, port: int, servers: Sequence[Server]) -> None:
    logs = programs.private_folder(settings.home / "logs")
    for server in servers:
        program = programs.program(server, settings, port=port)
        started = background.spawn(
            server,
            program.command,
            program.environment,
            programs.airflow_home(settings),
            logs / f"{server}.log",
        )
        components = [asdict(component) for component in (*_components(settings), started)]
        _components_file(settings).write_text(json.dumps(components))


def _wait_healthy(settings: Settings, url: str, servers: Sequence[Server]) -> None:
    healthy: set[str] = set()

    def complete() -> bool:
        _require_alive(settings)
        now = rest.health(url) & set(servers)
        for name in sorted(now - healthy):
            log.info("%s is healthy", name)
        healthy.update(now)
        return healthy.issuperset(servers)

    what = f"all of {', '.join(servers)} to be healthy; see {settings.home}/logs"
    wait_until(complete, lambda: sorted(healthy), what, pause=0.5)


def _require_alive(settings: Settings) -> None:
    for component in _components(settings):
        if not component.alive():
            end = component.last_lines()
            raise ServiceError(f"{component.name} ended while starting; the end of {component.log}:\n{end}")


def make_pools(client: rest.Client) -> None:
    """Make the pools of heavy tasks where they are missing."""
    for name, meaning in POOLS.items():
        client.put_pool(name, 1, f"{meaning}: one at a time")


def migrate(settings: Settings) -> None:
    """Bring Airflow's database up to date; skipped where this version has done it to its SQLite file.

    Raises
    ------
    ServiceError
        When `airflow db migrate` fails.
    """
    environment, home = programs.airflow_environment(settings), programs.airflow_home(settings)
    mark, current = home / "migrated", version("apache-airflow-core")
    own = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    if own and mark.exists() and mark.read_text() == current and (home / "airflow.db").exists():
        return
    log.info("preparing the database of Airflow %s", current)
    command = [programs.installed("airflow"), "db", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"airflow db migrate failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    if own:
        mark.write_text(current)


def make_buckets(settings: Settings) -> None:
    """Make the S3 buckets of the settings, and of MLflow's artefacts, where they are missing."""
    from lake import s3

    for place in (settings.lake, settings.raw, settings.releases, os.environ.get(ARTIFACTS, "")):
        if place.startswith("s3://") and s3.make_bucket(place):
            log.info("made the bucket of %s", place)


def make_pools_of_running(settings: Settings) -> None:
    """Make the pools of an Airflow that runs."""
    make_pools(rest.Client(programs.airflow_url(settings), USER, programs.password(settings)))


def _components_file(settings: Settings) -> Path:
    return settings.home / "airflow" / "components.json"


def _components(settings: Settings) -> list[Component]:
    file = _components_file(settings)
    return [Component(**entry) for entry in json.loads(file.read_text())] if file.exists() else []
