"""The start script of each server: its command and environment, the same here and in a container.

Secrets come from the environment. Secrets of Airflow that it lacks are generated once, into private files
in `NIGHTJAR_HOME`. Servers get them by environment only: everyone may read a process's arguments.
"""

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile

from lake.errors import ConfigError
from lake.settings import CHECKOUT, Places, Secrets, Settings
from nightjar.servers import rest
from spark_jobs import java
from spark_jobs.options import SECRET

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
HERE = (LOOPBACK, "localhost")
USER = "admin"
PARALLELISM = 4  # worker processes for tasks; what needs memory waits for a slot of its pool
API_ADDRESS = "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
EXECUTION = "/execution/"


class Server(StrEnum):
    """What `nightjar serve` can start."""

    api_server = "api-server"
    scheduler = "scheduler"
    dag_processor = "dag-processor"
    triggerer = "triggerer"
    mlflow = "mlflow"
    s3 = "s3"
    spark_master = "spark-master"
    spark_worker = "spark-worker"


# Log servers are off: they would listen on every address, and the api-server reads the files itself.
AIRFLOW = {
    Server.api_server: ["api-server"],
    Server.scheduler: ["scheduler", "--skip-serve-logs"],
    Server.dag_processor: ["dag-processor"],
    Server.triggerer: ["triggerer", "--skip-serve-logs"],
}
PORTS = {Server.mlflow: 5000, Server.s3: 7070, Server.spark_master: 7077, Server.spark_worker: 7079}
# What each part of a Spark cluster runs. All of them ask for the secret that they share. Master and workers
# submit nothing themselves, and remove what an application has left after a week.
SPARK = {
    Server.spark_master: "org.apache.spark.deploy.master.Master",
    Server.spark_worker: "org.apache.spark.deploy.worker.Worker",
}
SPARK_OPTIONS = " ".join(
    f"-Dspark.{option}"
    for option in (
        "authenticate=true",
        "master.rest.enabled=false",
        "worker.cleanup.enabled=true",
        # Where its port is taken a server ends, and says so. By itself it takes the next, where nobody looks.
        "port.maxRetries=0",
    )
)
# How soon, in seconds, Airflow notices that a task's process has ended (its supervisor may miss it for one
# such interval, and must learn of it before a sensor pokes again), that a supervisor was killed, that a
# scheduler has ended, whose queued tasks are then queued anew, and that no supervisor began a task.
NOTICE = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
}
SECRETS: dict[str, Callable[[], str]] = {
    "AIRFLOW__API_AUTH__JWT_SECRET": lambda: secrets.token_urlsafe(64),
    "AIRFLOW__API__SECRET_KEY": lambda: secrets.token_urlsafe(64),
    "AIRFLOW__CORE__FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}


@dataclass(frozen=True)
class Program:
    """What to execute.

    Attributes
    ----------
    environment
        All of it; secrets are here and not in the command.
    """

    command: list[str]
    environment: dict[str, str]

    def execute(self) -> None:
        """Become this program."""
        os.execve(self.command[0], self.command, self.environment)


def program(server: Server, settings: Settings, host: str = LOOPBACK, port: int | None = None) -> Program:
    """The program of a server.

    Parameters
    ----------
    host, port
        Where it listens, or for Airflow's parts where the api-server does: by default on this
        machine alone, and on the server's usual port.

    Raises
    ------
    ConfigError
        When a variable that it needs is not set, or the program is not installed.
    """
    port = port or PORTS.get(server, settings.port)
    if server is Server.mlflow:
        return _mlflow(settings, host, port)
    if server is Server.s3:
        return _s3(settings, host, port)
    if server in SPARK:
        return _spark(server, settings, host, port)
    return Program([installed("airflow"), *AIRFLOW[server]], airflow_environment(settings, host, port))


def is_healthy(server: Server, settings: Settings, port: int | None = None) -> bool:
    """Whether a server says that it is healthy.

    The api-server answers for all parts of Airflow: it knows when each last reported.

    Parameters
    ----------
    port
        Where a server that is no part of Airflow listens on this machine; by default its usual port.
    """
    if server in AIRFLOW:
        return server in rest.health(airflow_url(settings))
    port = port or PORTS[server]
    if server in SPARK:
        return rest.answers(f"http://{LOOPBACK}:{_web_port(server, port)}/json/")
    return rest.answers(f"http://{LOOPBACK}:{port}/health")


def airflow_url(settings: Settings) -> str:
    """The address of the api-server, as seen from here."""
    address = os.environ.get(API_ADDRESS)
    return address.removesuffix(EXECUTION) if address else f"http://{LOOPBACK}:{settings.port}"


def _mlflow(settings: Settings, host: str, port: int) -> Program:
    """MLflow's server; its own variables say where its store and artefacts lie."""
    _require("MLFLOW_TRACKING_USERNAME", "the user by which MLflow's clients log in")
    _require("MLFLOW_TRACKING_PASSWORD", "the password by which MLflow's clients log in")
    home = private_folder(settings.home / "mlflow")
    places = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{home}/server.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(home / "artifacts"),
    }
    fixed = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    listen = ["--host", host, "--port", str(port)]
    command = [installed("mlflow"), "server", *listen, "--workers", "1", "--app-name", "nightjar"]
    return Program(command, {**places, **os.environ, **fixed})


