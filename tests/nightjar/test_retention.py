"""What maintenance removes, and above all what it leaves."""

import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import layout, messages
from lake.caches import ContentCache
from lake.ledger import Ledger
from lake.plan import Plan
from lake.records import Draft, Record, TableContent, TableFile
from nightjar import retention
from nightjar_reader import format as fmt
from precompute.build import PrecomputeResult

DAY = dt.date(2024, 6, 30)
ONE = dt.timedelta(1)
KINDS = ("ranking_set", "retrieval", "another")
NOON = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
REACH = {"ranking_set": 35, "retrieval": 35, "another": 1}
"""How many days before its own a night takes things of: five label windows of a week, or one day."""


@pytest.fixture(scope="module")
def lakes(tmp_path_factory, tiny_with):
    """A function: an empty lake each time."""
    return lambda: tiny_with(tmp_path_factory.mktemp("lake")).lake


def record(lake, stage, day, attempt, files=(), written_at=NOON):
    """Append a record as it was written at some time."""
    content = (
        {"interactions": TableContent(tuple(TableFile(f, 1, 1) for f in files), 1, "d")} if files else {}
    )
    draft = Draft(stage, f"{day}", attempt, "committed", 1, "c", tables=content)
    sequence = lake.records.latest(stage, day) + 1
    made = Record(**vars(draft), sequence=sequence, written_at=written_at.isoformat())
    entry = json.loads(json.dumps(vars(made), default=vars)) | {"fingerprint": made.fingerprint}
    assert Ledger(lake.storage, layout.records(stage, day)).append(sequence, entry)


def night(lake, day, ended=True):
    number = lake.records.open_night(day)
    if ended:
        lake.records.mark_decided(day, number)


def keep(lake, kind, day, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    ContentCache(lake.storage, kind, day).keep({"day": f"{day}"}, {"file": file})


def cached(lake):
    """What is kept, by kind and as the number of days before `DAY`."""
    places = {tuple(path.split("/")[1:3]) for path in lake.storage.list(layout.CACHES)}
    return {(kind, (DAY - dt.date.fromisoformat(day)).days) for kind, day in places}


backs = st.sets(st.integers(0, 80), max_size=8)


@settings(max_examples=30, deadline=None)
@given(
    kept=st.sets(st.tuples(st.sampled_from(KINDS), st.integers(-1, 120)), max_size=30),
    nights=st.integers(0, 20),
    begun=backs,
    decided=backs,
)
def test_a_cache_stays_while_a_night_that_runs_or_may_run_again_can_take_it(
    lakes, tmp_path_factory, kept, nights, begun, decided
):
    lake, place = lakes(), tmp_path_factory.mktemp("made")
    record(lake, "features", DAY, layout.new_attempt())
    for kind, back in kept:
        keep(lake, kind, DAY - back * ONE, place)
    for back in begun:
        night(lake, DAY - back * ONE, ended=False)
    for back in decided:
        night(lake, DAY - back * ONE)
    running = begun - decided
    retention.clean(lake, nights=nights)
    furthest = max([nights, *running])
    assert cached(lake) == {(kind, back) for kind, back in kept if back <= furthest + REACH[kind]}
    assert retention.find(lake, nights=nights) == []


def test_a_lake_without_features_keeps_its_caches(lakes, tmp_path):
    lake = lakes()
    keep(lake, "retrieval", DAY, tmp_path)
    assert retention.clean(lake, nights=0) == {}


def attempt(lake, days_before, stage="ingest", made=None, folders=()):
    """An attempt that began so many days before noon, with a file in each of some folders."""
    name = layout.new_attempt()
    if days_before is not None:
        lake.storage.put_new(layout.begun(name), (NOON - days_before * ONE).isoformat().encode())
    messages.write(
        lake.storage,
        layout.plan(name),
        Plan(stage=stage, attempt=name, version=1, sections={}, based_on={DAY: 0}),
    )
    if made:
        messages.write(lake.storage, layout.result(name), made)
    for folder in folders:
        lake.storage.put_new(f"{layout.staged(folder, name)}/landed={DAY}/part.parquet", b"rows")
    return name


def there(lake, name):
    return [path for path in lake.storage.list("") if name in path]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["attempt", "file", "refused", ""]), st.none() | st.integers(0, 30)),
        max_size=8,
    ),
    st.integers(1, 20),
)
def test_an_attempt_goes_only_when_nothing_names_it_and_it_began_long_ago(lakes, many, days):
    lake, before = lakes(), {}
    record(lake, "train", DAY, layout.new_attempt())
    for at, (named_by, age) in enumerate(many):
        name = attempt(lake, age, folders=["interactions", "quarantine"])
        before[name] = there(lake, name), bool(named_by) or age is None or age <= days
        if named_by == "refused":
            Ledger(lake.storage, layout.refused(DAY)).append(at + 1, {"attempt": name})
        if named_by in ("attempt", "file"):
            by = name if named_by == "attempt" else layout.new_attempt()
            record(lake, "ingest", DAY - at * ONE, by, [f"interactions/{name}/landed={DAY}/part.parquet"])
    retention.clean(lake, days=days)
    for name, (paths, stays) in before.items():
        assert there(lake, name) == (paths if stays else [])
    assert retention.find(lake, days=days) == []


