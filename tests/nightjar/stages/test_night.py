"""Whole nights without Airflow, on a slice of the demo data; Spark runs in this process."""

import datetime as dt
import json
import shutil
from collections import defaultdict
from contextlib import nullcontext
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lake import layout
from lake.errors import ClusterUnavailable, GateFailed, StorageUnavailable
from lake.lake import Lake
from lake.names import StageName
from lake.records import Records
from lake.settings import Settings
from lake.storage import open_storage
from nightjar.command import cli
from nightjar.command.land import land
from nightjar.stages import attempt as attempts
from nightjar.stages import night, precompute, runner
from nightjar.stages.features import Features
from nightjar.stages.precompute import Precompute
from nightjar.stages.train import Train
from nightjar_reader import Reader
from training import models as training

pytestmark = pytest.mark.spark

FIRST, DAY, NEXT = dt.date(2017, 6, 25), dt.date(2017, 8, 14), dt.date(2017, 8, 15)
HISTORY = DAY - dt.timedelta(days=1)
HOUSEHOLDS = 500
STAGES = ("ingest", "features", "train", "precompute")
SMALL = {
    "first_day": FIRST,
    "min_rows": 20,
    "snapshots": 1,
    "trees": [10],
    "recall_floor": 0.5,
}


@pytest.fixture(scope="module")
def settings_in(demo_toml):
    """Settings of the slice with its home in a folder."""

    def make(folder):
        toml = demo_toml(folder, **SMALL)
        return Settings(home=folder / "home", dataset=str(toml), spark_master="local[2]", threads=2)

    return make


@pytest.fixture(scope="module")
def here(submit_here):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "submit", submit_here)
        patch.setattr(night, "Host", lambda settings: nullcontext(SimpleNamespace(start=night.start_here)))
        yield


@pytest.fixture(scope="module")
def clean(tmp_path_factory, here, settings_in):
    """A lake with a history and the night of `DAY`."""
    settings = settings_in(tmp_path_factory.mktemp("clean"))
    land(settings, FIRST, NEXT, households=HOUSEHOLDS)
    night.run_bootstrap(FIRST, HISTORY, settings)
    night.run(DAY, settings)
    return settings


def _records(settings):
    return Records(open_storage(settings.lake))


def _sequences(settings, day):
    return [_records(settings).latest(stage, day) for stage in STAGES]


def _copy(settings, folder):
    """The lake and its releases, to be changed."""
    shutil.copytree(settings.home, folder / "home")
    return settings.model_copy(
        update={"home": folder / "home"}
        | {
            name: getattr(settings, name).replace(str(settings.home), str(folder / "home"))
            for name in ("lake", "raw", "releases", "mlflow_uri")
        }
    )


def _damage(settings, day):
    """Add a null household, a NaN amount, a stamp of the next day, and an exact copy to a raw day."""
    path = open_storage(settings.raw).local(f"transactions/{day}.parquet")
    rows = pq.read_table(path).to_pylist()
    stamp = rows[0]["transaction_timestamp"]
    bad = [
        rows[0] | {"household_id": None},
        rows[0] | {"sales_value": float("nan")},
        rows[0] | {"household_id": None, "transaction_timestamp": stamp + dt.timedelta(days=1)},
        rows[0],
    ]
    schema = pq.read_schema(path)
    path.unlink()
    pq.write_table(pa.Table.from_pylist(rows + bad, schema), path)
    return len(rows)


def test_a_night_publishes_lists_by_the_ranker(clean):
    reader = Reader(clean.releases)
    assert reader.manifest.as_of == str(DAY)
    assert reader.manifest.bundle.outcome == "promoted"
    assert len(reader.for_user(next(reader.users())).items) == 50


