"""The Delta tables, on disk and on S3: other tools see the records' rows, whatever became of a mirror."""

import datetime as dt
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import duckdb
import polars as pl
import pytest

from lake import layout, tables
from lake.records import Records
from lake.schemas import TABLES
from lake.settings import CHECKOUT
from lake.storage import LocalStorage, Storage, open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages.features import Features

pytestmark = [pytest.mark.services, pytest.mark.spark]

FIRST, DAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
DOCS = CHECKOUT / "docs" / "tables.md"
KILLED = """
import os, signal, sys
import deltalake, deltalake.transaction
from lake import tables
from lake.storage import open_storage

def killing(commit):
    def run(*args, **kwargs):
        if sys.argv[2] == "after":
            commit(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return run

deltalake.DeltaTable.create_write_transaction = killing(deltalake.DeltaTable.create_write_transaction)
deltalake.transaction.create_table_with_add_actions = killing(
    deltalake.transaction.create_table_with_add_actions
)
tables.mirror(open_storage(sys.argv[1]), "int64")
"""


@dataclass(frozen=True)
class Deliveries:
    """A lake, and its files after a day was delivered once and once more, with features as of that day."""

    lake: LocalStorage
    first: list[str]
    second: list[str]


def _deliver(tiny, rows, brand):
    tiny.put(DAY, rows)
    described = {"title": "Milk", "department": "dairy", "kind": "milk", "brand": brand, "size": "1 l"}
    tiny.put_items(DAY, [{"item": item} | described for item in (1, 2, 2)])  # a copy is set aside
    tiny.ingest(DAY)
    storage, attempt = open_storage(tiny.settings.lake), attempts.begin(tiny.lake, Features(), [DAY])
    attempts.work(tiny.lake, Features(), attempt)
    attempts.commit(tiny.lake, Features(), attempt)
    return [path for top in (layout.RECORDS, *TABLES) for path in storage.list(top)]


@pytest.fixture(scope="module")
def deliveries(spark, tiny_with, tiny_row, tmp_path_factory):
    tiny = tiny_with(tmp_path_factory.mktemp("deliveries"))
    tiny.put(FIRST, [tiny_row(FIRST, user=user, item=1) for user in (1, 2, 3)])
    tiny.ingest(FIRST)
    rows = [tiny_row(DAY, item=1, hour=hour) for hour in (1, 2, 3)]
    first = _deliver(tiny, [*rows, tiny_row(DAY, user=None)], "ours")
    second = _deliver(tiny, [*rows, tiny_row(DAY, item=2), tiny_row(DAY, item=None)], "theirs")
    return Deliveries(open_storage(tiny.settings.lake), first, second)


@dataclass(frozen=True)
class Place:
    """A lake on disk or on S3 with the first delivery, and how DuckDB and the documents say it."""

    storage: Storage
    deliveries: Deliveries
    section: str
    duckdb: str

    def put(self, paths):
        for path in paths:
            self.storage.put_file(path, self.deliveries.lake.local(path))

    def deliver_again(self):
        self.put(self.deliveries.second)

    def mirror(self):
        return tables.mirror(self.storage, "int64")

    def versions(self):
        """The newest version of each table that has one."""
        logs = {table: self.storage.list(f"{table}/_delta_log") for table in TABLES}
        return {table: len(log) - 1 for table, log in logs.items() if log}

    def named(self, table):
        """The rows of the files that current records name, with their partition."""
        stage = TABLES[table].stage
        return _plain(
            row | {TABLES[table].partition: record.day}
            for record in Records(self.storage).all_current(stage, dt.date.max)
            if table in record.tables
            for row in tables.read(self.storage, table, "int64", record.tables[table].files).to_pylist()
        )

    def in_polars(self, table, version=None):
        return _plain(pl.read_delta(self.storage.uri(table), version=version).to_arrow().to_pylist())

    @contextmanager
    def open_duckdb(self) -> Iterator[Any]:
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as db:
            for name in ("httpfs", "delta"):
                db.execute(f"LOAD '{_extension(name)}'")
            db.execute(self.duckdb)
            yield db

    def in_duckdb(self, table, version):
        with self.open_duckdb() as db:
            db.execute(f"ATTACH '{self.storage.uri(table)}' AS t (TYPE delta, VERSION {version})")
            return _plain(db.execute("SELECT * FROM t").fetch_arrow_table().to_pylist())