def test_a_removal_that_is_cut_is_ended_by_the_next(lakes, monkeypatch, tmp_path):
    """Whatever it is cut off from: nothing that is named is gone, and the next removes the rest."""
    lake = lakes()
    record(lake, "features", DAY, layout.new_attempt())
    for back in (60, 70):
        keep(lake, "retrieval", DAY - back * ONE, tmp_path)
    names = [attempt(lake, 20, folders=["interactions", "quarantine"]) for _ in range(2)]
    left = [len(retention.find(lake))]
    real = type(lake.storage).remove
    with monkeypatch.context() as patch:
        while left[-1]:
            done = []

            def once(storage, folder, done=done):
                if done:
                    raise KeyboardInterrupt
                done.append(folder)
                real(storage, folder)

            patch.setattr(type(lake.storage), "remove", once)
            with pytest.raises(KeyboardInterrupt) if left[-1] > 1 else patch.context():
                retention.clean(lake)
            left.append(len(retention.find(lake)))
    assert left == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert cached(lake) == set()
    assert [there(lake, name) for name in names] == [[], []]


def built(text):
    """What an attempt of precompute tells of a release with one file."""
    entry = fmt.FileEntry(len(text), fmt.sha256(text))
    manifest = fmt.Manifest(f"{DAY}", "c", None, None, {}, (), {}, {}, (), None, (), {fmt.POPULAR: entry})
    return PrecomputeResult(fmt.canonical(manifest).decode(), {}, ())


@pytest.mark.parametrize(
    ("age", "has_manifest", "again", "goes"),
    [
        (20, False, None, True),
        (20, True, None, False),
        (5, False, None, False),
        (20, False, 5, False),
        (20, False, 19, True),
    ],
    ids=["refused long ago", "a release", "may be published", "built again", "both long ago"],
)
def test_files_among_the_releases_go_with_the_attempt_that_never_made_a_release(
    lakes, age, has_manifest, again, goes
):
    lake, made = lakes(), built(b"x")
    record(lake, "features", DAY, layout.new_attempt())
    attempt(lake, age, "precompute", made)
    if again is not None:
        attempt(lake, again, "precompute", made)
    lake.releases.put_new(fmt.release_path(made.release_id, fmt.POPULAR), b"x")
    if has_manifest:
        lake.releases.put_new(fmt.manifest_path(made.release_id), made.manifest.encode())
    before = lake.releases.list("")
    retention.clean(lake)
    assert lake.releases.list("") == ([] if goes else before)


@pytest.mark.parametrize(
    ("copy", "what"),
    [
        (lambda name: layout.copied(name, "day.csv"), "copies of raw files"),
        (
            lambda name: layout.made_for(name, fmt.lists_path(3)),
            "lists that a cluster made, which the release has",
        ),
    ],
    ids=["raw files", "lists"],
)
def test_copies_for_a_job_go_once_its_work_is_committed(lakes, copy, what):
    lake = lakes()
    names = [attempt(lake, 0), attempt(lake, 0)]
    for name in names:
        lake.storage.put_new(copy(name), b"rows")
    record(lake, "ingest", DAY, names[0])
    told = retention.clean(lake, is_dry=True)
    assert told == {what: [1, 1, 4]}
    assert len(there(lake, names[0])) == 3
    assert retention.clean(lake) == told
    assert there(lake, names[0]) == [layout.begun(names[0]), layout.plan(names[0])]
    assert len(there(lake, names[1])) == 3
