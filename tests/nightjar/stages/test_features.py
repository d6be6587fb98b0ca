import dataclasses
import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import layout, messages
from lake.dataset import read_dataset
from lake.errors import ConfigError, Conflict, GateFailed, PermanentError
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.records import Draft, Record, Records, TableContent, TableFile
from lake.schemas import SUBCATEGORY, TABLES, arrow_schema
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import rowsettings
from nightjar.stages.features import Features
from nightjar.stages.ingest import Ingest
from recommender import asof
from spark_jobs.plans import FeaturesResult

FIRST, D = dt.date(2024, 1, 1), dt.date(2024, 1, 31)


def back(weeks):
    return D - dt.timedelta(days=7 * weeks)


@pytest.fixture
def settings(tiny):
    """The tiny data set over a month, with two training snapshots."""
    toml = Path(tiny.settings.dataset)
    text = toml.read_text().replace("last_day = 2024-01-05", "last_day = 2024-01-31")
    toml.write_text(text + "\n[training]\nsnapshots = 2\n")
    return tiny.settings


@pytest.fixture
def records(settings):
    return Records(open_storage(settings.lake))


def ingest(records, settings, day, digest="x", rows=1, catalogue=False, details=None):
    named = {"interactions": TableContent((TableFile(f"i/{day}/{digest}", 1, rows),), rows, digest)}
    named |= {"catalogue": TableContent((TableFile(f"c/{day}", 1, 1),), 1, digest)} if catalogue else {}
    stage = Ingest()
    config = stage.config_digest(Lake.open(settings))
    draft = Draft(stage.NAME, str(day), "a", "committed", stage.VERSION, config)
    draft = dataclasses.replace(draft, tables=named, details=details or {})
    return records.commit(draft, records.latest("ingest", day))


def plan_of(attempt, settings):
    return attempts.read_plan(Lake.open(settings), Features(), attempt)


def planned(settings):
    """The plan of a new attempt for the day."""
    return plan_of(attempts.begin(Lake.open(settings), Features(), [D]), settings)


def stage(attempt, settings, **changed):
    """What the job would leave: user 1 bought item 10, of the subcategory milk."""
    storage, plan = open_storage(settings.lake), plan_of(attempt, settings)
    made = {
        table: {day: _write(storage, table, attempt, day, changed.get(table, {})) for day in plan.based_on}
        for table in FEATURES
    }
    messages.write(storage, layout.result(attempt), FeaturesResult(made))


def _write(storage, table, attempt, day, changed):
    keys = {"user_id": 1, "item_id": 10, SUBCATEGORY: "milk"}
    row = {key: keys[key] for key in TABLES[table].key} | {f.name: 1.0 for f in FEATURES[table]} | changed
    path = f"{layout.partition(table, attempt, day)}/part.parquet"
    target = Path(storage.local(path))
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=arrow_schema(table, "int64")), target)
    return TableContent((TableFile(path, target.stat().st_size, 1),), 1, f"{table} {sorted(changed)}")


def run(settings, day=D, **changed):
    attempt = attempts.begin(Lake.open(settings), Features(), [day])
    stage(attempt, settings, **changed)
    return attempts.commit(Lake.open(settings), Features(), attempt)[-1]


def test_a_day_without_an_ingest_record_is_refused(settings, records):
    ingest(records, settings, FIRST)
    with pytest.raises(
        PermanentError, match=r"features of 2024-01-31.*`nightjar run ingest --partition 2024"
    ):
        attempts.begin(Lake.open(settings), Features(), [D])


def test_a_history_without_a_row_is_refused(settings, records):
    ingest(records, settings, D, rows=0)
    with pytest.raises(PermanentError, match=r"found no row in 1 days; .*bootstrap"):
        attempts.begin(Lake.open(settings), Features(), [D])


