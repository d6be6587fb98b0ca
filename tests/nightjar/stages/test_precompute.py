"""Precompute from records to readers, without Spark: feature tables are put as the features job would."""

import datetime as dt
import json
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from compare_readers import CURRENT, FROZEN, answers
from scipy.sparse import csr_matrix

from lake import layout, messages
from lake.dataset import read_dataset
from lake.decisions import Outcome, Verdict
from lake.errors import Conflict, GateFailed, PermanentError
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.processor import Machine, annoy_library
from lake.records import Draft, Input, Records, TableContent, TableFile
from lake.schemas import TABLES, arrow_schema
from lake.storage import open_storage
from nightjar.stages import attempt as attempts
from nightjar.stages import precompute
from nightjar.stages.precompute import Precompute
from nightjar_reader import format as fmt
from nightjar_reader.reader import Reader
from precompute import lists
from precompute.changes import Changes
from recommender import bundle
from recommender.ids import Ids
from recommender.retrieval import Retrieval
from recommender.view import Origin
from spark_jobs import score
from spark_jobs.buckets import ScoreResult, Task
from training.models import TrainResult
from training.registry import Registered
from validation.gate import CRITICAL, Check

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 4, 5)]
USERS, ITEMS = list(range(100, 112)), list(range(1000, 1015))
BOUGHT = {
    (user, 1000 + (3 * at + step) % 15): 3.0 - step for at, user in enumerate(USERS) for step in range(3)
}


def features_of(name, rows):
    keys = list(TABLES[name].key)
    columns = {key: [row[0][at] for row in rows] for at, key in enumerate(keys)}
    columns |= {f.name: [float(row[1].get(f.name, 1)) for row in rows] for f in FEATURES[name]}
    return pa.table(columns, schema=arrow_schema(name, "int64"))


def tables_of(bought):
    users, items = sorted({u for u, _ in bought}), sorted({i for _, i in bought})
    return {
        "user_features": features_of("user_features", [((u,), {}) for u in users]),
        "item_features": features_of(
            "item_features", [((i,), {"users_medium": sum(j == i for _, j in bought)}) for i in items]
        ),
        "user_item_features": features_of(
            "user_item_features", [(pair, {"weight_slow": m}) for pair, m in sorted(bought.items())]
        ),
        "user_category_features": features_of("user_category_features", [((u, "kind"), {}) for u in users]),
    }


class Nights:
    """A lake whose nights have features and, where told, a decision."""

    def __init__(self, settings):
        self.settings = settings
        self.storage = open_storage(settings.lake)
        self.releases = open_storage(settings.releases)

    @property
    def records(self):
        return Records(self.storage)

    def put(self, table, day, rows):
        attempt = layout.new_attempt()
        path = f"{layout.partition(table, attempt, day)}/part.parquet"
        local = self.storage.local(path)
        local.parent.mkdir(parents=True)
        pq.write_table(rows, local)
        digest = fmt.sha256(str(rows.to_pydict()).encode())
        return TableContent((TableFile(path, local.stat().st_size, len(rows)),), len(rows), digest)

    def catalogue(self, day, items=ITEMS):
        rows = [{"item_id": i, "name": f"item {i}", "category": "food", "subcategory": "kind"} for i in items]
        content = self.put(
            "catalogue", day, pa.Table.from_pylist(rows, schema=arrow_schema("catalogue", "int64"))
        )
        records = self.records
        draft = Draft(
            "ingest",
            day.isoformat(),
            layout.new_attempt(),
            "committed",
            1,
            "c",
            tables={"catalogue": content},
        )
        return records.commit(draft, records.latest("ingest", day))

    def features(self, day, bought=BOUGHT, catalogue=None, missing=()):
        contents = {name: self.put(name, day, rows) for name, rows in tables_of(bought).items()}
        pins = ()
        if catalogue:
            pins = (
                Input(
                    "catalogue", catalogue.tables["catalogue"].digest, catalogue.partition, catalogue.sequence
                ),
            )
        draft = Draft(
            "features", day.isoformat(), layout.new_attempt(), "committed", 1, "c", pins, contents,
            details={"missing_days": list(missing)},
        )  # fmt: skip
        records = self.records
        return records.commit(draft, records.latest("features", day))

    def decide(self, day, outcome="baseline", seed=0):
        rng = np.random.default_rng(seed)
        known = Retrieval(
            Ids(pa.array(USERS)),
            Ids(pa.array(ITEMS)),
            rng.standard_normal((len(USERS), 4)).astype(np.float32),
            rng.standard_normal((len(ITEMS), 4)).astype(np.float32),
            csr_matrix((len(ITEMS), len(ITEMS)), dtype=np.float32),
            np.ones(len(ITEMS), np.float32),
        )
        baseline = "personal_frequency" if outcome == "baseline" else None
        folder = self.settings.home / f"bundle-{day}-{outcome}-{seed}"
        data = read_dataset(self.settings.dataset)
        made = bundle.write(
            folder,
            as_of=day,
            outcome=outcome,
            retrieval=known,
            data=data,
            features=Origin(1, "c"),
            baseline=baseline,
        )
        bundle.put(self.storage, folder, made)
        details = {
            "bundle_id": made,
            "bundle_as_of": day.isoformat(),
            "baseline": baseline,
            "metrics": {"x": {"ndcg": 0.3}},
        }
        draft = Draft("train", day.isoformat(), layout.new_attempt(), outcome, 1, "c", details=details)
        records = self.records
        return records.commit(draft, records.latest("train", day))

    @property
    def lake(self):
        return Lake.open(self.settings)

    def night(self, day, **options):
        attempt = attempts.begin(self.lake, Precompute(2), [day])
        attempts.work(self.lake, Precompute(), attempt)
        return precompute.commit_and_publish(attempt, self.lake, **options)

    def manifest(self, release_id):
        return fmt.parse(self.releases.read(fmt.manifest_path(release_id)))

    def reader(self):
        return Reader(self.settings.releases)


