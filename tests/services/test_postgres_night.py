"""A night as it runs in production: Airflow on PostgreSQL, lake and releases on S3, an MLflow server."""

import datetime as dt
import ipaddress
import json
import stat
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pyarrow.parquet as pq
import pytest

from lake.dataset import read_dataset
from lake.errors import FileFault
from lake.lake import Lake
from lake.records import Records
from lake.settings import Settings
from lake.storage import LocalStorage, open_storage
from nightjar.command.land import land
from nightjar.servers import background, local_airflow, programs
from nightjar.stages import attempt as attempts
from nightjar.stages.ingest import Ingest
from nightjar_reader import Reader

pytestmark = pytest.mark.services

FIRST, LAST_HISTORY, NIGHT = dt.date(2017, 6, 15), dt.date(2017, 8, 13), dt.date(2017, 8, 14)
HOUSEHOLDS = 500


@dataclass
class Watch:
    """What every process of the machine had for arguments, and where ours listened, while it looked."""

    components: list[background.Component]
    arguments: set[str] = field(default_factory=set)
    addresses: set[tuple[str, int]] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.wait(0.5):
            self.arguments |= {
                " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
            }
            for process in background.members(self.components):
                self.addresses |= _listening(process)


@contextmanager
def _watching(components):
    watch = Watch(components)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.done.set()
        thread.join()


def _listening(process):
    try:
        found = process.net_connections("inet")
    except psutil.Error:
        return set()
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def _is_loopback(text):
    address = ipaddress.ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True)
class Night:
    """One night that has ended, and Airflow with it.

    Attributes
    ----------
    refused
        What Airflow's API answered to one who had not logged in.
    """

    settings: Settings
    states: dict[str, str]
    watch: Watch
    refused: int
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def environment(s3_server, postgres, mlflow_server):
    """What a person sets who runs Nightjar on such servers."""
    with pytest.MonkeyPatch.context() as patch:
        database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.url("airflow")}
        told = s3_server.environment | mlflow_server.environment | database
        for name, value in told.items():
            patch.setenv(name, value)
        yield told


def _run(client, dag, **run):
    client.wait_for_dag(dag)
    client.unpause(dag)
    ended = client.wait_for_run(dag, client.trigger(dag, **run))
    failed = [task for task in client.tasks(dag, ended.id) if task.state == "failed"]
    logs = {task.id: client.logs(dag, ended.id, task.id, task.tries)[-3000:] for task in failed}
    assert (ended.state, logs) == ("success", {})
    return {task.id: task.state for task in client.tasks(dag, ended.id)}


@pytest.fixture(scope="module")
def on_servers(
    tmp_path_factory, slice_settings, nights_on_disk, environment, s3_server, postgres, mlflow_server
):
    """The night through Airflow on real servers."""
    settings = slice_settings(
        tmp_path_factory.mktemp("servers"),
        nights_on_disk.days[-1],
        lake=s3_server.make_bucket("lake"),
        releases=s3_server.make_bucket("releases"),
        mlflow_uri=mlflow_server.url,
    )
    land(settings, FIRST, NIGHT, households=HOUSEHOLDS)
    servers = [s3_server.component, postgres.component, mlflow_server.component]
    with local_airflow.running(settings) as airflow:
        refused = httpx.get(f"{airflow.url}/api/v2/dags", trust_env=False).status_code
        with _watching([*local_airflow._components(settings), *servers]) as watch:
            client = airflow.client()
            _run(client, "bootstrap_history", conf={"from": str(FIRST), "to": str(LAST_HISTORY)})
            states = _run(client, "nightly", partition=str(NIGHT))
    secrets = {
        "airflow": airflow.password,
        "postgres": postgres.password,
        "s3": s3_server.secret_key,
        "mlflow": environment["MLFLOW_TRACKING_PASSWORD"],
        **json.loads((programs.airflow_home(settings) / "secrets.json").read_text()),
    }
    return Night(settings, states, watch, refused, secrets)


def test_every_task_of_the_night_succeeded(on_servers):
    assert set(on_servers.states.values()) == {"success"}
    assert len(on_servers.states) > 10


def test_the_release_is_that_of_the_same_night_on_disk(on_servers, nights_on_disk):
    assert Reader(on_servers.settings.releases).release_id == nights_on_disk.release_id(NIGHT)


