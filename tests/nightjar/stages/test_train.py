import datetime as dt
import hashlib
import re
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import decisions, layout, messages
from lake.dataset import CONFIG_DIR, read_dataset
from lake.decisions import Failure
from lake.errors import Conflict, JobFailed, PermanentError
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.partitions import days
from lake.records import Draft, Input, Record, Records, TableContent, TableFile
from lake.schemas import TABLES, arrow_schema
from lake.settings import Settings
from lake.storage import LocalStorage
from nightjar import retention
from nightjar.stages import attempt as attempts
from nightjar.stages import decision
from nightjar.stages.features import Features
from nightjar.stages.ingest import Ingest
from nightjar.stages.train import Train
from recommender import bundle, retrieval
from training import registry, sets
from training.models import TrainResult, challenger

DAY = dt.date(2017, 3, 12)
FIRST = DAY - dt.timedelta(days=40)
WEEK = dt.timedelta(days=7)
USERS, ITEMS, STAPLES, FAVOURITES = 60, 100, 40, 6
SMALL = {
    "first_day = 2017-01-01": f"first_day = {FIRST}",
    "factors = 64": "factors = 4",
    "iterations = 10": "iterations = 2",
    "rounds = 120": "rounds = 20",
    "min_child_weight = 20.0": "min_child_weight = 2.0",
    "min_users = 100": "min_users = 10",
    "draws = 1000": "draws = 100",
}

Events = list[tuple[int, int, dt.date]]


def habits(seed: int = 0) -> Events:
    """On half of all days everybody buys one of six staples, and two things wanted only this week.

    How often somebody bought a thing misleads about the latter; `rebuy` tells them apart.
    """
    rng = np.random.default_rng(seed)
    staples = rng.permuted(np.tile(np.arange(STAPLES), (USERS, 1)), axis=1)[:, :FAVOURITES]
    found = []
    for day in days(FIRST, DAY):
        if (DAY - day).days % 7 == 6:
            wanted = rng.integers(STAPLES, ITEMS, (USERS, 2))
        for user in np.flatnonzero(rng.random(USERS) < 0.5):
            bought = [rng.choice(staples[user]), *wanted[user]] if day > FIRST + WEEK else staples[user]
            found += [(int(user), 100 + int(item), day) for item in bought]
    return found


@dataclass
class Small:
    """A lake with events, and the features that training needs of them."""

    settings: Settings
    folder: Path

    @property
    def lake(self) -> Lake:
        """The lake, opened anew as each task does."""
        return Lake.open(self.settings)

    @property
    def records(self) -> Records:
        return Records(LocalStorage(self.folder))

    def put(self, table: str, key: str, rows: pa.Table) -> TableContent:
        content = hashlib.sha256(str(rows.to_pydict()).encode()).hexdigest()
        path = f"{table}/{content[:8]}/{key}/part.parquet"
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, target)
        return TableContent((TableFile(path, target.stat().st_size, len(rows)),), len(rows), content)

    def commit(self, stage: str, day: dt.date, tables: dict, read: tuple = ()) -> Record:
        kind = {"ingest": Ingest, "features": Features}[stage]()
        version, digest = kind.VERSION, kind.config_digest(self.lake)
        draft = Draft(stage, day.isoformat(), "a" * 16, "ok", version, digest, read, tables)
        return self.records.commit(draft, self.records.latest(stage, day))

    def ingest(self, events: Events) -> None:
        for day in days(FIRST, DAY):
            tables = {"interactions": self.put("interactions", f"landed={day}", interactions(events, day))}
            if day == FIRST:
                tables["catalogue"] = self.put("catalogue", f"landed={day}", catalogue())
            self.commit("ingest", day, tables)

    def features(self, events: Events, snapshots: list[dt.date]) -> None:
        for day in snapshots:
            read = Features().reads(self.lake, day)
            tables = {name: self.put(name, f"as_of={day}", features(name, events, day)) for name in FEATURES}
            self.commit("features", day, tables, read)


def interactions(events: Events, day: dt.date) -> pa.Table:
    mine = [(user, item) for user, item, when in events if when == day]
    noon = dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC)
    rows = {"user_id": [u for u, _ in mine], "item_id": [i for _, i in mine]}
    rows |= {"event_ts": [noon] * len(mine), "event_type": ["purchase"] * len(mine)}
    return whole("interactions", rows, len(mine))