def released(night):
    """Manifests, provenance and entries of the ledger: all that makes a release of files."""
    return [path for path in night.releases.list("") if path.endswith(".json")]


@pytest.fixture
def made(tiny_with, tmp_path):
    return Nights(tiny_with(tmp_path).settings)


@pytest.fixture
def whole(made):
    """A lake with a catalogue that lacks the last item, features and a decision of the first day."""
    catalogue = made.catalogue(DAYS[0], ITEMS[:-1])
    made.features(DAYS[0], catalogue=catalogue, missing=["2023-12-31"])
    made.decide(DAYS[0])
    return made


def test_a_night_makes_a_release_that_the_reader_serves(whole):
    done = whole.night(DAYS[0])
    assert (done.state, done.sequence) == ("published", 1)
    reader = whole.reader()
    assert sorted(reader.users()) == USERS
    found = reader.for_user(100)
    assert found.items[:3] == (1000, 1001, 1002)
    assert not any(1014 in reader.for_user(user).items for user in USERS)
    assert reader.similar_items(1000).fallback == fmt.FALLBACK_PERSONAL
    assert 1000 not in reader.similar_items(1000).items


@pytest.mark.parametrize("package", FROZEN)
def test_readers_that_are_installed_already_read_it_and_answer_alike(whole, package):
    whole.night(DAYS[0])
    uri = whole.settings.releases
    assert answers(package, uri) == answers(CURRENT, uri)


def test_the_manifest_says_where_the_release_comes_from(whole):
    manifest = whole.manifest(whole.night(DAYS[0]).release_id)
    decision = whole.records.current("train", DAYS[0])
    assert manifest.as_of == "2024-01-01"
    assert manifest.bundle == fmt.BundleReference(decision.details["bundle_id"], "2024-01-01", "baseline")
    assert manifest.baseline == "personal_frequency"
    assert manifest.metrics == {"x": {"ndcg": 0.3}}
    assert manifest.missing_days == ("2023-12-31",)
    assert set(manifest.inputs) == {*FEATURES, "catalogue"}
    assert manifest.index.recall == 1
    assert all(check.passed for check in manifest.checks)
    assert (manifest.counts["users"], manifest.counts["items"], manifest.counts["items_with_factors"]) == (
        12,
        14,
        14,
    )
    assert len([file for file in manifest.files if file.startswith("lists/")]) == 64