def test_a_first_night_builds_all_snapshots_and_the_day_from_what_each_may_see(settings, records):
    for day, catalogue in ((FIRST, True), (back(1), False), (D, True)):
        ingest(records, settings, day, catalogue=catalogue)
    plan = planned(settings)
    assert plan.based_on == {back(3): 0, back(2): 0, back(1): 0, D: 0}
    assert {pin.day: pin.sequence for pin in plan.inputs_of("interactions")} == {FIRST: 1, back(1): 1, D: 1}
    assert plan.interactions == {day: (f"i/{day}/x",) for day in (FIRST, back(1), D)}
    assert plan.catalogues == dict.fromkeys(list(plan.based_on)[:3], (f"c/{FIRST}",)) | {D: (f"c/{D}",)}


def test_a_snapshot_before_the_first_row_is_not_built(settings, records):
    ingest(records, settings, FIRST, rows=0)
    ingest(records, settings, back(2))
    ingest(records, settings, D)
    assert list(planned(settings).based_on) == [
        back(2),
        back(1),
        D,
    ]


def test_a_night_commits_every_as_of_day_from_its_own_inputs(settings, records):
    for day in (FIRST, back(1), D):
        ingest(records, settings, day, catalogue=day == FIRST)
    record = run(settings)
    assert record.partition == str(D)
    assert record.tables.keys() == FEATURES.keys()
    assert record.counts == dict.fromkeys(FEATURES, 1)
    missing = record.details["missing_days"]
    assert len(missing) == 28
    assert str(FIRST) not in missing
    assert {str(FIRST + dt.timedelta(days=1)), str(back(2))} <= set(missing)
    for day, seen in ((back(2), 1), (back(1), 2), (D, 3)):
        assert len(records.current("features", day).inputs_of("interactions")) == seen
        assert Features().is_fresh(Lake.open(settings), day)
    again = planned(settings)
    assert again.based_on == {D: 1}


def test_days_taken_in_by_other_settings_of_rows_are_named(settings, records, caplog):
    """Features summed them with the others, and nothing said so."""
    now, other = rowsettings.digest_of(read_dataset(settings.dataset)), "of another zone"
    for day, by in ((FIRST, now), (back(2), other), (back(1), other), (D, now)):
        ingest(records, settings, day, details={rowsettings.DETAIL: by})
    run(settings)
    assert f"found 2 of 4 by others ({back(2)} to {back(1)})" in caplog.text
    assert f"`nightjar bootstrap --from {back(2)} --to {back(1)}` takes them in again" in caplog.text


def test_days_taken_in_by_the_settings_as_they_are_are_no_warning(settings, records, caplog):
    now = rowsettings.digest_of(read_dataset(settings.dataset))
    for day in (FIRST, D):
        ingest(records, settings, day, details={rowsettings.DETAIL: now})
    run(settings)
    assert "days_of_one_setting" not in caplog.text


def test_the_same_again_makes_no_record_and_a_changed_day_makes_later_ones_stale(settings, records):
    for day in (FIRST, back(1), D):
        ingest(records, settings, day, catalogue=day == FIRST)
    first = run(settings)
    assert run(settings).sequence == first.sequence
    ingest(records, settings, back(1), digest="mended")
    assert planned(settings).based_on == {
        back(1): 1,
        D: 1,
    }


@pytest.mark.parametrize(
    ("table", "changed", "told"),
    [
        ("user_features", {"user_id": None}, "user_features.user_id_present"),
        ("user_item_features", {"days": -1.0}, "user_item_features.days_in_bounds"),
        ("item_features", {"price": float("inf")}, "item_features.price_in_bounds"),
        ("user_features", {"items": 2.0}, "pairs_of_users_agree: expected 1, found 2"),
        ("item_features", {"users": 3.0}, "pairs_of_items_agree: expected 1, found 3"),
    ],
)
def test_a_failed_check_commits_nothing(settings, records, table, changed, told):
    ingest(records, settings, D, catalogue=True)
    with pytest.raises(GateFailed, match=told):
        run(settings, **{table: changed})
    assert records.partitions("features") == {}
    assert len([p for p in open_storage(settings.lake).list("reports/features") if p.endswith("html")]) == 1