def catalogue() -> pa.Table:
    items = list(range(100, 100 + ITEMS))
    return whole("catalogue", {"item_id": items, "subcategory": ["all"] * ITEMS}, ITEMS)


def whole(table: str, rows: dict, count: int) -> pa.Table:
    """A table of the lake whose other columns are null."""
    schema = arrow_schema(table, "int64")
    arrays = [pa.array(rows.get(field.name, [None] * count), field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def features(table: str, events: Events, day: dt.date) -> pa.Table:
    """`weight_slow`, `days`, `users` and `rebuy` as they may be; the other features say nothing."""
    seen = sorted({event for event in events if event[2] <= day}, key=lambda event: (event[0], event[1]))
    place = {"user_id": 0, "item_id": 1}
    names = list(TABLES[table].key)
    keys = [tuple(event[place[n]] if n in place else "all" for n in names) for event in seen]
    weight: dict[tuple, float] = {}
    for key, event in zip(keys, seen, strict=True):
        weight[key] = weight.get(key, 0) + 0.5 ** (((day - event[2]).days + 1) / 60)
    rows: dict = {name: [key[at] for key in weight] for at, name in enumerate(names)}
    rows |= {f.name: [1.0] * len(weight) for f in FEATURES[table]} | {"weight_slow": list(weight.values())}
    rows |= {name: [float(keys.count(key)) for key in weight] for name in ("days", "users_medium", "users")}
    rows["rebuy"] = [float(item < 100 + STAPLES) for item in rows.get("item_id", [])]
    return whole(table, rows, len(weight))


def make_lake(home: Path, events: Events, snapshots: int = 5, label_days: int = 7) -> Small:
    home.mkdir(parents=True)
    toml = (CONFIG_DIR / "complete_journey.toml").read_text()
    for old, new in (SMALL | {"label_days = 7": f"label_days = {label_days}"}).items():
        assert old in toml
        toml = toml.replace(old, new)
    (home / "small.toml").write_text(toml)
    chosen = Settings(home=home, dataset=str(home / "small.toml"), threads=2, lake=str(home / "lake"))
    lake = Small(chosen, home / "lake")
    lake.ingest(events)
    lake.features(events, [DAY - dt.timedelta(label_days * back) for back in range(snapshots, -1, -1)])
    return lake


@pytest.fixture(autouse=True)
def without_mlflow(monkeypatch):
    """MLflow has its own tests; here each mirroring is noted."""
    noted: list = []

    def mirror(uri, name, decisions):
        noted.append(decisions())
        return {}

    monkeypatch.setattr("training.registry.mirror", mirror)
    return noted


@pytest.fixture(scope="module")
def trained_home(tmp_path_factory) -> Path:
    """A lake of which the night is trained, not decided."""
    lake = make_lake(tmp_path_factory.mktemp("train") / "home", habits())
    attempt = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), attempt)
    (lake.folder.parent / "attempt").write_text(attempt)
    return lake.folder.parent


@pytest.fixture
def trained(trained_home, tmp_path) -> tuple[Small, str]:
    """A copy of it, and the attempt. Requests name the lake of the first one; only results are read."""
    home = shutil.copytree(trained_home, tmp_path / "home")
    chosen = Settings(home=home, dataset=str(home / "small.toml"), threads=2, lake=str(home / "lake"))
    return Small(chosen, home / "lake"), (home / "attempt").read_text()


def result_of(lake: Small, attempt: str) -> TrainResult:
    return messages.read(LocalStorage(lake.folder), layout.result(attempt), TrainResult)


def test_a_night_is_promoted_and_its_bundle_holds_the_booster(trained, without_mlflow):
    lake, attempt = trained
    record = decision.commit_decision(DAY, attempt, lake.lake)
    assert record.outcome == "promoted", record.details["reasons"]
    found = bundle.load(LocalStorage(lake.folder), record.details["bundle_id"])
    assert found.booster
    assert (found.as_of, found.outcome) == (DAY, "promoted")
    assert record.details["booster_as_of"] == record.details["bundle_as_of"] == DAY.isoformat()
    [[version]] = without_mlflow
    assert version.tags["fingerprint"] == record.fingerprint
    assert (version.bundle_id, version.as_of) == (record.details["bundle_id"], DAY.isoformat())