def test_a_catalogue_of_wholly_other_ids_publishes_nothing(made):
    """A release went out that had nothing for anybody."""
    made.features(DAYS[0], catalogue=made.catalogue(DAYS[0], range(5000, 5010)))
    with pytest.raises(GateFailed, match="none of 15 items of the events is in the catalogue; every list is"):
        made.night(DAYS[0])
    assert released(made) == []


def test_a_user_who_has_had_every_item_that_anybody_had_gets_an_empty_list(tiny_with, tmp_path):
    """The release was refused for all users. What nobody has had yet is in no list."""
    settings = tiny_with(tmp_path).settings
    toml = Path(settings.dataset)
    toml.write_text("repeats = false\n" + toml.read_text())
    lake = Nights(settings)
    bought = BOUGHT | {(100, item): 1.0 for item in ITEMS}
    lake.features(DAYS[0], bought, catalogue=lake.catalogue(DAYS[0], [*ITEMS, 9999]))
    manifest = lake.manifest(lake.night(DAYS[0]).release_id)
    reader = lake.reader()
    answer = reader.for_user(100)
    assert (answer.items, answer.scores, answer.fallback) == ((), (), fmt.FALLBACK_GLOBAL)
    assert all(len(reader.for_user(user).items) == 12 for user in USERS[1:])
    assert manifest.counts["empty_lists"] == 1
    warned = {check.name for check in manifest.checks if not check.passed}
    assert {"empty_lists_share", "fallback_lists_share"} <= warned
    assert "1 of 12 users (8.33%) get an empty list; expected at most 1.00% of the users" in manifest.warnings


def test_provenance_tells_how_many_users_have_another_top_ten(whole):
    first = whole.night(DAYS[0]).release_id
    whole.features(DAYS[1], BOUGHT | {(100, 1009): 9.0}, catalogue=whole.records.current("ingest", DAYS[0]))
    second = whole.night(DAYS[1]).release_id
    told = [_stories(whole, release)[0]["compared"] for release in (first, second)]
    assert told[0] == {
        "before": None,
        "users": 0,
        "top_ten_changed": 0,
        "reason": "nothing was published before",
    }
    assert told[1]["before"] == first
    assert told[1]["users"] == 12
    assert told[1]["top_ten_changed"] >= 1


def test_a_flipped_bit_in_a_feature_file_publishes_nothing(made, monkeypatch):
    """It published another release of the same inputs, in silence."""
    plain = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    monkeypatch.setattr(f"{__name__}.pq.write_table", partial(pq.write_table, **plain))
    catalogue = made.catalogue(DAYS[0])
    record = made.features(DAYS[0], catalogue=catalogue)
    path = made.storage.local(record.tables["user_item_features"].files[0].path)
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(2)
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 2
    path.write_bytes(content)
    pq.read_table(path)  # no other fault
    with pytest.raises(PermanentError, match="user_item_features/.*CRC.* of 2024-01-01"):
        made.night(DAYS[0])
    assert released(made) == []
    # The same content again keeps the files that are there; so the record goes first, as the error says.
    assert made.features(DAYS[0], catalogue=catalogue) == record
    made.storage.local(f"{layout.records('features', DAYS[0])}/000000000001.json").unlink()
    made.features(DAYS[0], catalogue=catalogue)
    assert made.night(DAYS[0]).state == "published"


def test_every_file_of_a_release_is_in_its_manifest(whole):
    release_id = whole.night(DAYS[0]).release_id
    there = {
        path.removeprefix(fmt.release_path(release_id) + "/")
        for path in whole.releases.list(fmt.release_path(release_id))
    }
    assert there == {fmt.MANIFEST, *whole.manifest(release_id).files}


def test_two_builds_in_two_lakes_give_the_same_release(tiny_with, tmp_path):
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lake = Nights(tiny_with(tmp_path / name).settings)
        lake.features(DAYS[0], catalogue=lake.catalogue(DAYS[0]))
        lake.decide(DAYS[0])
        ids.add(lake.night(DAYS[0]).release_id)
    assert len(ids) == 1


def test_the_night_again_writes_no_record_and_no_entry(whole):
    first = whole.night(DAYS[0])
    again = whole.night(DAYS[0])
    assert (again.release_id, again.state, again.sequence) == (first.release_id, "current", 1)
    assert whole.records.latest("precompute", DAYS[0]) == 1