@pytest.mark.parametrize("verify", [True, False])
def test_a_reader_answers_as_from_disk(on_servers, nights_on_disk, verify):
    release_id = nights_on_disk.release_id(NIGHT)
    here, there = (
        Reader(settings.releases, release_id=release_id, verify=verify)
        for settings in (nights_on_disk.settings, on_servers.settings)
    )
    users = list(here.users())
    assert list(there.users()) == users

    def answers(reader):
        item = reader.for_user(users[0]).items[0]
        return [
            *(reader.for_user(user) for user in [*users[:20], -1]),
            reader.similar_items(item),
            reader.popular(),
            reader.catalogue([item]),
            reader.nearest(20, user=users[0]),
            reader.nearest(20, item=item),
        ]

    assert answers(there) == answers(here)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _drop_a_column(path):
    rows = pq.read_table(path).drop_columns("product_id")
    path.unlink()
    pq.write_table(rows, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (_cut, "footer"),
        (_drop_a_column, "product_id"),
    ],
    ids=["missing", "empty", "cut", "column"],
)
def test_a_faulty_raw_file_is_told_as_on_disk(on_servers, s3_server, tmp_path, request, damage, message):
    settings = on_servers.settings
    name = read_dataset(settings.dataset).raw.path(NIGHT)
    local, remote = LocalStorage(tmp_path), open_storage(s3_server.make_bucket(request.node.callspec.id))
    with open_storage(settings.raw).fetched(name) as good:
        local.put_file(name, good)
    damage(local.local(name))
    if local.exists(name):
        remote.put_file(name, local.local(name))
    told = []
    for storage in (local, remote):
        lake = Lake.open(settings.model_copy(update={"raw": storage.root}))
        with pytest.raises(FileFault, match=message) as raised:
            attempts.begin(lake, Ingest(), [NIGHT])
        told.append(str(raised.value).replace(storage.root, "ROOT"))
    assert told[0] == told[1]


def test_the_bundle_is_registered_once_with_its_tags_and_loads(on_servers, mlflow_server):
    import mlflow

    decision = Records(open_storage(on_servers.settings.lake)).current("train", NIGHT)
    client = mlflow.MlflowClient(mlflow_server.url, mlflow_server.url)
    [version] = client.search_model_versions("name = 'nightjar-slice'")
    assert version.source == f"{on_servers.settings.lake}/bundles/{decision.details['bundle_id']}"
    assert version.tags["bundle_id"] == decision.details["bundle_id"]
    assert (version.tags["as_of"], version.tags["outcome"]) == (str(NIGHT), decision.outcome)
    assert version.tags["fingerprint"] == decision.fingerprint
    assert client.get_model_version_by_alias("nightjar-slice", "champion").version == version.version
    mlflow.set_tracking_uri(mlflow_server.url)
    assert mlflow.pyfunc.load_model("models:/nightjar-slice@champion") is not None


def test_airflow_asks_for_a_login_and_its_home_is_private(on_servers):
    assert on_servers.refused == 401
    for name in ("airflow", "logs"):
        assert stat.S_IMODE((on_servers.settings.home / name).stat().st_mode) == 0o700


def test_nothing_listens_beyond_this_machine(on_servers, s3_server, postgres, mlflow_server):
    heard = on_servers.watch.addresses
    ports = {s3_server.port, postgres.port, int(mlflow_server.url.rpartition(":")[2])}
    assert ports < {port for _, port in heard}
    assert {address for address in heard if not _is_loopback(address[0])} == set()


def _told_in(files, secrets):
    """Which secrets stand in which files."""
    return {
        (str(file), name)
        for file in files
        for name, secret in secrets.items()
        if secret.encode() in file.read_bytes()
    }


def test_no_process_argument_holds_a_secret(on_servers):
    arguments = "\n".join(on_servers.watch.arguments)
    assert "org.apache.spark.deploy.SparkSubmit" in arguments
    assert len(on_servers.secrets) == 7
    assert [name for name, secret in on_servers.secrets.items() if secret in arguments] == []


def test_no_log_record_request_or_other_file_holds_a_secret(on_servers, s3_server):
    """But for the two files that are there to keep them."""
    places = (on_servers.settings.home, s3_server.home)
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    assert len([file for file in files if "task_id=ingest.extract" in str(file)]) == 1
    assert len([file for file in files if file.name == "plan.json"]) > 3
    assert len([file for file in files if f"/s3/lake/records/train/{NIGHT}/" in str(file)]) == 1
    kept = {on_servers.settings.home / "airflow" / name for name in ("passwords.json", "secrets.json")}
    assert _told_in(set(files) - kept, on_servers.secrets) == set()
    told = {name for _, name in _told_in(kept, on_servers.secrets)}
    assert told == on_servers.secrets.keys() - {"postgres", "s3", "mlflow"}


def test_no_process_is_left(on_servers):
    """Whatever session it is in: each inherits the settings."""
    assert background.members(local_airflow._components(on_servers.settings)) == []
    ours = f"NIGHTJAR_HOME={on_servers.settings.home}"
    left = [process for process in psutil.process_iter() if ours in _environment_of(process)]
    assert left == []


def _environment_of(process):
    try:
        return {f"{name}={value}" for name, value in process.environ().items()}
    except psutil.Error:
        return set()