def test_the_version_in_mlflow_is_noted_beside_the_attempt(trained, monkeypatch):
    lake, attempt = trained
    bundle_id = result_of(lake, attempt).bundle_id
    monkeypatch.setattr("training.registry.mirror", lambda *_: {"another": "1", bundle_id: "2"})
    decision.commit_decision(DAY, attempt, lake.lake)
    found = messages.read(LocalStorage(lake.folder), layout.registered(attempt), registry.Registered)
    assert found == registry.Registered("2")


def test_all_contestants_are_scored(trained):
    lake, attempt = trained
    metrics = decision.commit_decision(DAY, attempt, lake.lake).details["metrics"]
    assert set(metrics) == {"challenger", "popularity", "personal_frequency", "als", "item_item"}
    for found in metrics.values():
        assert set(found) == {"ndcg", "recall", "hit_rate", "map", "novelty", "coverage"}
        assert found["ndcg"]["low"] <= found["ndcg"]["value"] <= found["ndcg"]["high"]


def test_the_inputs_are_those_of_the_records(trained):
    lake, attempt = trained
    record = decision.commit_decision(DAY, attempt, lake.lake)
    assert record.inputs == Train().reads(lake.lake, DAY)
    assert Train().is_fresh(lake.lake, DAY)


def test_deciding_again_makes_no_record(trained):
    lake, attempt = trained
    one, two = (decision.commit_decision(DAY, attempt, lake.lake) for _ in range(2))
    assert one == two
    assert lake.records.latest("train", DAY) == 1


def test_training_again_gives_the_same_bundle_and_result(trained):
    """Without what the first training kept."""
    lake, attempt = trained
    shutil.rmtree(lake.folder / "caches")
    assert result_of(lake, train(lake)) == result_of(lake, attempt)


def train(lake: Small, day: dt.date = DAY) -> str:
    attempt = attempts.begin(lake.lake, Train(1), [day])
    attempts.work(lake.lake, Train(), attempt)
    return attempt


@pytest.fixture
def made(monkeypatch) -> Counter:
    """How often retrieval was fitted, and ranking sets were made."""
    counts: Counter = Counter()

    def counted(module, name):
        real = getattr(module, name)

        def call(*args):
            counts[name] += 1
            return real(*args)

        monkeypatch.setattr(module, name, call)

    counted(retrieval, "fit")
    counted(sets, "build")
    return counts


def test_what_was_made_once_is_not_made_again(trained, made):
    """Every night fitted ALS six times, and made four ranking sets."""
    lake, attempt = trained
    assert result_of(lake, train(lake)) == result_of(lake, attempt)
    assert not made


def test_without_a_cache_a_night_makes_all(trained, made):
    lake, _ = trained
    shutil.rmtree(lake.folder / "caches")
    train(lake)
    assert made == {"fit": 6, "build": 4}


def test_a_week_later_a_night_fits_its_own_retrieval_and_makes_one_ranking_set(tmp_path, made):
    """The night of D made retrieval as of D, which a week later is that of D-7."""
    lake = make_lake(tmp_path / "home", habits())
    train(lake, DAY - WEEK)
    made.clear()
    after = train(lake)
    assert made == {"fit": 1, "build": 1}
    shutil.rmtree(lake.folder / "caches")
    assert result_of(lake, train(lake)) == result_of(lake, after)


@pytest.fixture
def by_spark(trained, submit_here):
    """The trained lake with a data set whose ALS Spark fits, the jobs' attempts, and the stage to run."""
    lake, _ = trained
    toml = Path(lake.settings.dataset).with_name("spark.toml")
    text = Path(lake.settings.dataset).read_text()
    toml.write_text(text.replace("[retrieval]", '[retrieval]\nbackend = "spark"'))
    other, jobs = Small(lake.settings.model_copy(update={"dataset": str(toml)}), lake.folder), []

    def submit(name, attempt):
        assert name == "als"
        jobs.append(attempt)
        submit_here(name, attempt, other.settings)

    return other, jobs, Train(2, submit=submit)