def test_each_attempt_leaves_its_provenance(whole):
    release_id = whole.night(DAYS[0]).release_id
    whole.night(DAYS[0], actor="airflow")
    folder = f"{fmt.PROVENANCE}/{release_id}"
    stories = [whole.releases.read(path) for path in whole.releases.list(folder)]
    assert len(stories) == 2
    assert any(b'"actor": "airflow"' in story for story in stories)


def test_provenance_names_the_machines_that_trained_and_built(whole):
    decision = whole.records.current("train", DAYS[0])
    trained = TrainResult(Verdict(Outcome.UNTESTED), "", machine=Machine("a processor", ("Haswell",), "f00"))
    messages.write(whole.storage, layout.result(decision.attempt), trained)
    story = _stories(whole, whole.night(DAYS[0]).release_id)[0]
    assert story["machine"]["processor"] in Path("/proc/cpuinfo").read_text()
    assert story["machine"]["blas"] == ["Haswell"]
    assert story["machine"]["annoy"] == sha256(annoy_library().read_bytes()).hexdigest()
    assert story["trained_on"] == {"processor": "a processor", "blas": ["Haswell"], "annoy": "f00"}


def _stories(lake, release_id):
    """What the provenance of a release's attempts says, oldest first."""
    paths = lake.releases.list(f"{fmt.PROVENANCE}/{release_id}")
    told = [json.loads(lake.releases.read(path)) for path in paths]
    return sorted(told, key=lambda story: story["written_at"])


def test_provenance_says_which_version_mlflow_gave_or_that_it_is_behind(whole):
    decision = whole.records.current("train", DAYS[0])
    release_id = whole.night(DAYS[0]).release_id
    assert _stories(whole, release_id)[0]["mlflow"]["state"].startswith("behind")
    messages.write(whole.storage, layout.registered(decision.attempt), Registered("7"))
    whole.night(DAYS[0])
    assert {"state": "registered", "version": "7"} in [s["mlflow"] for s in _stories(whole, release_id)]


def test_without_a_decision_lists_are_made_from_features_alone(made):
    made.features(DAYS[0], catalogue=made.catalogue(DAYS[0]))
    manifest = made.manifest(made.night(DAYS[0]).release_id)
    assert manifest.bundle is None
    assert manifest.index is None
    assert not [f for f in manifest.files if f.startswith("similar/") or f.endswith((".npy", ".ann"))]
    assert made.reader().for_user(100).items[:3] == (1000, 1001, 1002)
    rows = pq.read_table(made.releases.local(fmt.release_path(made.night(DAYS[0]).release_id, "lists")))
    assert rows["code"].null_count == len(USERS)


def test_without_a_catalogue_the_items_are_those_seen(made):
    made.features(DAYS[0])
    release_id = made.night(DAYS[0]).release_id
    rows = pq.read_table(made.releases.local(fmt.release_path(release_id, fmt.ITEMS)))
    assert rows["item_id"].to_pylist() == ITEMS


def test_lists_follow_the_newest_decision_that_did_not_fail(whole):
    whole.features(DAYS[1], BOUGHT | {(200, 1000): 1.0})
    decision = whole.records.current("train", DAYS[0])
    failed = Draft(
        "train", DAYS[1].isoformat(), layout.new_attempt(), "failed", 1, "c", details={"failure": "x"}
    )
    whole.records.commit(failed, 0)
    release_id = whole.night(DAYS[1]).release_id
    assert whole.manifest(release_id).bundle.id == decision.details["bundle_id"]
    assert whole.reader().for_user(200).fallback == fmt.FALLBACK_PERSONAL


def test_a_backfill_does_not_move_readers(whole):
    whole.features(DAYS[1])
    newer = whole.night(DAYS[1])
    older = whole.night(DAYS[0])
    assert older.state == "kept"
    assert whole.manifest(older.release_id).as_of == "2024-01-01"
    assert whole.reader().release_id == newer.release_id


