"""Commands and environments of the servers, and one that finds its port taken."""

import json
import socket
import stat
import subprocess

import pytest

from lake.errors import ConfigError
from lake.settings import Settings
from nightjar.servers import programs
from nightjar.servers.programs import Server

KEYS = {
    "AWS_ACCESS_KEY_ID": "the-access-key",
    "AWS_SECRET_ACCESS_KEY": "the-secret-key",
    "MLFLOW_TRACKING_USERNAME": "the-user",
    "MLFLOW_TRACKING_PASSWORD": "the-mlflow-password",
    "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:the-store-password@db/mlflow",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:the-airflow-password@db/airflow",
    "NIGHTJAR_ADMIN_PASSWORD": "the-admin-password",
    "_SPARK_AUTH_SECRET": "the-spark-secret",
}


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", spark_master="spark://127.0.0.1:7077")


@pytest.fixture
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def each(settings, keys, monkeypatch):
    """Each server's, as if everything were installed."""
    monkeypatch.setattr(programs, "installed", lambda name: f"/bin/{name}")
    return {server: programs.program(server, settings) for server in Server}


def _is_private(path):
    return stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_no_command_holds_a_secret(each):
    for program in each.values():
        assert [part for part in program.command if "the-" in part] == []


def test_servers_listen_on_this_machine_alone(each):
    assert each[Server.api_server].environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert "127.0.0.1:7070" in each[Server.s3].command
    assert each[Server.mlflow].command[2:4] == ["--host", "127.0.0.1"]
    for server in (Server.spark_master, Server.spark_worker):
        assert each[server].command[2:4] == ["--host", "127.0.0.1"]


def test_a_spark_page_which_asks_for_no_login_listens_here_also_where_the_server_does_not(
    settings, keys, monkeypatch
):
    monkeypatch.setenv("SPARK_LOCAL_IP", "0.0.0.0")
    monkeypatch.setattr(programs.socket, "gethostname", lambda: "this-machine")
    for server in (Server.spark_master, Server.spark_worker):
        program = programs.program(server, settings, "0.0.0.0")
        assert program.command[2:4] == ["--host", "this-machine"]
        assert program.environment["SPARK_LOCAL_IP"] == "127.0.0.1"
        assert "-Dspark.authenticate=true" in program.environment["SPARK_DAEMON_JAVA_OPTS"]


def test_a_spark_server_whose_port_is_taken_ends_and_takes_no_other(settings, keys, two_ports):
    """A master's page moved on to the next port, and the health check asked the first one for ever."""
    master = programs.program(Server.spark_master, settings, port=two_ports)
    with socket.create_server(("127.0.0.1", two_ports + 1)):
        ended = subprocess.run(
            master.command, env=master.environment, capture_output=True, text=True, timeout=120, check=False
        )
    assert ended.returncode != 0
    assert "MasterUI" in ended.stderr
    assert "BindException" in ended.stderr


def test_a_worker_joins_the_master_of_the_settings(each, settings, keys):
    assert each[Server.spark_worker].command[-1] == "spark://127.0.0.1:7077"
    alone = settings.model_copy(update={"spark_master": "local[2]"})
    with pytest.raises(ConfigError, match=r"NIGHTJAR_SPARK_MASTER: expected .*, found local\[2\]"):
        programs.program(Server.spark_worker, alone)


def test_the_s3_server_s_root_keys_are_those_of_its_clients(each):
    environment = each[Server.s3].environment
    assert (environment["ROOT_ACCESS_KEY"], environment["ROOT_SECRET_KEY"]) == (
        "the-access-key",
        "the-secret-key",
    )


def test_what_the_environment_says_of_the_database_and_the_api_server_stands(settings, keys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://api:1/execution/")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "told")
    environment = programs.airflow_environment(settings)
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == KEYS["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api:1/execution/"
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == "told"
    assert len(environment["AIRFLOW__API__SECRET_KEY"]) > 60
    assert programs.airflow_url(settings) == "http://api:1"


def test_secrets_are_generated_once_and_private(settings):
    first, second = (programs.airflow_environment(settings) for _ in range(2))
    made = {name: first[name] for name in programs.SECRETS}
    assert made == {name: second[name] for name in programs.SECRETS}
    assert len(set(made.values())) == 3
    for place in ("airflow", "airflow/secrets.json", "airflow/passwords.json", "logs"):
        assert _is_private(settings.home / place)


def test_a_home_that_others_could_read_becomes_private(settings):
    (settings.home / "airflow").mkdir(parents=True, mode=0o755)
    programs.airflow_environment(settings)
    assert _is_private(settings.home / "airflow")


def test_with_all_secrets_told_none_is_written(settings, monkeypatch):
    for name in programs.SECRETS:
        monkeypatch.setenv(name, "told")
    assert {programs.airflow_environment(settings)[name] for name in programs.SECRETS} == {"told"}
    assert not (settings.home / "airflow" / "secrets.json").exists()


def test_the_password_is_generated_once_unless_it_is_told(settings, monkeypatch):
    generated = programs.password(settings)
    assert programs.password(settings) == generated
    monkeypatch.setenv("NIGHTJAR_ADMIN_PASSWORD", "told")
    assert programs.password(settings) == "told"
    file = settings.home / "airflow" / "passwords.json"
    assert json.loads(file.read_text()) == {"admin": "told"}
    assert _is_private(file)
    assert {path.name for path in file.parent.iterdir()} == {"passwords.json"}


@pytest.mark.parametrize(
    ("server", "missing"),
    [
        (Server.s3, "AWS_ACCESS_KEY_ID"),
        (Server.s3, "AWS_SECRET_ACCESS_KEY"),
        (Server.mlflow, "MLFLOW_TRACKING_USERNAME"),
        (Server.mlflow, "MLFLOW_TRACKING_PASSWORD"),
        (Server.spark_master, "_SPARK_AUTH_SECRET"),
        (Server.spark_worker, "_SPARK_AUTH_SECRET"),
    ],
)
@pytest.mark.parametrize("value", [None, ""])
def test_without_a_login_no_server_is_started(settings, keys, monkeypatch, server, missing, value):
    monkeypatch.delenv(missing) if value is None else monkeypatch.setenv(missing, value)
    with pytest.raises(ConfigError, match=f"{missing}: expected .*, found nothing"):
        programs.program(server, settings)


def test_a_program_that_is_not_there_is_named_with_what_to_do(settings, keys, monkeypatch, tmp_path):
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match=r"versitygw: .*`make versitygw`"):
        programs.program(Server.s3, settings)


def test_components_reach_this_machine_directly(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "example.org,localhost")
    monkeypatch.setenv("no_proxy", "example.net")
    hosts = "example.org,localhost,example.net,127.0.0.1"
    assert programs._no_proxy() == {"NO_PROXY": hosts, "no_proxy": hosts}


def test_without_a_proxy_only_this_machine_is_named(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert programs._no_proxy()["no_proxy"] == "127.0.0.1,localhost"