@pytest.mark.spark
def test_a_night_by_spark_fits_all_its_retrievals_there_and_a_later_one_takes_them(by_spark, trained):
    lake, jobs, stage = by_spark
    before = result_of(*trained)
    attempt = attempts.begin(lake.lake, stage, [DAY])
    attempts.work(lake.lake, stage, attempt)
    assert len(jobs) == 6
    made = result_of(lake, attempt)
    assert made.verdict.outcome == "promoted", made.verdict.reasons
    assert made.bundle_id != before.bundle_id
    storage = LocalStorage(lake.folder)
    mine, theirs = (bundle.load(storage, each.bundle_id).retrieval for each in (made, before))
    assert retrieval.known(mine.user_factors).tolist() == retrieval.known(theirs.user_factors).tolist()
    assert retrieval.known(mine.item_factors).tolist() == retrieval.known(theirs.item_factors).tolist()
    again = attempts.begin(lake.lake, stage, [DAY])
    attempts.work(lake.lake, stage, again)
    assert (len(jobs), result_of(lake, again)) == (6, made)
    left = {each.folder for each in retention.find(lake.lake, days=-1)}
    assert {layout.attempt(job) for job in jobs} <= left
    assert retention.find(lake.lake) == []  # the newest record is not old enough


@pytest.mark.spark
def test_the_job_s_error_is_that_of_the_training(by_spark):
    lake, _, stage = by_spark
    failing = replace(stage, submit=Mock(side_effect=JobFailed("OutOfMemoryError: Java heap space")))
    attempt = attempts.begin(lake.lake, failing, [DAY])
    with pytest.raises(JobFailed, match="Java heap space"):
        attempts.work(lake.lake, failing, attempt)
    assert not LocalStorage(lake.folder).exists(layout.result(attempt))


@pytest.mark.spark
def test_a_stage_opened_without_spark_says_so(by_spark):
    lake, _, stage = by_spark
    attempt = attempts.begin(lake.lake, stage, [DAY])
    with pytest.raises(PermanentError, match="job als of attempt .*: this stage was opened without"):
        attempts.work(lake.lake, Train(2), attempt)


def test_maintenance_leaves_what_the_newest_night_takes_until_there_is_a_newer_one(trained, made):
    lake, _ = trained
    sets = lake.folder / "caches" / "ranking_set"
    oldest, *others = sorted(path.name for path in sets.iterdir())
    assert oldest == f"{DAY - 5 * WEEK}"
    assert retention.clean(lake.lake, nights=0) == {}
    train(lake)
    assert not made
    lake.commit("features", DAY + dt.timedelta(1), {})
    assert retention.clean(lake.lake, nights=1) == {}
    retention.clean(lake.lake, nights=0)
    assert sorted(path.name for path in sets.iterdir()) == others


def test_the_retrieval_of_a_night_lies_in_its_bundle_and_only_the_evaluated_one_beside(trained):
    lake, attempt = trained
    held = bundle.load(LocalStorage(lake.folder), result_of(lake, attempt).bundle_id).retrieval
    [evaluated] = (lake.folder / "caches").rglob("item_factors.npy")
    assert not np.array_equal(np.load(evaluated), held.item_factors)


@pytest.mark.parametrize(
    ("old", "new", "fits", "builds"),
    [
        ("iterations = 2", "iterations = 3", 6, 4),
        ("negatives = 60", "negatives = 50", 4, 4),
        ("rounds = 20", "rounds = 21", 0, 0),
        ("min_users = 10", "min_users = 11", 0, 0),
    ],
)
def test_another_setting_makes_anew_what_it_decides(trained, made, old, new, fits, builds):
    lake, _ = trained
    toml = Path(lake.settings.dataset)
    assert old in toml.read_text()
    toml.write_text(toml.read_text().replace(old, new))
    again = result_of(lake, train(lake))
    assert (made["fit"], made["build"]) == (fits, builds)
    shutil.rmtree(lake.folder / "caches")
    assert result_of(lake, train(lake)) == again


def test_a_late_label_makes_the_ranking_sets_anew_that_it_is_in(trained, made):
    lake, _ = trained
    stamped = DAY - 2 * WEEK + dt.timedelta(days=2)  # after the newest snapshot, before the evaluated week
    rows = [interactions(habits(), DAY), interactions([(0, 999, stamped)], stamped)]
    lake.commit("ingest", DAY, {"interactions": lake.put("interactions", "late", pa.concat_tables(rows))})
    lake.features(habits(), [DAY])
    again = result_of(lake, train(lake))
    assert made == {"fit": 1, "build": 1}
    shutil.rmtree(lake.folder / "caches")
    assert result_of(lake, train(lake)) == again


def test_what_a_cache_damaged_is_made_anew(trained, made, caplog):
    lake, attempt = trained
    for path in (lake.folder / "caches" / "ranking_set").rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:-1])
    assert result_of(lake, train(lake)) == result_of(lake, attempt)
    assert made == {"fit": 4, "build": 4}
    assert caplog.text.count("other bytes") == 4


