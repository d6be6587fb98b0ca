"""What a night's features begin with: the newest state that holds, and the same bytes from any or none."""

import datetime as dt
import shutil
from collections import namedtuple
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import feature_states
from lake.lake import Lake
from lake.records import Draft, TableContent, TableFile
from lake.schemas import arrow_schema
from nightjar.stages import attempt as attempts
from nightjar.stages import features
from nightjar.stages.features import Features
from nightjar.stages.ingest import Ingest

DAYS = [dt.date(2024, 1, day) for day in range(1, 6)]
FEATURES = """
[features]
short_days = 1
medium_days = 2
long_days = 3
rebuy_days = 2
fast_half_life = 1
slow_half_life = 2
"""
Bought = namedtuple("Bought", "user item day kind pieces", defaults=("purchase", 1))


class Shop:
    """A lake whose days are put into it as an ingest would have done."""

    def __init__(self, settings):
        self.settings = settings

    @property
    def lake(self):
        return Lake.open(self.settings)

    def land(self, day, events=(), digest="x"):
        lake, stage = self.lake, Ingest()
        content = self._written(lake.storage, day, events, f"{day} {digest}")
        draft = Draft(stage.NAME, f"{day}", "a", "committed", stage.VERSION, stage.config_digest(lake))
        return lake.records.commit(
            replace(draft, tables={"interactions": content}), lake.records.latest("ingest", day)
        )

    def _written(self, storage, day, events, digest):
        path = f"interactions/{digest[-1]}/landed={day}/part.parquet"
        noon = [dt.datetime.combine(event.day, dt.time(12), dt.UTC) for event in events]
        rows = [
            {"user_id": e.user, "item_id": e.item, "event_ts": at, "event_type": e.kind, "source_file": "f"}
            | {"quantity": Decimal(e.pieces), "amount": Decimal(e.user)}
            for e, at in zip(events, noon, strict=True)
        ]
        target = Path(storage.local(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema("interactions", "int64")), target)
        file = TableFile(path, target.stat().st_size, len(rows) or 1)
        return TableContent((file,), len(rows) or 1, digest)

    def plan(self, day):
        return attempts.read_plan(self.lake, Features(), attempts.begin(self.lake, Features(), [day]))

    def digests(self, plan):
        from spark_jobs.feature_tables import run

        return {name: found[plan.day].digest for name, found in run(plan).tables.items()}

    def forget(self):
        shutil.rmtree(self.lake.storage.local("caches"), ignore_errors=True)


@pytest.fixture
def shop(tiny):
    toml = Path(tiny.settings.dataset)
    toml.write_text(toml.read_text() + FEATURES)
    return Shop(tiny.settings)


@pytest.fixture
def kept(shop, tmp_path):
    """Four days, and states of the first three whose content is of no account."""
    for day in DAYS[:4]:
        shop.land(day)
    storage, plan = shop.lake.storage, shop.plan(DAYS[3])
    for day in DAYS[:3]:
        folder = feature_states.folder("a", day)
        for table in ("user_features", "user_item_features"):
            (tmp_path / "part").write_text(f"{table} {day}")
            storage.put_file(f"{folder}/{table}/part-0.parquet", tmp_path / "part")
        feature_states.keep(storage, plan.origins(day), day, "a")
    return shop


def state_of(shop, day=DAYS[3]):
    """The day of the state that the features of a day begin with."""
    state = shop.plan(day).state
    return state and state.as_of


def test_a_night_begins_with_the_newest_state_and_keeps_its_own(kept):
    plan = kept.plan(DAYS[3])
    assert plan.state.as_of == DAYS[2]
    assert plan.state.files == {
        table: (f"caches/feature_state/{DAYS[2]}/a/{table}/part-0.parquet",)
        for table in ("user_features", "user_item_features")
    }
    assert plan.kept == (DAYS[3],)
    assert kept.plan(DAYS[2]).kept == ()