def test_a_night_whose_catalogue_has_ids_alone_ships_lists_by_the_ranker(tmp_path, here, settings_in):
    """Names, categories and subcategories are null then, and nothing warns of that."""
    settings = settings_in(tmp_path)
    toml = Path(settings.dataset)
    head, _, rest = toml.read_text(encoding="utf-8").partition("[catalogue.columns]\n")
    line, _, after = rest.partition("\n\n")
    ids_alone = line.partition("\n")[0]
    toml.write_text(f"{head}[catalogue.columns]\n{ids_alone}\n\n{after}", encoding="utf-8")
    land(settings, FIRST, DAY, households=HOUSEHOLDS)
    night.run_bootstrap(FIRST, HISTORY, settings)
    night.run(DAY, settings)
    reader = Reader(settings.releases)
    assert reader.manifest.bundle.outcome == "promoted"
    items = reader.for_user(next(reader.users())).items
    assert len(items) == 50
    assert {(item.name, item.category) for item in reader.catalogue(items).values()} == {(None, None)}
    record = _records(settings).current("features", DAY)
    rows = {name: sum(file.rows for file in table.files) for name, table in record.tables.items()}
    assert rows["user_category_features"] == 0
    assert rows["user_item_features"] > 0


def _digests(manifest):
    """Of each kind of file of a release the digest of all of them."""
    kinds = defaultdict(dict)
    for path, file in manifest.files.items():
        kinds[path.partition("/")[0]][path] = file.sha256
    return {
        kind: sha256(json.dumps(files).encode()).hexdigest()[:16] for kind, files in sorted(kinds.items())
    }


def test_the_night_has_the_bytes_that_every_machine_gives(clean):
    """Other kernels, builds and logarithms gave others. Put what is shown here where a change is meant.

    Python's version chooses that of XGBoost, which has a part in the bytes.
    """
    reader = Reader(clean.releases)
    found = {"release": reader.release_id} | _digests(reader.manifest)
    known = json.loads(Path(__file__).with_name("digests.json").read_text())
    assert found == known.get(f"xgboost {metadata.version('xgboost-cpu')}"), json.dumps(found, indent=1)


@pytest.mark.parametrize(
    ("lost", "error"), [(2, StorageUnavailable), (3, StorageUnavailable), (2, ClusterUnavailable)]
)
def test_a_job_that_loses_storage_or_cluster_is_run_again_twice(
    clean, tmp_path, monkeypatch, submit_here, lost, error
):
    attempts = []

    def submit(job, attempt, settings, start=None):
        attempts.append(attempt)
        if len(attempts) <= lost:
            raise error("lost")
        submit_here(job, attempt, settings)

    monkeypatch.setattr(runner, "submit", submit)
    settings = _copy(clean, tmp_path)
    with pytest.raises(StorageUnavailable) if lost == 3 else nullcontext():
        night.run_stage(StageName.INGEST, NEXT, settings)
    assert len(set(attempts)) == len(attempts) == 3
    assert _records(settings).latest("ingest", NEXT) == (0 if lost == 3 else 1)


def test_lists_that_lose_the_storage_are_made_again(clean, tmp_path, monkeypatch):
    """The commands made each other stage again, and gave up here."""
    tries = []

    def run(lake, stage, attempt, settings, start):
        tries.append(attempt)
        if len(tries) == 1:
            raise StorageUnavailable("lost")
        attempts.work(lake, stage, attempt)

    monkeypatch.setattr(runner, "run", run)
    night.run_precompute(DAY, _copy(clean, tmp_path))
    assert len(set(tries)) == 2


@pytest.mark.parametrize(("master", "is_hosted"), [("local[2]", True), ("spark://127.0.0.1:7077", False)])
def test_jobs_of_a_night_share_a_spark_on_one_machine_alone(tmp_path, monkeypatch, master, is_hosted):
    hosts = []

    def host(settings):
        hosts.append(SimpleNamespace(start=len))
        return nullcontext(hosts[0])

    monkeypatch.setattr(night, "Host", host)
    with night._spark(Settings(home=tmp_path, spark_master=master)) as start:
        assert start is (len if is_hosted else night.start_here)
    assert len(hosts) == is_hosted


def test_the_night_again_makes_no_record_and_the_same_release(clean):
    before, current = _sequences(clean, DAY), Reader(clean.releases).entry
    night.run(DAY, clean)
    assert _sequences(clean, DAY) == before == [1, 1, 1, 1]
    assert Reader(clean.releases).entry == current