def test_no_booster_has_seen_a_label_of_the_evaluation_week(trained, tmp_path):
    """Other purchases after D-7 change what is judged, not what was learned."""
    lake, attempt = trained
    other = make_lake(tmp_path / "other", [e for e in habits() if e[2] <= DAY - WEEK or e[0] % 2])
    found = attempts.begin(other.lake, Train(2), [DAY])
    attempts.work(other.lake, Train(), found)
    assert trained_by(lake, attempt) == trained_by(other, found)
    assert result_of(lake, attempt).evaluation != result_of(other, found).evaluation


def test_a_booster_follows_the_labels_before_the_evaluation_week(trained, tmp_path):
    """The other side of the leak test: a purchase less on D-7 changes the booster."""
    lake, attempt = trained
    other = make_lake(tmp_path / "other", [e for e in habits() if e[2] != DAY - WEEK or e[0] % 2])
    found = attempts.begin(other.lake, Train(2), [DAY])
    attempts.work(other.lake, Train(), found)
    assert trained_by(lake, attempt) != trained_by(other, found)


@pytest.mark.parametrize("label_days", [1, 2, 14, 20])
def test_snapshots_labels_and_evaluation_are_as_far_apart_as_the_setting_says(tmp_path, label_days):
    """Those of two weeks were cut to one without a word."""
    lake = make_lake(tmp_path / "other", habits(), snapshots=2, label_days=label_days)
    window = dt.timedelta(days=label_days)
    attempt = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), attempt)
    result = result_of(lake, attempt)
    plan = attempts.read_plan(lake.lake, Train(), attempt)
    assert plan.snapshots == [DAY - 2 * window, DAY - window]
    assert result.evaluation.as_of == DAY - window
    assert result.counts["ranking_positives"] > 0
    assert result.verdict.outcome != "untested"


def trained_by(lake: Small, attempt: str) -> bytes:
    return LocalStorage(lake.folder).read(challenger(attempt))


def booster_of(lake: Small, result: TrainResult) -> bytes | None:
    return bundle.load(LocalStorage(lake.folder), result.bundle_id).booster


def test_a_failed_training_is_a_decision_too(trained, without_mlflow):
    lake, attempt = trained
    number = lake.records.open_night(DAY)
    record = decision.commit_decision(
        DAY, attempt, lake.lake, failure=Failure("train", "MemoryError"), night=number
    )
    assert record.outcome == "failed"
    assert record.details["failure"] == {"stage": "train", "error": "MemoryError"}
    assert Train().is_fresh(lake.lake, DAY)
    assert decisions.serving(lake.records, DAY) is None
    assert lake.records.is_decided(DAY, number)
    assert without_mlflow == []


def test_an_attempt_without_a_result_failed(trained):
    lake, _ = trained
    attempt = attempts.begin(lake.lake, Train(2), [DAY])
    assert "no result" in decision.commit_decision(DAY, attempt, lake.lake).details["failure"]["error"]


def test_the_stage_that_failed_is_named(trained):
    lake, _ = trained
    record = decision.commit_decision(DAY, None, lake.lake, failure=Failure("ingest", "OSError"))
    assert record.details["failure"] == {"stage": "ingest", "error": "OSError"}


def test_an_attempt_works_by_the_settings_of_its_plan(trained):
    """No worker reads the TOML again: on a cluster it has none."""
    lake, attempt = trained
    later = attempts.begin(lake.lake, Train(2), [DAY])
    toml = Path(lake.settings.dataset)
    other = toml.with_name("other.toml")
    other.write_text(toml.read_text().replace("rounds = 20", "rounds = 1"))
    changed = Lake.open(lake.settings.model_copy(update={"dataset": str(other)}))
    attempts.work(changed, Train(), later)
    assert result_of(lake, later) == result_of(lake, attempt)
    assert decision.commit_decision(DAY, later, changed).config_digest == Train().config_digest(lake.lake)
    assert not Train().is_fresh(changed, DAY)


def test_features_of_other_settings_are_not_trained_on(trained):
    """The bundle said that its booster had seen features by the new weights."""
    lake, _ = trained
    toml = Path(lake.settings.dataset)
    other = toml.with_name("other.toml")
    text, changed = re.subn(r"weights = .*", "weights = { purchase = 100.0 }", toml.read_text())
    other.write_text(text)
    settings = lake.settings.model_copy(update={"dataset": str(other)})
    assert changed == 1
    with pytest.raises(PermanentError, match=rf"run `nightjar run features --partition {DAY}` first"):
        attempts.begin(Lake.open(settings), Train(2), [DAY])