def _s3(settings: Settings, host: str, port: int) -> Program:
    """An S3 server on a folder (versitygw); its root keys are those that its clients use."""
    folder = private_folder(settings.home / "s3")
    keys = {
        "ROOT_ACCESS_KEY": _require("AWS_ACCESS_KEY_ID", "the access key of the server and its clients"),
        "ROOT_SECRET_KEY": _require("AWS_SECRET_ACCESS_KEY", "the secret key of the server and its clients"),
        "VGW_REGION": os.environ.get("AWS_REGION", "us-east-1"),
    }
    listen = ["--port", f"{host}:{port}", "--health", "/health", "--quiet"]
    return Program([installed("versitygw"), *listen, "posix", str(folder)], {**os.environ, **keys})


def _spark(server: Server, settings: Settings, host: str, port: int) -> Program:
    """A part of a Spark cluster; its web page, which asks for no login, is for this machine alone.

    Its name is what others reach it by: where it listens everywhere, that of the machine.
    """
    _require(SECRET, "the secret that master, workers and jobs share")
    private_folder(settings.home / "spark")
    listen = ["--host", socket.gethostname() if host == EVERYWHERE else host]
    if server is Server.spark_master:
        listen += ["--port", str(port)]
    pages = ["--webui-port", str(_web_port(server, port))]
    joins = [] if server is Server.spark_master else _joins(settings)
    environment = {
        **os.environ,
        **java.environment(settings),
        "SPARK_LOCAL_IP": LOOPBACK,  # of the web page
        "SPARK_DAEMON_JAVA_OPTS": SPARK_OPTIONS,
    }
    command = [str(java.spark_home() / "bin" / "spark-class"), SPARK[server], *listen, *pages, *joins]
    return Program(command, environment)


def _joins(settings: Settings) -> list[str]:
    """What tells a worker its folder and its master."""
    if not settings.spark_master.startswith("spark://"):
        raise ConfigError(
            f"environment NIGHTJAR_SPARK_MASTER: expected the address of the worker's master, such as "
            f"spark://spark-master:7077, found {settings.spark_master}; set it"
        )
    return ["--work-dir", str(settings.home / "spark"), settings.spark_master]


def _web_port(server: Server, port: int) -> int:
    """A master listens for workers and jobs too; a worker's other port is any that is free."""
    return port + 1 if server is Server.spark_master else port


def airflow_environment(settings: Settings, host: str = LOOPBACK, port: int | None = None) -> dict[str, str]:
    """What every part of Airflow gets: its configuration, our settings, the environment of Spark.

    The environment may name the database (`AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`), the secrets, where
    the api-server is found (`AIRFLOW__CORE__EXECUTION_API_SERVER_URL`), and what `NOTICE` holds; all
    else is ours.
    """
    port = port or settings.port
    private_folder(settings.home / "logs")
    password(settings)
    defaults = {
        **_kept_secrets(settings, os.environ),
        API_ADDRESS: f"http://{LOOPBACK}:{port}{EXECUTION}",
        **NOTICE,
    }
    ours = settings.environment() | java.environment(settings)
    return {**defaults, **os.environ, **ours, **_configuration(settings, host, port), **_no_proxy()}


def _configuration(settings: Settings, host: str, port: int) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(airflow_home(settings)),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "executors.RevokingExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_password_file(settings)),
        "AIRFLOW__API__HOST": host,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
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


def _no_proxy() -> dict[str, str]:
    """Use no proxy for this machine, nor for hosts that the environment names; programs read either."""
    named = ",".join(os.environ.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    hosts = ",".join(dict.fromkeys([*filter(None, named), *HERE]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def airflow_home(places: Places) -> Path:
    """Airflow's own folder, which its owner alone may look into."""
    return private_folder(places.home / "airflow")


def password(places: Places) -> str:
    """The password of Airflow's user: `NIGHTJAR_ADMIN_PASSWORD`, else one that is generated once."""
    file, given = _password_file(places), Secrets().admin_password.get_secret_value()
    kept: str | None = json.loads(file.read_text())[USER] if file.exists() else None
    secret = given or kept or secrets.token_urlsafe(16)
    if secret != kept:
        _write_private(file, json.dumps({USER: secret}))
    return secret


def _password_file(places: Places) -> Path:
    return airflow_home(places) / "passwords.json"


def _kept_secrets(places: Places, env: Mapping[str, str]) -> dict[str, str]:
    """Airflow's secrets, generated where the environment lacks one and none was generated before."""
    if all(env.get(name) for name in SECRETS):
        return {}
    file = airflow_home(places) / "secrets.json"
    if not file.exists():
        _write_private(file, json.dumps({name: make() for name, make in SECRETS.items()}))
    kept: dict[str, str] = json.loads(file.read_text())
    return kept


def _write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone may read; nobody ever sees half of it."""
    with NamedTemporaryFile("w", dir=file.parent, delete=False) as output:
        output.write(text)
    Path(output.name).replace(file)


def private_folder(path: Path) -> Path:
    """A folder that its owner alone may look into, made where there is none."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def installed(name: str) -> str:
    """The path of a program beside this Python.

    Raises
    ------
    ConfigError
        When it is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        how = "make versitygw" if name == "versitygw" else "make .venv/.ready"
        raise ConfigError(f"{path}: expected the program {name}, found nothing; `{how}` installs it")
    return str(path)


def _require(name: str, meaning: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"environment {name}: expected {meaning}, found nothing; set it")
    return value