def test_a_conflict_is_accepted_before_the_day_and_raised_for_it(settings, records):
    for day in (FIRST, D):
        ingest(records, settings, day, catalogue=day == FIRST)
    slow = attempts.begin(Lake.open(settings), Features(), [D])
    run(settings)
    stage(slow, settings, item_features={"price": 2.0})
    with pytest.raises(Conflict, match=f"features of {D}"):
        attempts.commit(Lake.open(settings), Features(), slow)[-1]
    assert [records.latest("features", back(n)) for n in (3, 2, 1, 0)] == [1, 1, 1, 1]


def test_a_catalogue_without_subcategories_stops_no_night(settings, records):
    """It committed, and then features refused that night and each one that had it as a snapshot."""
    ingest(records, settings, D, catalogue=True)
    attempt, storage = attempts.begin(Lake.open(settings), Features(), [D]), open_storage(settings.lake)
    stage(attempt, settings)
    made = messages.read(storage, layout.result(attempt), FeaturesResult)
    empty = {"user_category_features": {D: TableContent((), 0, "0:0:0")}}
    Path(storage.local(layout.result(attempt))).unlink()
    messages.write(storage, layout.result(attempt), FeaturesResult(made.tables | empty))
    assert attempts.commit(Lake.open(settings), Features(), attempt)[-1].counts["user_category_features"] == 0


def test_days_before_the_first_day_are_left_out(settings, records):
    """They stayed in all features, and no command could mend them."""
    for day in (FIRST, back(1), D):
        ingest(records, settings, day, catalogue=True)
    run(settings)
    toml = Path(settings.dataset)
    later = toml.with_name("later.toml")
    text = toml.read_text().replace("first_day = 2024-01-01", f"first_day = {back(1)}")
    later.write_text(text.replace("closed_days = [2024-01-03]", "closed_days = []"))
    moved = settings.model_copy(update={"dataset": str(later)})
    assert not Features().is_fresh(Lake.open(moved), D)
    plan = planned(moved)
    assert [pin.day for pin in plan.inputs_of("interactions")] == [back(1), D]
    assert list(plan.based_on) == [back(1), D]


def test_a_snapshot_without_users_is_left_out_and_stops_no_night(settings, records, caplog):
    """All rows of the first days are of a type that is ignored since: each night was refused."""
    for day in (FIRST, D):
        ingest(records, settings, day, catalogue=True)
    attempt, storage = attempts.begin(Lake.open(settings), Features(), [D]), open_storage(settings.lake)
    stage(attempt, settings)
    made = messages.read(storage, layout.result(attempt), FeaturesResult)
    none = TableContent((), 0, "0:0:0")
    tables = {name: found | {back(3): none} for name, found in made.tables.items()}
    Path(storage.local(layout.result(attempt))).unlink()
    messages.write(storage, layout.result(attempt), FeaturesResult(tables))
    assert attempts.commit(Lake.open(settings), Features(), attempt)[-1].partition == str(D)
    assert sorted(records.partitions("features")) == [back(2), back(1), D]
    assert f"no user had been seen by {back(3)}" in caplog.text


def test_the_record_and_the_log_tell_how_many_were_not_seen_for_too_long(settings, records, caplog):
    caplog.set_level("INFO")
    ingest(records, settings, D)
    lake, attempt = Lake.open(settings), attempts.begin(Lake.open(settings), Features(), [D])
    stage(attempt, settings)
    plan, made = (
        plan_of(attempt, settings),
        messages.read(lake.storage, layout.result(attempt), FeaturesResult),
    )
    assert "dropped" not in Features().draft(plan, made, D).details
    dropped = {"user_item_features": 1200, "user_features": 30}
    made = dataclasses.replace(made, dropped={D: dropped})
    assert Features().draft(plan, made, D).details["dropped"] == dropped
    Features().check(lake, plan, made)
    assert "left out: 1,200 rows of user_item_features, 30 rows of user_features" in caplog.text