def _extension(name):
    files = metadata.files(f"duckdb-ext-{name}")
    return next(file.locate() for file in files if file.name == f"{name}.duckdb_extension")


def _plain(rows):
    """Rows in order and in types that all tools share."""
    return sorted([sorted((name, _text(value)) for name, value in row.items()) for row in rows])


def _text(value):
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else str(value)


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path, deliveries, s3_server, monkeypatch):
    if request.param == "disk":
        made = Place(LocalStorage(tmp_path / ".nightjar" / "lake"), deliveries, "On disk", "")
    else:
        for name, value in (s3_server.environment | {"AWS_ALLOW_HTTP": "true"}).items():
            monkeypatch.setenv(name, value)
        bucket = s3_server.make_bucket(f"mirror-{secrets.token_hex(4)}")
        [secret] = re.findall(r"CREATE SECRET .*?;", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        for told, true in {
            "the access key": s3_server.access_key,
            "the secret key": s3_server.secret_key,
            "127.0.0.1:7070": s3_server.url.removeprefix("http://"),
        }.items():
            assert told in secret
            secret = secret.replace(told, true)
        made = Place(open_storage(f"{bucket}/lake"), deliveries, "On S3", secret)
    made.put(deliveries.first)
    return made


def test_other_tools_see_the_rows_of_the_records_and_those_before_a_day_came_again(place):
    assert place.mirror() == dict.fromkeys(TABLES, 0)
    before = {table: place.named(table) for table in TABLES}
    place.deliver_again()
    assert place.mirror() == dict.fromkeys(TABLES, 1)
    for table in TABLES:
        now = place.named(table)
        assert before[table]
        assert before[table] != now
        assert place.in_polars(table) == place.in_duckdb(table, 1) == now
        assert place.in_polars(table, 0) == place.in_duckdb(table, 0) == before[table]
    assert place.mirror() == place.versions() == dict.fromkeys(TABLES, 1)


def _kill(place, when):
    """Begin a mirror that is killed before or after its first commit."""
    line = [sys.executable, "-c", KILLED, place.storage.root, when]
    done = subprocess.run(line, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_mirror_killed_before_or_after_any_commit_is_mended_by_the_next(place):
    for version, deliver in enumerate((lambda: None, place.deliver_again)):
        deliver()
        for table in TABLES:
            seen = place.versions()
            _kill(place, "before")
            assert place.versions() == seen
            _kill(place, "after")
            assert place.versions() == seen | {table: version}
        assert place.mirror() == place.versions()
        assert {table: place.in_polars(table) for table in TABLES} == {
            table: place.named(table) for table in TABLES
        }


def _snippets(place, language):
    """The snippets of a language in the section on this place, with the place's own names."""
    section = DOCS.read_text(encoding="utf-8").partition(f"\n## {place.section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    return [snippet.replace("s3://lake/nightjar", place.storage.root) for snippet in found]


def test_what_the_documents_say_works(place, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    place.mirror()
    place.deliver_again()
    place.mirror()
    for snippet in _snippets(place, "python"):
        exec(snippet, {"pl": pl})
    printed = re.findall(r"^│ 2024-01-02 ┆ (\d+)", capsys.readouterr().out, re.MULTILINE)
    with place.open_duckdb() as db:
        statements = [s for snippet in _snippets(place, "sql") for s in snippet.strip().split(";\n")]
        done = [db.execute(s).fetchall() for s in statements if not s.startswith("CREATE SECRET")]
    counted = [str(dict(rows)[DAY]) for rows in done if rows]
    assert printed == counted == ["4", "3"]
