"""Starts and stops a local Airflow: api-server, scheduler and dag-processor.

Each component leads a session of its own, so that everything it has started can be found and
ended, whatever became of the component itself. All of Airflow's files, its generated password and
secrets lie in `NIGHTJAR_HOME`; secrets go to the components by environment only.
"""

import base64
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from lake.errors import NightjarError
from lake.settings import CHECKOUT, Settings
from nightjar import processes, rest
from nightjar.processes import Component
from spark_jobs import java

log = logging.getLogger(__name__)

# The scheduler's log server would listen on every address; the api-server reads the files itself.
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
POOLS = {"spark": "Spark jobs", "train": "Training", "precompute": "Lists and index"}
USER = "admin"
PARALLELISM = 4
START_SECONDS = 180
POKE_SECONDS = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HERE = ("127.0.0.1", "localhost")

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
    quick = settings.model_copy(update={"poke_interval": min(POKE_SECONDS, settings.poke_interval)})
    with _signals(_exit_once):
        airflow = start(quick, port or free_port())
        try:
            yield airflow
        finally:
            with _signals(signal.SIG_IGN):
                stop(settings)


@contextmanager
def _signals(handler: Handler) -> Iterator[None]:
    """Handle the signals that end a program so; one that is ignored, as under nohup, stays ignored."""
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
    if any(component.alive() for component in _components(settings)):
        raise ServiceError(f"Airflow of {settings.home} runs already; stop it with `make down`")
    port = port or settings.port
    _require_free(port)
    stop(settings)
    environment = _environment(settings, port)
    _migrate(settings, environment)
    try:
        _spawn_all(settings, environment)
        airflow = Airflow(f"http://127.0.0.1:{port}", USER, _password(settings))
        _wait_healthy(settings, airflow.url)
        _make_pools(airflow.client())
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
    """Stop whatever runs of Airflow; returns when nothing of it is left, with whether anything was."""
    components = _components(settings)
    found = bool(processes.members(components))
    processes.stop(components)
    _components_file(settings).unlink(missing_ok=True)
    return found


def _spawn_all(settings: Settings, environment: dict[str, str]) -> None:
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for name, arguments in COMPONENTS.items():
        command = [_program("airflow"), *arguments]
        started = processes.spawn(name, command, environment, _airflow_home(settings), logs / f"{name}.log")
        _write_components(settings, [*_components(settings), started])


def _wait_healthy(settings: Settings, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    healthy: set[str] = set()
    while len(healthy) < len(COMPONENTS):
        _require_alive(settings)
        if time.monotonic() > deadline:
            raise ServiceError(
                f"only {sorted(healthy)} healthy after {START_SECONDS} s; see {settings.home}/logs"
            )
        time.sleep(0.5)
        now = rest.health(url)
        for name in sorted(now - healthy):
            log.info("%s is healthy", name)
        healthy |= now


def _require_alive(settings: Settings) -> None:
    for component in _components(settings):
        if not component.alive():
            end = component.last_lines()
            raise ServiceError(f"{component.name} ended while starting; the end of {component.log}:\n{end}")


def _make_pools(client: rest.Client) -> None:
    for name, meaning in POOLS.items():
        client.put_pool(name, 1, f"{meaning}: one at a time")


def _migrate(settings: Settings, environment: dict[str, str]) -> None:
    """Bring Airflow's database up to date; skipped where this version has done it to its SQLite file."""
    mark = _airflow_home(settings) / "migrated"
    current = version("apache-airflow-core")
    own = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    if own and mark.exists() and mark.read_text() == current and (mark.parent / "airflow.db").exists():
        return
    log.info("preparing the database of Airflow %s", current)
    command = [_program("airflow"), "db", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"airflow db migrate failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    mark.write_text(current)


def _environment(settings: Settings, port: int) -> dict[str, str]:
    """What every component gets: Airflow's configuration, our settings, the environment of Spark."""
    home, url = _airflow_home(settings), f"http://127.0.0.1:{port}"
    keys = _secrets(settings)
    _password(settings)
    ours = {f"NIGHTJAR_{name.upper()}": str(value) for name, value in settings.model_dump().items()}
    airflow = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_password_file(settings)),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "5",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.home / "logs" / "tasks"),
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "great_expectations=WARNING",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(
            {"conn_type": "spark", "host": settings.spark_master, "extra": {"deploy-mode": "client"}}
        ),
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_WAIT_POLICY": "passive",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    return {**os.environ, **ours, **java.environment(settings), **airflow, **_no_proxy()}


def _no_proxy() -> dict[str, str]:
    """Reach this machine directly, as what the environment names; programs read either variable."""
    named = ",".join(os.environ.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    hosts = ",".join(dict.fromkeys([*filter(None, named), *HERE]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _airflow_home(settings: Settings) -> Path:
    home = settings.home / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _password_file(settings: Settings) -> Path:
    return _airflow_home(settings) / "passwords.json"


def _password(settings: Settings) -> str:
    file = _password_file(settings)
    if not file.exists():
        _write_private(file, json.dumps({USER: secrets.token_urlsafe(16)}))
    password: str = json.loads(file.read_text())[USER]
    return password


def _secrets(settings: Settings) -> dict[str, str]:
    file = _airflow_home(settings) / "secrets.json"
    if not file.exists():
        keys = {
            "jwt": secrets.token_urlsafe(64),
            "api": secrets.token_urlsafe(64),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        _write_private(file, json.dumps(keys))
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _write_private(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)


def _components_file(settings: Settings) -> Path:
    return settings.home / "airflow" / "components.json"


def _write_components(settings: Settings, components: list[Component]) -> None:
    _components_file(settings).write_text(json.dumps([asdict(component) for component in components]))


def _components(settings: Settings) -> list[Component]:
    file = _components_file(settings)
    return [Component(**entry) for entry in json.loads(file.read_text())] if file.exists() else []
