"""docker-compose.yaml, as docker-compose itself reads it with the secrets that `make env` makes.

No container is started; what each would run is started as a process of this machine.
"""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
import pytest
import yaml

from lake.settings import CHECKOUT, Settings
from nightjar.command.cli import Prepared
from nightjar.servers import background
from nightjar.servers.local_airflow import POOLS, free_port
from nightjar.servers.programs import Server
from nightjar.servers.rest import Client
from nightjar.servers.waiting import wait_until

pytestmark = pytest.mark.services

COMPOSE = CHECKOUT / "docker-compose.yaml"
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|_CONN$|STORE_URI$")
OF_THEIR_OWN = ("s3", "mlflow", "spark-master", "spark-worker")
"""The servers that are told their port; Airflow's parts find that of the api-server."""


def _make_env(path):
    command = ["sh", str(CHECKOUT / "scripts" / "env.sh"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def env_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("compose") / ".env"
    assert _make_env(path).returncode == 0
    return path


@pytest.fixture(scope="module")
def secrets(env_file):
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines())


def _config(env_file):
    files = ["--env-file", str(env_file), "--file", str(COMPOSE)]
    command = ["docker-compose", *files, "--profile", "cluster", "config"]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def services(env_file):
    done = _config(env_file)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def _is_once(service):
    return service["restart"] == "on-failure"


def _ours(services):
    return {name: service for name, service in services.items() if "build" in service}


def test_env_is_private_and_never_made_twice(env_file, secrets):
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert len(set(secrets.values())) == len(secrets) == 10
    assert all(len(secret) >= 44 for secret in secrets.values())
    before = env_file.read_text()
    assert _make_env(env_file).returncode == 1
    assert env_file.read_text() == before


def test_env_is_never_put_under_version_control_or_into_the_image():
    assert ".env" in (CHECKOUT / ".gitignore").read_text().splitlines()
    assert (CHECKOUT / ".dockerignore").read_text().startswith("*\n")


def test_without_its_secrets_nothing_starts(tmp_path):
    (tmp_path / ".env").write_text("")
    done = _config(tmp_path / ".env")
    assert done.returncode != 0
    assert "make env" in done.stderr


def test_the_parts_are_all_there(services):
    served = {service["command"][2] for service in services.values() if _serves(service)}
    assert served == set(Server)
    assert set(services) - set(_ours(services)) == {"postgres"}


def _serves(service):
    return service.get("command", [""])[:2] == ["nightjar", "serve"]


def test_each_container_of_ours_runs_a_command_that_exists(services):
    known = {"serve": set(Server), "prepare": set(Prepared)}
    for name, service in _ours(services).items():
        program, verb, what, *options = service["command"]
        assert (program, what in known[verb]) == ("nightjar", True), name
        assert options in ([], ["--host", "0.0.0.0"]), name
        assert _is_once(service) == (verb == "prepare"), name


def test_the_values_for_airflow_s_chart_run_the_same_commands_by_settings_that_exist(services):
    values = yaml.safe_load((CHECKOUT / "docker" / "helm-values.yaml").read_text())
    parts = {"apiServer": "api-server", "dagProcessor": "dag-processor", "migrateDatabaseJob": "database"}
    for part in ("scheduler", "triggerer", *parts):
        assert values[part]["args"] == services[parts.get(part, part)]["command"]
    told = {entry["name"] for entry in values["env"] if entry["name"].startswith("NIGHTJAR_")}
    assert told <= {f"NIGHTJAR_{name.upper()}" for name in Settings.model_fields}


def test_only_what_is_published_or_asked_by_others_listens_for_them(services):
    listening = {name for name, service in services.items() if "--host" in service.get("command", [])}
    assert listening == {"api-server", "mlflow", "s3", "spark-master", "spark-worker"}


def test_without_the_profile_nothing_of_a_cluster_starts(services):
    in_profiles = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert in_profiles == {"spark-master": ["cluster"], "spark-worker": ["cluster"]}


def test_the_cluster_is_where_its_workers_and_the_documentation_look_for_it(services):
    address = "spark://spark-master:7077"
    assert services["spark-master"]["hostname"] == "spark-master"
    assert services["spark-worker"]["environment"]["NIGHTJAR_SPARK_MASTER"] == address
    assert f"NIGHTJAR_SPARK_MASTER={address}" in COMPOSE.read_text()
    assert "NIGHTJAR_SPARK_MASTER" in services["scheduler"]["environment"]


def test_ports_are_published_on_this_machine_alone(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert [port for port in published if not str(port).startswith("127.0.0.1:")] == []


def test_no_container_shares_the_host_s_network_or_is_privileged(services):
    for service in services.values():
        assert service.keys().isdisjoint({"network_mode", "privileged", "cap_add", "devices", "pid"})


def test_every_image_has_a_version(services):
    dockerfile = (CHECKOUT / "docker" / "Dockerfile").read_text()
    images = [service["image"] for service in services.values()] + re.findall(
        r"^FROM (\S+)", dockerfile, re.M
    )
    assert len(images) == len(services) + 3
    assert [image for image in images if not re.search(r":\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image)] == []


def test_every_server_has_a_health_check_of_its_own(services):
    for name, service in services.items():
        if _is_once(service):
            assert "healthcheck" not in service
        else:
            assert name in service["healthcheck"]["test"] or name == "postgres"
            assert service["restart"] == "unless-stopped"


def test_what_a_container_needs_is_done_or_healthy_first(services):
    ends = {True: "service_completed_successfully", False: "service_healthy"}
    for service in services.values():
        for name, waited in service.get("depends_on", {}).items():
            assert waited["condition"] == ends[_is_once(services[name])]


def test_no_secret_stands_in_the_file(secrets):
    raw = yaml.safe_load(COMPOSE.read_text())["services"]
    told = [
        (name, value)
        for service in raw.values()
        for name, value in service["environment"].items()
        if SECRET.search(name)
    ]
    assert len(told) > 20
    plain = [(name, value) for name, value in told if not re.search(r"\$\{[A-Z0-9_]+:\?make env\}", value)]
    assert plain == []
    assert set(re.findall(r"\$\{([A-Z0-9_]+):\?", COMPOSE.read_text())) == set(secrets)


def test_secrets_go_by_environment_and_not_by_arguments(services, secrets):
    for service in services.values():
        arguments = " ".join([*service.get("command", []), *service.get("healthcheck", {}).get("test", [])])
        assert [name for name, secret in secrets.items() if secret in arguments] == []


@pytest.mark.parametrize(
    ("mine", "other", "container", "variable"),
    [
        ("airflow", "mlflow", "scheduler", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"),
        ("mlflow", "airflow", "mlflow", "MLFLOW_BACKEND_STORE_URI"),
    ],
)
def test_airflow_and_mlflow_have_a_database_each(made_databases, services, mine, other, container, variable):
    wanted = urlsplit(services[container]["environment"][variable])
    assert (wanted.scheme, wanted.hostname, wanted.path) == ("postgresql+psycopg2", "postgres", f"/{mine}")
    login = {
        "host": "127.0.0.1",
        "port": made_databases,
        "user": wanted.username,
        "password": wanted.password,
    }
    with psycopg2.connect(dbname=mine, **login) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE mine (x int)")
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(dbname=other, **login)


@pytest.fixture(scope="module")
def made_databases(new_postgres, services):
    """A PostgreSQL that was prepared as the container's; gives its port."""
    with new_postgres() as server:
        told = services["postgres"]["environment"] | {
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGPASSWORD": server.password,
            "POSTGRES_USER": server.user,
        }
        subprocess.run(["sh", str(CHECKOUT / "docker" / "databases.sh")], env=told, check=True)
        yield server.port


def test_the_image_gets_what_it_needs_and_is_not_root():
    dockerfile = (CHECKOUT / "docker" / "Dockerfile").read_text()
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    packages = re.search(
        r"\[tool.setuptools\]\npackages = \[([^]]*)\]", (CHECKOUT / "pyproject.toml").read_text()
    )[1]
    assert {*re.findall(r'"(\w+)[".]', packages), "config", "dags", "plugins"} < allowed
    assert [name for name in allowed if not Path(CHECKOUT, name).exists()] == []
    assert re.findall(r"^USER (\S+)$", dockerfile, re.M) == ["nightjar"]


class Stack:
    """The containers as plain processes of this machine: their commands, environments and order."""

    def __init__(self, services, folder, postgres_port, master_port):
        self.services, self.folder = services, folder
        self.ports = {name: free_port() for name in ("api-server", *OF_THEIR_OWN)}
        self.ports["spark-master"] = master_port  # it has the next one, too
        self.hosts = {
            f"{name}:{service['ports'][0].split(':')[1]}": f"127.0.0.1:{self.ports[name]}"
            for name, service in services.items()
            if "ports" in service
        } | {
            "@postgres/": f"@127.0.0.1:{postgres_port}/",
            "spark-master:7077": f"127.0.0.1:{self.ports['spark-master']}",
            "0.0.0.0": "127.0.0.1",
        }
        self.started = []

    def here(self, text):
        """What a container is told, for a process of this machine."""
        for theirs, ours in self.hosts.items():
            text = text.replace(theirs, ours)
        return text

    def environment(self, name):
        service = self.services[name]
        home = service["volumes"][0].split(":")[0] if "volumes" in service else name
        given = service["environment"].items()  # without a value: what is not set here either
        told = {variable: self.here(value) for variable, value in given if value is not None}
        machine = {variable: os.environ[variable] for variable in ("PATH", "HOME")}
        ours = {"NIGHTJAR_HOME": str(self.folder / home), "NIGHTJAR_PORT": str(self.ports["api-server"])}
        return machine | told | ours

    def command(self, name, words):
        program, *rest = (self.here(word) for word in words)
        port = ["--port", str(self.ports[name])] if name in OF_THEIR_OWN else []
        return [str(Path(sys.executable).with_name(program)), *rest, *port]

    def bring_up(self, name):
        """Start a container and what it waits for, until it is healthy or done."""
        service = self.services[name]
        for other in service.get("depends_on", {}):
            self.bring_up(other)
        if name == "postgres" or name in [component.name for component in self.started]:
            return
        command = self.command(name, service["command"])
        log = self.folder / f"{name}.log"
        component = background.spawn(name, command, self.environment(name), self.folder, log)
        self.started.append(component)
        if _is_once(service):
            self.wait(lambda: not component.alive(), component)
        else:
            self.wait(lambda: self.is_healthy(name) or not component.alive(), component)
            assert component.alive(), component.last_lines()

    def is_healthy(self, name):
        command = self.command(name, self.services[name]["healthcheck"]["test"][1:])
        return (
            subprocess.run(command, env=self.environment(name), capture_output=True, check=False).returncode
            == 0
        )

    def wait(self, done, component):
        wait_until(done, component.last_lines, component.name, pause=0.2)


@pytest.fixture(scope="module")
def stack(tmp_path_factory, services, made_databases, two_ports):
    """Every container, brought up in the order that the file gives."""
    stack = Stack(services, tmp_path_factory.mktemp("stack"), made_databases, two_ports)
    try:
        for name in services:
            stack.bring_up(name)
        yield stack
    finally:
        background.stop(stack.started)


def test_the_containers_commands_come_up_in_order_and_stay_healthy(stack, services):
    assert {component.name for component in stack.started} == set(_ours(services))
    served = [name for name, service in services.items() if _serves(service)]
    assert [name for name in served if not stack.is_healthy(name)] == []


def test_what_was_prepared_is_there(stack, secrets):
    client = Client(
        f"http://127.0.0.1:{stack.ports['api-server']}", "admin", secrets["AIRFLOW_ADMIN_PASSWORD"]
    )
    assert set(POOLS) < set(client.pools())
    assert {entry.name for entry in (stack.folder / "s3" / "s3").iterdir()} >= {"lake", "releases", "mlflow"}


def test_everything_that_is_published_asks_for_a_login(stack):
    for name, path in (("api-server", "/api/v2/dags"), ("mlflow", "/"), ("s3", "/lake")):
        answer = httpx.get(f"http://127.0.0.1:{stack.ports[name]}{path}", trust_env=False)
        assert answer.status_code in (401, 403), name
