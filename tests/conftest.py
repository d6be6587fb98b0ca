"""A Spark session for the whole run, and a data set of five days that any test can fill."""

# First, so that the BLAS kernel is asked for before numpy is loaded.
import lake  # noqa: F401

# isort: split
import datetime as dt
import logging
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import layout, messages
from lake.dataset import CONFIG_DIR
from lake.lake import Lake
from lake.records import Record
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.servers.waiting import Still, wait_until

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

TINY = """
name = "tiny"
first_day = 2024-01-01
last_day = 2024-01-05
id_type = "{id_type}"

[raw]
files = "events/{{partition}}.{format}"
format = "{format}"
closed_days = [2024-01-03]
timezone = "{timezone}"
late_days = {late_days}

[raw.columns]
user_id = "user"
item_id = "item"
event_ts = "at"
event_type = "type"
quantity = "pieces"
amount = "paid"
context_id = "basket"
segment = "store"

[events]
default = "purchase"
weights = {{ purchase = 1.0, view = 0.1 }}
labels = ["purchase"]

[catalogue]
files = "items/{{partition}}.parquet"
format = "parquet"

[catalogue.columns]
item_id = "item"
name = "title"
category = "department"
subcategory = "kind"
brand = "brand"

[rules]
min_rows = 1
max_rows = 100
max_bad_share = 0.5
"""

SCHEMA = pa.schema(
    [
        ("user", pa.int64()),
        ("item", pa.int64()),
        ("at", pa.timestamp("us")),
        ("type", pa.string()),
        ("pieces", pa.int64()),
        ("paid", pa.float64()),
        ("basket", pa.int64()),
        ("store", pa.string()),
    ]
)


def run_here(job: str, attempt: str, settings: Settings, start: object = None) -> None:
    """`spark_jobs.submit.submit` in the Spark session of this process (needs the fixture `spark`)."""
    from spark_jobs import als, cut, extract, feature_tables, plans, sample

    module, kind = {
        "als": (als, plans.AlsPlan),
        "cut": (cut, plans.ExtractPlan),
        "extract": (extract, plans.ExtractPlan),
        "feature_tables": (feature_tables, plans.FeaturesPlan),
        "sample": (sample, plans.SamplePlan),
    }[job]
    storage = open_storage(settings.lake)
    request = messages.read(storage, layout.plan(attempt), kind)
    messages.write(storage, layout.result(attempt), module.run(request))