def test_after_a_failure_the_night_can_be_trained(trained):
    lake, attempt = trained
    decision.commit_decision(DAY, None, lake.lake, failure=Failure("train", "OSError"))
    with pytest.raises(Conflict, match="another run committed record 1"):
        decision.commit_decision(DAY, attempt, lake.lake)
    again = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), again)
    assert decision.commit_decision(DAY, again, lake.lake).sequence == 2


def test_without_features_there_is_no_decision_but_the_mark(trained):
    lake, _ = trained
    day = DAY + dt.timedelta(days=1)
    number = lake.records.open_night(day)
    with pytest.raises(PermanentError, match="no feature record"):
        attempts.begin(lake.lake, Train(2), [day])
    with pytest.raises(PermanentError, match="no feature record"):
        decision.commit_decision(
            day, None, lake.lake, failure=Failure("train", "PermanentError"), night=number
        )
    assert lake.records.is_decided(day, number)
    assert lake.records.current("train", day) is None


def test_a_capped_ranking_set_is_told_in_the_decision(trained):
    """Large sets ended in the operating system's killing of the process."""
    lake, _ = trained
    toml = Path(lake.settings.dataset)
    capped = toml.with_name("capped.toml")
    capped.write_text(toml.read_text().replace("[training]", "[training]\nmax_users = 20"))
    chosen = lake.settings.model_copy(update={"dataset": str(capped)})
    attempt = attempts.begin(Lake.open(chosen), Train(2), [DAY])
    attempts.work(Lake.open(chosen), Train(), attempt)
    record = decision.commit_decision(DAY, attempt, Lake.open(chosen))
    assert record.counts["ranking_users_taken"] == 4 * 20
    assert record.counts["ranking_users"] > 4 * 20
    [note] = record.details["notes"]
    assert note.startswith(f"the ranker learned from 80 of {record.counts['ranking_users']} users")
    assert "at most 20 a snapshot (training.max_users)" in note
    assert record.counts["evaluated_users"] > 20  # whom lists are for is judged whole


def test_a_set_that_is_not_capped_says_so_by_two_equal_numbers(trained):
    lake, attempt = trained
    result = result_of(lake, attempt)
    assert result.counts["ranking_users"] == result.counts["ranking_users_taken"] > 0
    assert result.notes == ()


def test_days_that_labels_lack_are_told_in_the_decision(trained, caplog):
    """The gate took a label window that lacked days for a whole one, without a word."""
    lake, _ = trained
    lost = [DAY, DAY - WEEK + dt.timedelta(days=1), DAY - WEEK, DAY - 5 * WEEK + dt.timedelta(days=1)]
    before = DAY - 5 * WEEK  # the oldest snapshot: no label is sought in it
    _lack(lake, sorted([*lost, before]))
    attempt = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), attempt)
    result = result_of(lake, attempt)
    assert result.notes == (
        f"the ranker learned by labels without those of {lost[3]}, {lost[2]}: the lake lacks these days",
        f"the models were judged by labels without those of {lost[1]}, {lost[0]}: the lake lacks these days",
    )
    assert all(note in caplog.text for note in result.notes)


def _lack(lake: Small, missing: list[dt.date]) -> None:
    """A feature record of the day that knows of missing days."""
    now = lake.records.current("features", DAY)
    fields = {name: getattr(now, name) for name in Draft.__dataclass_fields__}
    told = Draft(**fields | {"details": {"missing_days": [str(day) for day in missing]}})
    lake.records.commit(told, now.sequence)


@pytest.mark.parametrize(("snapshots", "reason"), [(0, "to train"), (1, "to train")])
def test_too_little_history_is_untested_with_a_bundle(tmp_path, snapshots, reason):
    lake = make_lake(tmp_path / "home", habits(), snapshots)
    attempt = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), attempt)
    record = decision.commit_decision(DAY, attempt, lake.lake)
    assert record.outcome == "untested"
    assert reason in record.details["reasons"][0]
    found = bundle.load(LocalStorage(lake.folder), record.details["bundle_id"])
    assert found.booster is None
    assert len(found.retrieval.users) == USERS


