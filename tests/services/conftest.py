"""One Airflow on a slice of the demo data, and the real servers that a night can stand on.

The slice's TOML has no last day. Servers are started as people start them, by `nightjar serve`.
"""

import datetime as dt
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake.partitions import ONE_DAY, utc_now
from lake.records import Records
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.command.land import STAMP, land
from nightjar.servers import background, local_airflow, rest
from nightjar.servers.rest import Client
from nightjar.servers.waiting import wait_until

FIRST = dt.date(2017, 6, 15)
HOUSEHOLDS = 500
SLICE_DAYS = 63
TICK = dt.timedelta(hours=2)
"""After the end of a day its night is due, by the DAG's schedule."""
UNPAUSED = dt.timedelta(minutes=6)
"""So much later at most the DAG is unpaused."""
IVY = Path(sys.prefix) / "ivy"
POSTGRES = Path("/usr/lib/postgresql/15/bin")
POSTGRES_CONF = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
fsync = off  # it lives as long as the tests
max_connections = 200
"""


@pytest.fixture(scope="session", autouse=True)
def quickly_compiled():
    """Let the JVMs of Spark jobs not optimise: they live for seconds, and it takes two fifths of that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        yield


@dataclass(frozen=True)
class Slice:
    """A running Airflow, and the settings that it runs with."""

    settings: Settings
    airflow: local_airflow.Airflow
    client: Client


@pytest.fixture(scope="session")
def slice_settings(demo_toml):
    """Settings of the slice with its home in a folder; Spark's jars for S3 are fetched once for all."""

    def make(
        folder: Path, last_day: dt.date | None = None, first_day: dt.date = FIRST, **changes: Any
    ) -> Settings:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        IVY.mkdir(exist_ok=True)
        if not (home / "ivy").exists():
            (home / "ivy").symlink_to(IVY)
        toml = demo_toml(folder, first_day=first_day, last_day=last_day, min_rows=20, snapshots=2)
        limits = {"spark_master": "local[2]", "spark_memory": "1g", "threads": 2}
        return Settings(home=home, **({"dataset": str(toml), "raw_wait": 15} | limits | changes))

    return make


@pytest.fixture(scope="module")
def night_slice(tmp_path_factory, slice_settings):
    """Airflow on a data set that goes on until the newest night that is due: the demo's days, moved."""
    first = _newest_night() - (SLICE_DAYS - 1) * ONE_DAY
    moved = first - FIRST
    landed = slice_settings(tmp_path_factory.mktemp("landed"))
    settings = slice_settings(tmp_path_factory.mktemp("slice"), first_day=first)
    land(landed, FIRST, FIRST + (SLICE_DAYS - 1) * ONE_DAY, households=HOUSEHOLDS)
    _move(landed, settings, moved)
    with local_airflow.running(settings) as airflow:
        client = airflow.client()
        for dag in ("bootstrap_history", "nightly"):
            client.wait_for_dag(dag)
        yield Slice(settings, airflow, client)


def _newest_night() -> dt.date:
    """The newest day whose night is due; waits where that would be another one before the DAG is unpaused."""
    while (found := _due(utc_now())) != _due(utc_now() + UNPAUSED):
        time.sleep(1)
    return found


def _due(now: dt.datetime) -> dt.date:
    return (now - TICK).date() - ONE_DAY


def _move(landed: Settings, settings: Settings, by: dt.timedelta) -> None:
    """Put raw files as if all of it had happened so much later."""
    source, raw = open_storage(landed.raw), Path(open_storage(settings.raw).local(""))
    for path in map(Path, source.list("")):
        rows, day = pq.read_table(source.local(str(path))), dt.date.fromisoformat(path.stem) + by
        if STAMP in rows.column_names:
            later = pc.add(rows[STAMP], pa.scalar(by))
            rows = rows.set_column(rows.column_names.index(STAMP), STAMP, later)
        target = raw / path.with_stem(str(day))
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, target)