@pytest.mark.spark
def test_a_real_build_passes_the_gate_and_is_sorted(spark, tiny, tiny_row):
    from spark_jobs.feature_tables import run as build

    day, settings = dt.date(2024, 1, 1), tiny.settings
    tiny.put_items(day, [{"item": 10, "title": "Milk", "department": "dairy", "kind": "milk", "brand": "b"}])
    tiny.put(day, [tiny_row(day, user, 10, hour=9 + user) for user in (3, 1, 2)])
    tiny.ingest(day)
    attempt, storage = attempts.begin(Lake.open(settings), Features(), [day]), open_storage(settings.lake)
    messages.write(storage, layout.result(attempt), build(plan_of(attempt, settings)))
    (file,) = attempts.commit(Lake.open(settings), Features(), attempt)[-1].tables["user_item_features"].files
    written = pq.ParquetFile(storage.local(file.path)).read()
    assert written["user_id"].to_pylist() == [1, 2, 3]
    assert written.schema.equals(arrow_schema("user_item_features", "int64"))


@pytest.mark.spark
def test_a_day_in_several_files_is_read_in_blocks_as_a_day_in_one(spark, tiny, tiny_row, monkeypatch, cut):
    """Blocks take what all files have of some users: each file has to be sorted by user."""
    day, lake = dt.date(2024, 1, 1), Lake.open(tiny.settings)
    rows = [tiny_row(day, user, 10 + user % 5, hour=user % 20) for user in range(40, 0, -1)]
    common = {"title": "Milk", "department": "dairy", "brand": "b"}
    tiny.put_items(day, [{"item": item, "kind": f"milk {item}", **common} for item in range(10, 15)])
    tiny.put(day, rows)
    tiny.ingest(day)
    one = _built(lake, day)
    monkeypatch.setattr("spark_jobs.files.ROWS_PER_FILE", 10)
    several = _built(lake, day)
    files = [len(record.tables["user_item_features"].files) for record in (one, several)]
    assert files[0] == 1 < files[1]
    whole, parts = (
        cut(asof.load(lake.storage, lake.records, record, lake.data), 7) for record in (one, several)
    )
    assert len(list(parts.blocks())) > 4
    assert parts.weights().nnz == 40
    assert (parts.weights() != whole.weights()).nnz == 0


def _built(lake, day):
    """The record of features that Spark makes now, not committed."""
    from spark_jobs.feature_tables import run as build

    plan = attempts.read_plan(lake, Features(), attempts.begin(lake, Features(), [day]))
    draft = Features().draft(plan, build(plan), day)
    return Record(**vars(draft), sequence=1)


def _weights(settings, told):
    """The settings with other event types."""
    toml = Path(settings.dataset)
    other = toml.with_name(f"{len(told)}.toml")  # a path is read once
    other.write_text(toml.read_text().replace("weights = { purchase = 1.0, view = 0.1 }", told))
    return settings.model_copy(update={"dataset": str(other)})


@pytest.mark.spark
def test_an_event_type_that_is_no_longer_wanted_stops_no_night(spark, tiny, tiny_row):
    """It ended each later night in Spark, was tried three times, and nobody said what to do."""
    from spark_jobs.feature_tables import run as build

    day = dt.date(2024, 1, 1)
    tiny.put(day, [tiny_row(day, 1, 10), tiny_row(day, 2, 10, type="view")])
    tiny.ingest(day)
    ignoring = _weights(tiny.settings, 'weights = { purchase = 1.0 }\nignore = ["view"]')
    made = build(plan_of(attempts.begin(Lake.open(ignoring), Features(), [day]), ignoring))
    assert made.tables["user_features"][day].rows == 1
    without = _weights(tiny.settings, "weights = { purchase = 1.0 }")
    with pytest.raises(ConfigError, match=r"no weight for event type view, which committed days have; give"):
        build(plan_of(attempts.begin(Lake.open(without), Features(), [day]), without))