def test_a_rollback_is_followed_and_the_night_after_respects_it(whole):
    first = whole.night(DAYS[0])
    whole.features(DAYS[1])
    whole.night(DAYS[1])
    precompute.publishing.rollback(whole.lake.releases, first.release_id, "bad prices", "someone")
    assert whole.reader().release_id == first.release_id
    assert whole.night(DAYS[1]).state == "withdrawn"
    whole.features(DAYS[2])
    assert whole.night(DAYS[2]).state == "published"


def test_a_late_retry_does_not_bring_a_replaced_release_back(whole):
    attempt = attempts.begin(whole.lake, Precompute(2), [DAYS[0]])
    attempts.work(whole.lake, Precompute(), attempt)
    precompute.commit_and_publish(attempt, whole.lake)
    whole.decide(DAYS[0], seed=1)
    newer = whole.night(DAYS[0])
    late = precompute.commit_and_publish(attempt, whole.lake)
    assert (late.release_id, late.state) == (newer.release_id, "current")
    assert whole.reader().release_id == newer.release_id


def test_who_was_overtaken_by_other_content_commits_nothing(whole):
    attempt = attempts.begin(whole.lake, Precompute(2), [DAYS[0]])
    attempts.work(whole.lake, Precompute(), attempt)
    whole.decide(DAYS[0], seed=1)
    newer = whole.night(DAYS[0])
    with pytest.raises(Conflict, match="clear from the first task"):
        precompute.commit_and_publish(attempt, whole.lake)
    assert whole.reader().release_id == newer.release_id


def test_what_a_killed_publish_left_is_mended_by_the_next(whole, monkeypatch):
    attempt = attempts.begin(whole.lake, Precompute(2), [DAYS[0]])
    attempts.work(whole.lake, Precompute(), attempt)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(precompute.publishing, "make_current", killed)
        with pytest.raises(KeyboardInterrupt):
            precompute.commit_and_publish(attempt, whole.lake)
    assert whole.records.latest("precompute", DAYS[0]) == 1
    assert precompute.commit_and_publish(attempt, whole.lake).sequence == 1


def test_lists_whose_checks_fail_publish_nothing(whole, monkeypatch):
    bad = Check("items_in_catalogue", CRITICAL, False, "3 other items", "only items of the catalogue")
    monkeypatch.setattr(lists, "check", lambda *_: [bad])
    attempt = attempts.begin(whole.lake, Precompute(2), [DAYS[0]])
    attempts.work(whole.lake, Precompute(), attempt)
    with pytest.raises(
        GateFailed, match="items_in_catalogue: expected only items of the catalogue, found 3 other items"
    ):
        precompute.commit_and_publish(attempt, whole.lake)
    assert released(whole) == []
    assert whole.records.latest("precompute", DAYS[0]) == 0
    assert whole.storage.list(layout.REPORTS)


def built(night, day=DAYS[0]):
    """An attempt whose work is done, and the folder of its release."""
    attempt = attempts.begin(night.lake, Precompute(2), [day])
    attempts.work(night.lake, Precompute(), attempt)
    release_id = attempts.read_made(night.lake, Precompute(), attempt).release_id
    return attempt, fmt.release_path(release_id)


def test_a_release_lies_in_one_place(whole):
    attempt, folder = built(whole)
    files = whole.releases.list(folder)
    assert fmt.manifest_path(folder.removeprefix("releases/")) not in files
    assert [path for path in whole.storage.list(layout.attempt(attempt)) if "parquet" in path] == []
    precompute.commit_and_publish(attempt, whole.lake)
    assert whole.releases.list(folder) == sorted([*files, f"{folder}/{fmt.MANIFEST}"])


def test_nobody_can_go_back_to_a_release_that_was_refused(whole):
    _, folder = built(whole)
    with pytest.raises(PermanentError, match="no whole release"):
        precompute.publishing.rollback(whole.releases, folder.removeprefix("releases/"), "a reason", "me")


@pytest.mark.parametrize("committed", [False, True])
def test_a_release_that_lost_a_file_says_what_to_do_and_the_stage_again_mends_it(whole, committed):
    attempt, folder = built(whole)
    if committed:
        precompute.commit_and_publish(attempt, whole.lake)
    lost = whole.releases.local(f"{folder}/{fmt.POPULAR}")
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(PermanentError, match=r"popular.parquet: .*; run precompute of 2024-01-01 again"):
        precompute.commit_and_publish(attempt, whole.lake)
    assert whole.night(DAYS[0]).sequence == 1
    assert lost.read_bytes() == content
    assert precompute.commit_and_publish(attempt, whole.lake).sequence == 1