@dataclass(frozen=True)
class Nights:
    """Nights on disk by the command line, one after the other, as they go on beside the tests.

    Attributes
    ----------
    days
        Their partitions.
    """

    folder: Path
    days: list[dt.date]
    settings: Settings
    run: background.Component

    def release_id(self, night: dt.date) -> str:
        """The release of a night, when it is there."""
        records = Records(open_storage(self.settings.lake))
        _wait_until(lambda: bool(records.latest("precompute", night)), self.run)
        found = records.current("precompute", night)
        assert found
        release_id: str = found.details["release_id"]
        return release_id

    def copy_before(self, night: dt.date, lake: Path) -> None:
        """Make a lake that is as theirs was before one of the first two."""
        kept = self.folder / f"before-{night}"
        _wait_until(kept.exists, self.run)
        shutil.copytree(kept, lake)


@pytest.fixture(scope="session")
def nights_on_disk(request, tmp_path_factory, slice_settings):
    """Two nights, or four for long tests, that nothing disturbs: what others have to come to."""
    folder = tmp_path_factory.mktemp("nights")
    is_long = any(test.get_closest_marker("long") for test in request.session.items)
    nights = [dt.date(2017, 8, 14) + n * ONE_DAY for n in range(4 if is_long else 2)]
    settings = slice_settings(folder, nights[-1])
    told = settings.environment()
    nightjar = Path(sys.executable).with_name("nightjar")
    lake, history = settings.home / "lake", nights[0] - dt.timedelta(days=1)
    steps = [
        f"{nightjar} land --households {HOUSEHOLDS} --from {FIRST} --to {nights[-1]}",
        f"{nightjar} bootstrap --from {FIRST} --to {history}",
    ]
    for night in nights:
        kept = folder / f"before-{night}"
        if night in nights[:2]:
            steps.append(f"cp -r {lake} {kept}.part && mv {kept}.part {kept}")
        steps.append(f"{nightjar} run night --partition {night}")
    shell = ["sh", "-c", " && ".join(steps)]
    run = background.spawn("nights on disk", shell, os.environ | told, folder, folder / "out.log")
    yield Nights(folder, nights, settings, run)
    background.stop([run])


@pytest.fixture(scope="session")
def airflow_before(slice_settings):
    """An Airflow of one's own, in a lake that is as before one of the nights on disk, as a context."""

    @contextmanager
    def start(nights: Nights, night: dt.date, folder: Path, **changes: Any) -> Iterator[Slice]:
        settings = slice_settings(folder, nights.days[-1], **changes)
        nights.copy_before(night, settings.home / "lake")
        with local_airflow.running(settings) as airflow:
            client = airflow.client()
            client.wait_for_dag("nightly")
            client.unpause("nightly")
            yield Slice(settings, airflow, client)

    return start