@pytest.mark.parametrize(("few", "expected"), [(3, {0, 3}), (4, {3})])
def test_the_first_as_of_day_keeps_its_state_where_the_next_night_had_to_read_many_rows(
    shop, monkeypatch, few, expected
):
    monkeypatch.setattr(features, "FEW_ROWS", few)
    monkeypatch.setattr(features, "snapshot_days", lambda day, data: [DAYS[0], DAYS[2]])
    for day in DAYS[:4]:
        shop.land(day)
    assert shop.plan(DAYS[3]).kept == tuple(DAYS[at] for at in sorted(expected))


def test_a_mended_day_leaves_the_states_before_it(kept):
    kept.land(DAYS[2], digest="y")
    assert state_of(kept) == DAYS[1]
    kept.land(DAYS[0], digest="y")
    assert state_of(kept) is None


def test_a_day_that_was_taken_in_afterwards_leaves_the_states_before_it(shop, kept):
    storage = kept.lake.storage
    Path(storage.local(f"records/ingest/{DAYS[2]}/000000000001.json")).unlink()
    assert state_of(kept) == DAYS[1]


def test_other_weights_or_another_version_use_no_state(kept, monkeypatch):
    toml = Path(kept.settings.dataset)
    other = toml.with_name("other.toml")  # a path is read once
    other.write_text(toml.read_text().replace("view = 0.1", "view = 0.2"))
    assert state_of(Shop(kept.settings.model_copy(update={"dataset": str(other)}))) is None
    assert state_of(kept) == DAYS[2]
    monkeypatch.setattr(Features, "VERSION", Features.VERSION + 1)
    assert state_of(kept) is None


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("user_features 2024-01-04")])
def test_a_damaged_or_half_written_state_is_passed_over(kept, damage, caplog):
    damage(kept.lake.storage.local(f"caches/feature_state/{DAYS[2]}/a/user_features/part-0.parquet"))
    assert state_of(kept) == DAYS[1]
    assert "caches/feature_state" in caplog.text


EVENTS = [
    [Bought(1, 10, DAYS[0], "view"), Bought(1, 11, DAYS[0]), Bought(2, 10, DAYS[0])],
    [Bought(1, 10, DAYS[1]), Bought(1, 10, DAYS[0], pieces=3)],
    [Bought(1, 10, DAYS[2], "view"), Bought(3, 12, DAYS[2])],
    [Bought(1, 10, DAYS[2]), Bought(2, 10, DAYS[3]), Bought(2, 11, DAYS[1])],
    [Bought(1, 10, DAYS[4]), Bought(2, 10, DAYS[0], "view"), Bought(3, 12, DAYS[4])],
]
"""By the day on which they land. The last day has a row that is older than the days kept one by one."""


@pytest.fixture
def read_files(monkeypatch):
    """The files of interactions that Spark reads from now on."""
    from spark_jobs import read

    asked, table = set(), read.table

    def noted(spark, lake, name, files, id_type):
        asked.update(files if name == "interactions" else ())
        return table(spark, lake, name, files, id_type)

    monkeypatch.setattr(read, "table", noted)
    return asked


@pytest.mark.spark
def test_features_from_a_state_and_a_day_are_those_of_all_history(spark, shop, read_files):
    for day, events in zip(DAYS, EVENTS, strict=True):
        shop.land(day, events)
    shop.digests(shop.plan(DAYS[2]))
    read_files.clear()

    plan = shop.plan(DAYS[3])
    found = shop.digests(plan)
    assert read_files == set(plan.interactions[DAYS[3]])
    shop.forget()  # between the plan and the job, of another attempt
    assert shop.digests(replace(plan, attempt="f" * 16)) == found

    read_files.clear()
    late = shop.plan(DAYS[4])
    assert late.state.as_of == DAYS[3]
    found = shop.digests(late)
    assert read_files == {file for files in late.interactions.values() for file in files}
    assert shop.digests(replace(shop.plan(DAYS[4]), state=None, kept=())) == found