def finish_process(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a process says until it ends, for as long as it or one of its children works."""
    said: list[tuple[str, str]] = []

    def ended() -> bool:
        with suppress(subprocess.TimeoutExpired):
            said.append(process.communicate(timeout=1))
        return bool(said)

    try:
        wait_until(ended, lambda: _work_of(process.pid), f"process {process.pid} to end", pause=0)
    except Still:
        process.kill()
        raise
    return said[0]


def _work_of(pid: int) -> dict[int, float]:
    """The processor seconds of a process and its children, as whole numbers, so that idling is none."""
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        times = {one.pid: one.cpu_times() for one in [leader, *leader.children(recursive=True)]}
        return {one: round(sum(spent[:4])) for one, spent in times.items()}
    return {}


@dataclass(frozen=True)
class Tiny:
    """A data set in a temporary folder: its settings, and ways to put raw files."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        """Its lake, opened anew as each task does."""
        return Lake.open(self.settings)

    def raw(self, name: str) -> Path:
        """Where a raw file lies."""
        path: Path = open_storage(self.settings.raw).local(name)  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, day: dt.date, rows: Sequence[Mapping[str, Any]], schema: pa.Schema = SCHEMA) -> Path:
        """Write a day's rows as Parquet, over what was there."""
        path = self.raw(f"events/{day}.parquet")
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
        return path

    def put_items(self, day: dt.date, items: Sequence[Mapping[str, Any]]) -> Path:
        """Write the catalogue that came on a day."""
        path = self.raw(f"items/{day}.parquet")
        pq.write_table(pa.Table.from_pylist(list(items)), path)
        return path

    def extract(self, attempt: str) -> None:
        """Run the job `extract` in this process (needs the fixture `spark`)."""
        run_here("extract", attempt, self.settings)

    def ingest_unjudged(self, day: dt.date) -> Record:
        """`ingest` without the gate: the record as it would be, also of a day that is refused."""
        from nightjar.stages import attempt as attempts
        from nightjar.stages.ingest import Ingest

        stage = Ingest()
        attempt = attempts.begin(self.lake, stage, [day])
        self.extract(attempt)
        plan, made = (read(self.lake, stage, attempt) for read in (attempts.read_plan, attempts.read_made))
        return self.lake.records.commit(stage.draft(plan, made, day), plan.based_on[day])

    def ingest(self, day: dt.date) -> Record:
        """Take in a raw day as a night does."""
        from nightjar.stages import attempt as attempts
        from nightjar.stages.ingest import Ingest

        attempt = attempts.begin(self.lake, Ingest(), [day])
        self.extract(attempt)
        (record,) = attempts.commit(self.lake, Ingest(), attempt)
        return record


def row(
    day: dt.date, user: int | None = 1, item: int | None = 10, hour: int = 12, **other: Any
) -> dict[str, Any]:
    """A raw row of the tiny data set: one piece at 2.50 at noon, unless told otherwise."""
    at = dt.datetime.combine(day, dt.time(hour))
    plain = {"type": "purchase", "pieces": 1, "paid": 2.5, "basket": 7, "store": "A"}
    return {"user": user, "item": item, "at": at} | plain | other


def make_tiny(folder: Path, **changes: Any) -> Tiny:
    """A tiny data set in a folder; `changes` are those of the TOML (id_type, format, ...)."""
    told = {"id_type": "int64", "format": "parquet", "timezone": "UTC", "late_days": 0} | changes
    toml = folder / "tiny.toml"
    toml.write_text(TINY.format(**told), encoding="utf-8")
    limits = {"spark_master": "local[2]", "spark_memory": "1g", "threads": 2}
    return Tiny(Settings(home=folder / "home", dataset=str(toml), **limits))


@pytest.fixture(scope="session")
def cut():
    """A function: an as-of day whose blocks have about so many users, as those of large days do."""

    def cut(as_of, users: int):
        least, more = (replace(as_of, block_mib=1, limit=limit)._bytes().max() for limit in (0, 1))
        limit = -int((least - (1 << 20) / users) // (more - least))
        return replace(as_of, block_mib=1, limit=limit)

    return cut


@pytest.fixture(scope="session")
def two_ports() -> int:
    """A port that is free, and so is the next: a Spark master has two.

    They are below those that this machine gives to connections: one that has ended holds its port for a
    minute, and tests on S3 leave thousands, so that the master's page found its port taken.
    """
    for port in range(20_000 + os.getpid() % 5_000 * 2, 32_000, 2):
        with suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 1))
            return port
    raise RuntimeError("no two free ports below 32,000")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """The tiny data set, without any raw file."""
    return make_tiny(tmp_path)


def make_demo_toml(folder: Path, **fields: Any) -> Path:
    """The demo's TOML as the data set ``slice``, with other values of some fields; None leaves one out."""
    text = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
    text = text.replace('name = "complete_journey"', 'name = "slice"')
    for name, value in ({"closed_days": []} | fields).items():  # a slice may end before that of the demo
        line = "" if value is None else f"{name} = {value}"
        text, found = re.subn(rf"^{name} = .*$", line, text, flags=re.MULTILINE)
        assert found == 1, name
    path = folder / "slice.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def demo_toml():
    """`make_demo_toml`, for tests that cannot import this file."""
    return make_demo_toml


@pytest.fixture(scope="session")
def tiny_row():
    """`row`, for tests that cannot import this file."""
    return row


@pytest.fixture(scope="session")
def tiny_with():
    """`make_tiny`, for tests that cannot import this file."""
    return make_tiny


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One local Spark session for the whole run."""
    from spark_jobs.java import environment
    from spark_jobs.session import session

    home = tmp_path_factory.mktemp("spark")
    os.environ.update(environment(Settings(home=home, spark_master="local[2]")))
    # Tiny tables want few partitions, and to be interpreted: compiling takes twice the time. Nights by
    # spark-submit (tests/services) compile; test_judge.py compares the two.
    few = "--conf spark.sql.shuffle.partitions=4"
    interpreted = "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN"
    options = f"--master local[2] --driver-memory 3g --conf spark.local.dir={home} {few} {interpreted}"
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"{options} pyspark-shell"
    # its connections say that they close when Python ends, to a stream of pytest's that is closed by then
    logging.getLogger("py4j").setLevel(logging.WARNING)
    made = session("tests")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def finish():
    """`finish_process`, for tests that cannot import this file."""
    return finish_process


@pytest.fixture(scope="session")
def submit_here(spark):
    """`run_here`, for tests that cannot import this file."""
    return run_here