def test_the_gate_is_not_loosened_for_few_users(trained, tmp_path):
    lake, _ = trained
    toml = Path(lake.settings.dataset)
    strict = toml.with_name("strict.toml")
    strict.write_text(toml.read_text().replace("min_users = 10", "min_users = 61"))
    chosen = lake.settings.model_copy(update={"dataset": str(strict)})
    attempt = attempts.begin(Lake.open(chosen), Train(2), [DAY])
    attempts.work(Lake.open(chosen), Train(), attempt)
    record = decision.commit_decision(DAY, attempt, Lake.open(chosen))
    assert record.outcome == "untested"
    assert "61 are needed" in record.details["reasons"][0]
    assert record.details["metrics"]["challenger"]


def champion_record(lake: Small, source: TrainResult) -> None:
    """A promoted decision of the day before, whose booster is that of `source`."""
    details = {"bundle_id": source.bundle_id, "booster_as_of": (DAY - WEEK).isoformat(), "baseline": None}
    day = (DAY - dt.timedelta(days=1)).isoformat()
    read = (Input("user_features", "digest", day, 1),)
    details["metrics"] = {}
    lake.records.commit(Draft("train", day, "b" * 16, "promoted", 1, "c", read, details=details), 0)


def test_the_champion_is_pinned_and_judged(trained):
    lake, attempt = trained
    champion_record(lake, result_of(lake, attempt))
    found = attempts.begin(lake.lake, Train(2), [DAY])
    assert (
        attempts.read_plan(lake.lake, Train(), found).champion.bundle_id == result_of(lake, attempt).bundle_id
    )
    attempts.work(lake.lake, Train(), found)
    result = result_of(lake, found)
    assert result.evaluation.churn == 0
    assert result.evaluation.ndcg("champion") == result.evaluation.ndcg("challenger")
    record = decision.commit_decision(DAY, found, lake.lake)
    assert record.details["champion"]["booster_as_of"] == (DAY - WEEK).isoformat()


def test_a_champion_is_no_part_of_the_fingerprint(trained):
    lake, attempt = trained
    before = decision.commit_decision(DAY, attempt, lake.lake)
    champion_record(lake, result_of(lake, attempt))
    found = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), found)
    after = decision.commit_decision(DAY, found, lake.lake)
    assert after.sequence == 2
    assert after.fingerprint == before.fingerprint


def test_a_kept_decision_ships_the_champions_booster(trained, monkeypatch):
    lake, attempt = trained
    champion_record(lake, result_of(lake, attempt))
    kept = trained_by(lake, attempt)
    monkeypatch.setattr(
        "training.models._fit_ranker", lambda rows, work: constant_booster(next(rows.parts()))
    )
    found = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), found)
    record = decision.commit_decision(DAY, found, lake.lake)
    assert record.outcome == "kept", record.details["reasons"]
    assert booster_of(lake, result_of(lake, found)) == kept
    assert record.details["booster_as_of"] == (DAY - WEEK).isoformat()


def constant_booster(rows) -> bytes:
    """One that tells no items apart."""
    import xgboost

    blank = xgboost.DMatrix(np.zeros_like(rows.features), label=rows.labels)
    return bytes(xgboost.train({"objective": "binary:logistic"}, blank, 1).save_raw("ubj"))


def test_a_champion_of_other_features_is_left_out(trained, monkeypatch):
    lake, attempt = trained
    champion_record(lake, result_of(lake, attempt))
    monkeypatch.setattr("recommender.bundle.mismatch", lambda bundle, origin: "another features version")
    found = attempts.begin(lake.lake, Train(2), [DAY])
    attempts.work(lake.lake, Train(), found)
    result = result_of(lake, found)
    assert "champion" not in result.evaluation.scores
    assert result.notes == ("another features version",)


def test_where_repeats_are_not_recommended_own_history_is_no_baseline(trained):
    lake, _ = trained
    toml = Path(lake.settings.dataset)
    once = toml.with_name("once.toml")
    once.write_text(toml.read_text().replace("repeats = true ", "repeats = false "))
    chosen = lake.settings.model_copy(update={"dataset": str(once)})
    assert not read_dataset(chosen.dataset).repeats
    attempt = attempts.begin(Lake.open(chosen), Train(2), [DAY])
    attempts.work(Lake.open(chosen), Train(), attempt)
    assert "personal_frequency" not in result_of(lake, attempt).evaluation.scores