@pytest.fixture(scope="session")
def night_in_steps(tmp_path_factory, demo_toml, finish):
    """A folder with a small night as it is before each of its parts; see `stages.py`."""
    folder = tmp_path_factory.mktemp("steps")
    demo_toml(
        folder,
        first_day=dt.date(2017, 6, 25),
        min_rows=20,
        snapshots=1,
        trees=[10],
        recall_floor=0.5,
        buckets=4,
    )
    line = [sys.executable, str(Path(__file__).with_name("stages.py")), "make", str(folder)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        told, _ = finish(process)
    assert process.returncode == 0, told[-6000:]
    return folder


@pytest.fixture(scope="session", autouse=True)
def ended_in_order():
    """Let a SIGTERM end the run as Ctrl-C does, so that what was started is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM", returncode=143))
    yield
    signal.signal(signal.SIGTERM, before)


@dataclass
class Server:
    """A server that `nightjar serve` starts; `stop` and `start` keep what it has.

    Attributes
    ----------
    environment
        The variables with which its clients reach it, or log in.
    told
        What the server itself is told beyond these.
    """

    name: str
    home: Path
    port: int
    environment: dict[str, str]
    told: dict[str, str] = field(default_factory=dict)
    component: background.Component | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with its output in its home, and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("nightjar")), "serve", self.name]
        told = {**os.environ, **self.environment, **self.told, "NIGHTJAR_HOME": str(self.home)}
        log = self.home / f"{self.name}.log"
        line = [*command, "--port", str(self.port)]
        self.component = background.spawn(self.name, line, told, self.home, log)
        _wait_until(lambda: rest.answers(f"{self.url}/health"), self.component)

    def stop(self) -> None:
        """End it; connections to it are refused then."""
        if self.component:
            background.stop([self.component])


class S3Server(Server):
    """A real S3 server (versitygw) on a folder of its own."""

    @property
    def access_key(self) -> str:
        return self.environment["AWS_ACCESS_KEY_ID"]

    @property
    def secret_key(self) -> str:
        return self.environment["AWS_SECRET_ACCESS_KEY"]

    def client(self) -> Any:
        """A boto3 client of it."""
        import boto3

        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)

    def make_bucket(self, name: str) -> str:
        """Make a bucket; gives its address."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


@dataclass
class Postgres:
    """A PostgreSQL server on this machine alone, behind a password."""

    port: int
    user: str
    password: str
    component: background.Component | None = None

    def url(self, database: str) -> str:
        """The SQLAlchemy address of a database, which is made where there is none."""
        import psycopg2

        with closing(psycopg2.connect(self._dsn("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                if not cursor.fetchone():
                    cursor.execute(f'CREATE DATABASE "{database}"')
        return f"postgresql+psycopg2://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={database}"

    def answers(self) -> bool:
        """Whether it takes a login."""
        import psycopg2

        try:
            psycopg2.connect(self._dsn("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True


def _wait_until(ready: Callable[[], bool], component: background.Component) -> None:
    """Wait as long as a process is there and says something now and then."""

    def done() -> bool:
        reached = ready()
        assert reached or component.alive(), component.last_lines()
        return reached

    wait_until(done, component.last_lines, component.name, pause=0.1)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """An S3 server for the whole run; make a bucket of your own."""
    port = local_airflow.free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nightjar",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(16),
        "AWS_REGION": "us-east-1",
    }
    server = S3Server("s3", tmp_path_factory.mktemp("s3"), port, environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def _new_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="nightjar-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(local_airflow.free_port(), "nightjar", secrets.token_urlsafe(16))
        server.component = _start_postgres(Path(folder), server)
        try:
            _wait_until(server.answers, server.component)
            yield server
        finally:
            _stop_postgres(server.component)


@pytest.fixture(scope="session")
def new_postgres():
    """A PostgreSQL of one's own, as a context."""
    return _new_postgres


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL for the whole run; take a database of your own."""
    with _new_postgres() as server:
        yield server


def _start_postgres(folder: Path, server: Postgres) -> background.Component:
    """Make a cluster that asks everyone for the password, and start it."""
    as_postgres = _drop_root(folder)
    told, data = folder / "password", folder / "data"
    told.write_text(server.password)
    made = [*as_postgres, str(POSTGRES / "initdb"), "--pgdata", str(data), "--username", server.user]
    options = ["--pwfile", str(told), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]
    done = subprocess.run([*made, *options], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told.unlink()
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(POSTGRES_CONF.format(port=server.port))
    command = [*as_postgres, str(POSTGRES / "postgres"), "-D", str(data)]
    return background.spawn("postgres", command, os.environ, folder, folder / "postgres.log")


def _drop_root(folder: Path) -> list[str]:
    """What to put before a command of PostgreSQL, which refuses to be root."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _stop_postgres(component: background.Component) -> None:
    """A fast shutdown: its workers lead sessions of their own and end with it."""
    if component.alive():
        os.kill(component.pid, signal.SIGINT)
    deadline = time.monotonic() + background.STOP_SECONDS
    while component.alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    background.stop([component])


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, postgres, s3_server):
    """An MLflow server for the whole run, whose login is in the environment of the run."""
    login = {
        "MLFLOW_TRACKING_USERNAME": "nightjar",
        "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(16),
    }
    places = {
        "MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow"),
        "MLFLOW_ARTIFACTS_DESTINATION": s3_server.make_bucket("mlflow"),
    }
    home, port = tmp_path_factory.mktemp("mlflow"), local_airflow.free_port()
    server = Server("mlflow", home, port, login, s3_server.environment | places)
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in login.items():
                patch.setenv(name, value)
            yield server
    finally:
        server.stop()