def test_a_new_lake_loaded_in_two_passes_with_bad_rows_in_the_day_gives_the_same_release(
    clean, tmp_path, here, settings_in
):
    other = settings_in(tmp_path)
    land(other, FIRST, DAY, households=HOUSEHOLDS)
    good = _damage(other, DAY)
    half = FIRST + dt.timedelta(days=10)
    night.run_bootstrap(FIRST, half, other)
    night.run_bootstrap(half + dt.timedelta(days=1), HISTORY, other)
    night.run(DAY, other)
    counts = _records(other).current("ingest", DAY).counts
    assert (counts["read"], counts["clean"], counts["bad"], counts["duplicate"]) == (good + 4, good, 3, 1)
    assert Reader(other.releases).release_id == Reader(clean.releases).release_id


def test_a_failed_training_ships_lists_by_the_decision_before_and_ends_with_the_error(
    clean, tmp_path, monkeypatch, here
):
    settings = _copy(clean, tmp_path)
    monkeypatch.setattr(training.ranker, "train", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError):
        night.run(NEXT, settings)
    reader, record = Reader(settings.releases), _records(settings).current("train", NEXT)
    assert record.outcome == "failed"
    assert record.details["failure"] == {"stage": "train", "error": "MemoryError"}
    assert (reader.manifest.as_of, reader.manifest.bundle.as_of) == (str(NEXT), str(DAY))
    assert _records(settings).is_decided(NEXT, 1)


def test_lists_that_fail_their_checks_are_not_published(clean, tmp_path, monkeypatch):
    settings = _copy(clean, tmp_path)
    attempt = attempts.begin(Lake.open(settings), Precompute(2), [DAY])
    attempts.work(Lake.open(settings), Precompute(), attempt)
    path = open_storage(settings.lake).local(layout.result(attempt))
    path.write_text(path.read_text().replace('"passed": true', '"passed": false'))
    before = Reader(settings.releases).entry
    with pytest.raises(GateFailed, match="every_user_has_a_list"):
        precompute.commit_and_publish(attempt, Lake.open(settings))
    assert Reader(settings.releases).entry == before


def test_a_changed_raw_day_makes_the_stages_stale_one_after_the_other(clean, tmp_path, here):
    settings = _copy(clean, tmp_path)
    path = open_storage(settings.raw).local(f"transactions/{DAY}.parquet")
    rows = pq.read_table(path)
    path.unlink()
    pq.write_table(rows.slice(5), path)
    night.run_stage(StageName.INGEST, DAY, settings)

    def fresh():
        lake = Lake.open(settings)
        return [stage.is_fresh(lake, DAY) for stage in (Features(), Train(), Precompute())]

    assert fresh() == [False, True, True]
    night.run_stage(StageName.FEATURES, DAY, settings)
    assert fresh() == [True, False, False]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no file"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "footer"),
        (lambda path: pq.write_table(pq.read_table(path).drop_columns("product_id"), path), "product_id"),
    ],
    ids=["missing", "empty", "cut", "column"],
)
def test_a_faulty_file_fails_ingest_with_a_message_and_readers_keep_the_release(
    clean, tmp_path, monkeypatch, damage, message
):
    settings = _copy(clean, tmp_path)
    path = open_storage(settings.raw).local(f"transactions/{NEXT}.parquet")
    damage(path)
    for name in ("home", "dataset", "lake", "raw", "releases"):
        monkeypatch.setenv(f"NIGHTJAR_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setattr(cli, "show_progress_log", lambda: None)
    done = CliRunner().invoke(cli.app, ["run", "ingest", "--partition", str(NEXT)])
    shown = " ".join(done.output.split())
    assert done.exit_code == 1
    assert path.name in shown
    assert "expected" in shown
    assert message in shown
    assert Reader(settings.releases).manifest.as_of == str(DAY)
    assert _sequences(settings, NEXT) == [0, 0, 0, 0]