def test_an_attempt_that_is_lost_says_what_to_do(whole):
    attempt, _ = built(whole)
    whole.storage.local(layout.result(attempt)).unlink()
    with pytest.raises(PermanentError, match="left no result.*run precompute again"):
        precompute.commit_and_publish(attempt, whole.lake)
    whole.storage.local(layout.plan(attempt)).unlink()
    with pytest.raises(PermanentError, match="has no plan.*run precompute again"):
        precompute.commit_and_publish(attempt, whole.lake)


def test_no_features_no_precompute(made):
    with pytest.raises(PermanentError, match="no feature record of that day"):
        attempts.begin(made.lake, Precompute(2), [DAYS[0]])


def test_building_an_attempt_twice_builds_once(whole, monkeypatch):
    attempt = attempts.begin(whole.lake, Precompute(2), [DAYS[0]])
    attempts.work(whole.lake, Precompute(), attempt)
    monkeypatch.setattr("precompute.build._build", None)
    attempts.work(whole.lake, Precompute(), attempt)


def _task_of(lake, attempt):
    return Task(lake.uri, attempt, 1, {})


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_lists_that_spark_made_are_the_same_release(whole, monkeypatch):
    _, expected = built(whole)
    attempt = attempts.begin(whole.lake, Precompute(1), [DAYS[0]])
    plan = attempts.read_plan(whole.lake, Precompute(), attempt)
    messages.write(whole.storage, layout.scored(attempt), score.run(plan))
    monkeypatch.setattr("recommender.userlists.Making.write", None)  # so that they are not made here
    attempts.work(whole.lake, Precompute(), attempt)
    made = attempts.read_made(whole.lake, Precompute(), attempt)
    assert fmt.release_path(made.release_id) == expected


def test_a_task_that_runs_twice_puts_the_same_files(whole):
    attempt = attempts.begin(whole.lake, Precompute(1), [DAYS[0]])
    task = _task_of(whole.lake, attempt)
    first, again = task.write([3, 5]), task.write([5, 3])
    assert first.files == again.files
    assert set(first.files) == {fmt.lists_path(3), fmt.lists_path(5)}
    assert first.totals.made() == again.totals.made()


def test_a_file_of_another_build_in_its_place_is_refused(whole):
    attempt = attempts.begin(whole.lake, Precompute(1), [DAYS[0]])
    whole.storage.put_new(layout.made_for(attempt, fmt.lists_path(0)), b"other")
    with pytest.raises(PermanentError, match="00.parquet is there with other bytes.*run precompute again"):
        _task_of(whole.lake, attempt).write([0])


def test_lists_of_a_cluster_that_are_damaged_are_refused(whole):
    attempt = attempts.begin(whole.lake, Precompute(1), [DAYS[0]])
    part = _task_of(whole.lake, attempt).write(range(whole.lake.data.lists.buckets))
    result = ScoreResult(part.totals.made(), dict(part.files))
    messages.write(whole.storage, layout.scored(attempt), result)
    whole.storage.local(layout.made_for(attempt, fmt.lists_path(1))).write_bytes(b"other")
    with pytest.raises(PermanentError, match="lists/01.parquet: expected .* sha256 .*, found other bytes"):
        attempts.work(whole.lake, Precompute(), attempt)


def test_a_retry_tells_what_the_first_try_compared(whole, monkeypatch):
    """Readers may have moved meanwhile: report and provenance would tell two comparisons."""
    stage, lake = Precompute(2), whole.lake
    attempt = attempts.begin(lake, stage, [DAYS[0]])
    attempts.work(lake, stage, attempt)
    plan, made = attempts.read_plan(lake, stage, attempt), attempts.read_made(lake, stage, attempt)
    first = stage.check(lake, plan, made)
    another = Changes("another release", users=10, top_ten_changed=10)
    monkeypatch.setattr("precompute.changes.compare", lambda *_: another)
    assert stage.check(lake, plan, made) == first
