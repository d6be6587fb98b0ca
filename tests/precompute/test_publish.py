"""The ledger: what becomes current, whatever comes in whatever order."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import PermanentError
from lake.ledger import Ledger
from lake.storage import LocalStorage
from nightjar_reader import format as fmt
from precompute import publish as publishing
from precompute.publish import Candidate


def a_release(storage, day, text="x"):
    """Put a small release of a day; the text makes its content."""
    file = text.encode()
    entry = fmt.FileEntry(len(file), fmt.sha256(file))
    manifest = fmt.canonical(
        fmt.Manifest(day, "c", None, None, {}, (), {}, {}, (), None, (), {fmt.POPULAR: entry})
    )
    release_id = fmt.release_id(manifest)
    storage.put_new(fmt.release_path(release_id, fmt.POPULAR), file)
    storage.put_new(fmt.manifest_path(release_id), manifest)
    return Candidate(release_id, fmt.sha256(manifest), day)


def publish(storage, release, **options):
    return publishing.make_current(storage, lambda: release, "someone", "nightly", **options)


def current(storage, whole=True):
    history = publishing.entries(storage, whole=whole)
    return tuple(release.release_id for release in publishing.current(history))


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


@pytest.fixture
def days(storage):
    return [a_release(storage, f"2017-09-{day}") for day in (28, 29, 30)]


def test_the_first_release_is_entry_1(storage, days):
    assert publish(storage, days[0]) == publishing.Publication(days[0].release_id, 1, "published")
    (entry,) = publishing.entries(storage)
    assert (entry.sequence, entry.kind, entry.as_of, entry.actor) == (1, "publish", "2017-09-28", "someone")
    assert entry.releases == (fmt.LedgerRelease(days[0].release_id, days[0].manifest_sha256, 1),)
    assert storage.list(fmt.LEDGER) == ["ledger/000000000001.json"]


def test_what_is_current_appends_nothing(storage, days):
    publish(storage, days[0])
    assert publish(storage, days[0]) == publishing.Publication(days[0].release_id, 1, "current")
    assert len(publishing.entries(storage)) == 1


def test_an_older_day_is_kept_and_can_be_forced(storage, days):
    publish(storage, days[2])
    assert publish(storage, days[1]) == publishing.Publication(days[1].release_id, None, "kept")
    assert current(storage) == (days[2].release_id,)
    assert publish(storage, days[1], force=True).state == "published"
    assert current(storage) == (days[1].release_id,)


def test_an_older_day_than_one_that_was_rolled_back_from_is_kept(storage, days):
    publish(storage, days[0])
    publish(storage, days[2])
    publishing.rollback(storage, days[0].release_id, "bad prices", "someone")
    assert publish(storage, days[1]).state == "kept"


def test_another_release_of_the_newest_day_is_published(storage, days):
    publish(storage, days[2])
    again = a_release(storage, "2017-09-30", "y")
    assert publish(storage, again).sequence == 2


def test_a_release_that_was_rolled_back_from_stays_away(storage, days):
    publish(storage, days[1])
    publish(storage, days[2])
    done = publishing.rollback(storage, days[1].release_id, "bad prices", "someone")
    assert (done.sequence, current(storage)) == (3, (days[1].release_id,))
    assert publish(storage, days[2]) == publishing.Publication(days[2].release_id, None, "withdrawn")
    assert publish(storage, a_release(storage, "2017-10-01")).state == "published"


def test_a_person_can_bring_a_withdrawn_release_back(storage, days):
    publish(storage, days[1])
    publish(storage, days[2])
    publishing.rollback(storage, days[1].release_id, "bad prices", "someone")
    publishing.rollback(storage, days[2].release_id, "they were right", "someone")
    assert current(storage) == (days[2].release_id,)
    assert publish(storage, days[2]).state == "current"


def test_rolling_back_to_what_is_current_appends_nothing(storage, days):
    publish(storage, days[0])
    assert publishing.rollback(storage, days[0].release_id, "why not", "someone").state == "current"
    assert len(publishing.entries(storage)) == 1


def test_a_rollback_needs_a_reason_and_a_whole_release(storage, days):
    with pytest.raises(PermanentError, match="needs a reason"):
        publishing.rollback(storage, days[0].release_id, " ", "someone")
    with pytest.raises(PermanentError, match="no whole release '2017-01-01-000000000000'"):
        publishing.rollback(storage, "2017-01-01-000000000000", "why not", "someone")
    with pytest.raises(PermanentError, match="no whole release '../2017'"):
        publishing.rollback(storage, "../2017", "why not", "someone")


DAMAGES = {
    "gone": (Path.unlink, "expected a file, found none"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "expected 7 bytes, found 6"),
    "one byte": (lambda path: path.write_bytes(b"content"[::-1]), "expected sha256 ed7002b4.*, found "),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("move", ["rollback", "publish", "split"])
def test_a_damaged_release_is_not_made_current(storage, days, move, damage):
    """Once a rollback to a release with a cut file was published."""
    publish(storage, days[0])
    release = a_release(storage, "2017-09-30", "content")
    spoil, message = DAMAGES[damage]
    spoil(storage.local(fmt.release_path(release.release_id, fmt.POPULAR)))
    moves = {
        "rollback": lambda: publishing.rollback(storage, release.release_id, "why not", "someone"),
        "publish": lambda: publish(storage, release),
        "split": lambda: publishing.split(storage, {release.release_id: 1}, EXPERIMENT, "why not", "someone"),
    }
    with pytest.raises(PermanentError, match=f"{release.release_id} is damaged: popular.parquet: {message}"):
        moves[move]()
    assert storage.list(fmt.LEDGER) == ["ledger/000000000001.json"]


def test_strays_change_nothing_for_publishes_and_rollbacks(storage, days):
    """Once they ended every publish and rollback; one with a long number made a rollback say "current"."""
    for stray in (
        "20171001.json",
        "old/000000000099.json",
        "0000000000099.json",
        "000000000000.json",
        "notes",
    ):
        storage.put_new(f"{fmt.LEDGER}/{stray}", b'{"sequence": 99}')
    assert publish(storage, days[0]).sequence == 1
    assert publish(storage, days[1]).sequence == 2
    done = publishing.rollback(storage, days[0].release_id, "bad prices", "someone")
    assert (done.state, done.sequence) == ("published", 3)
    assert current(storage) == (days[0].release_id,)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("move", ["publish", "rollback", "split"])
def test_a_folder_of_the_next_entry_s_name_is_named(storage, days, move):
    """No entry, yet its name was taken: publishes and rollbacks tried for ever."""
    publish(storage, days[0])
    storage.local(fmt.ledger_path(2)).mkdir()
    moves = {
        "rollback": lambda: publishing.rollback(storage, days[1].release_id, "why not", "someone"),
        "publish": lambda: publish(storage, days[1]),
        "split": lambda: publishing.split(storage, {days[1].release_id: 1}, EXPERIMENT, "why not", "someone"),
    }
    with pytest.raises(PermanentError, match="000000000002.json: expected a file or nothing, found a folder"):
        moves[move]()


def test_a_link_to_nothing_is_no_entry(storage, days):
    """It was listed as the newest entry, and reading it raised a raw FileNotFoundError."""
    publish(storage, days[0])
    storage.local(fmt.ledger_path(99)).symlink_to(storage.local("nowhere"))
    assert publish(storage, days[1]).sequence == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_damaged_entry_is_named(storage, days, content):
    publish(storage, days[0])
    storage.put_new(fmt.ledger_path(2), content)
    with pytest.raises(PermanentError, match="000000000002.json: .*changed or is damaged"):
        publish(storage, days[1])


@pytest.fixture
def patchy(storage, days):
    """Three releases published, the middle one's entry damaged; readers follow the newest."""
    for release in days:
        publish(storage, release)
    storage.local(fmt.ledger_path(2)).write_bytes(b"")
    return storage


@pytest.mark.parametrize("move", ["rollback", "publish", "split"])
def test_a_damaged_older_entry_does_not_stop_who_needs_the_newest_alone(patchy, days, move, caplog):
    """Once it stopped every rollback, in an emergency too."""
    moves = {
        "rollback": lambda: publishing.rollback(patchy, days[0].release_id, "bad prices", "someone").sequence,
        "publish": lambda: publish(patchy, days[0], force=True).sequence,
        "split": lambda: publishing.split(patchy, {days[0].release_id: 1}, EXPERIMENT, "why", "someone"),
    }
    assert moves[move]() == 4
    assert current(patchy, whole=False) == (days[0].release_id,)
    assert "000000000002.json" in caplog.records[0].getMessage()
    assert caplog.records[0].levelname == "WARNING"


def test_a_night_is_not_published_over_a_damaged_older_entry(patchy):
    """It may tell of a rollback from that very release; what to do is said now."""
    with pytest.raises(
        PermanentError, match="000000000002.json: .*move readers back.*--force.*rollback goes on"
    ):
        publish(patchy, a_release(patchy, "2017-10-01"))
    assert len(patchy.list(fmt.LEDGER)) == 3


def test_a_damaged_newest_entry_stops_a_rollback(storage, days):
    publish(storage, days[0])
    storage.put_new(fmt.ledger_path(2), b"{")
    with pytest.raises(PermanentError, match="000000000002.json: .*changed or is damaged"):
        publishing.rollback(storage, days[0].release_id, "bad prices", "someone")


def misnamed(release):
    """A digest that begins as the right one does."""
    return replace(release, manifest_sha256=release.manifest_sha256[:12] + "0" * 52)


@pytest.mark.parametrize("force", [False, True])
def test_a_release_is_not_published_by_another_digest_than_its_own(storage, days, force):
    """It was verified by its id, and the entry named the digest that it was given."""
    with pytest.raises(PermanentError, match=f"sha256 .*0000, found {days[0].manifest_sha256}; nothing is"):
        publish(storage, misnamed(days[0]), force=force)
    assert storage.list(fmt.LEDGER) == []


@pytest.mark.parametrize("move", ["publish", "force", "rollback"])
def test_an_entry_of_a_wrong_digest_is_mended_by_the_next(storage, days, move):
    """No reader followed it, and each of these said that the release was current already."""
    publish(storage, days[0])
    release = publishing.entries(storage)[-1].to_json()["releases"][0]
    wrong = {"manifest_sha256": misnamed(days[1]).manifest_sha256, "release_id": days[1].release_id}
    entry = publishing.entries(storage)[-1].to_json() | {"sequence": 2, "as_of": days[1].as_of}
    storage.put_new(fmt.ledger_path(2), json.dumps(entry | {"releases": [release | wrong]}).encode())
    moves = {
        "publish": lambda: publish(storage, days[1]),
        "force": lambda: publish(storage, days[1], force=True),
        "rollback": lambda: publishing.rollback(storage, days[1].release_id, "mend it", "someone"),
    }
    done = moves[move]()
    assert (done.state, done.sequence) == ("published", 3)
    assert publishing.current(publishing.entries(storage))[0].key == days[1].key
    assert publishing.rollback(storage, days[1].release_id, "again", "someone").state == "current"


def refuse(monkeypatch, method, part, error):
    """A disk that does not give the files whose path has this part; permissions do not stop root."""
    whole = getattr(LocalStorage, method)

    def told(self, path):
        if part in path:
            raise OSError(error, os.strerror(error), str(self.local(path)))
        return whole(self, path)

    monkeypatch.setattr(LocalStorage, method, told)


UNREADABLE = [errno.EACCES, errno.EIO]


@pytest.mark.parametrize("error", UNREADABLE)
def test_an_older_entry_that_cannot_be_read_is_as_a_damaged_one(storage, days, monkeypatch, caplog, error):
    """A trace, in a rollback too."""
    for release in days:
        publish(storage, release)
    refuse(monkeypatch, "read", "000000000002.json", error)
    with pytest.raises(
        PermanentError, match="000000000002.json: expected an entry that can be read.*--force"
    ):
        publish(storage, a_release(storage, "2017-10-01"))
    assert publishing.rollback(storage, days[0].release_id, "bad prices", "someone").sequence == 4
    assert "000000000002.json" in caplog.text


@pytest.mark.parametrize("error", UNREADABLE)
@pytest.mark.parametrize(
    ("method", "part", "message"),
    [
        ("read", "000000000001.json", "000000000001.json: expected an entry that can be read, found "),
        ("read", "manifest.json", "has no whole release "),
        (
            "sha256",
            "popular.parquet",
            "is damaged: popular.parquet: expected a file that can be read, found ",
        ),
        (
            "exists",
            "popular.parquet",
            "is damaged: popular.parquet: expected a file that can be read, found ",
        ),
    ],
)
def test_a_rollback_names_what_cannot_be_read(storage, days, monkeypatch, method, part, message, error):
    """A trace."""
    publish(storage, days[0])
    refuse(monkeypatch, method, part, error)
    with pytest.raises(PermanentError, match=message) as raised:
        publishing.rollback(storage, days[1].release_id, "bad prices", "someone")
    assert os.strerror(error) in str(raised.value)


@pytest.mark.parametrize(
    ("method", "part"), [("read", "0001.json"), ("read", "manifest.json"), ("sha256", "popular.parquet")]
)
def test_a_process_without_handles_left_is_no_damage(storage, days, monkeypatch, method, part):
    publish(storage, days[0])
    refuse(monkeypatch, method, part, errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        publishing.rollback(storage, days[1].release_id, "bad prices", "someone")


def test_a_file_in_the_place_of_the_releases_root_is_named(tmp_path):
    """A trace."""
    (tmp_path / "passwd").write_text("root")
    storage = LocalStorage(tmp_path / "passwd")
    with pytest.raises(PermanentError, match="no whole release .*passwd"):
        publishing.rollback(storage, "2017-01-01-000000000000", "why not", "someone")


def test_an_entry_that_readers_would_refuse_is_not_put(storage, days):
    with pytest.raises(
        PermanentError, match="expected reason to be a text, found '.udcff'; nothing is published"
    ):
        publishing.rollback(storage, days[0].release_id, os.fsdecode(b"\xff"), "someone")
    assert storage.list(fmt.LEDGER) == []


def test_an_entry_of_a_later_writer_counts_whatever_its_kind(storage, days):
    publish(storage, days[2])
    approved = publishing.entries(storage)[-1].to_json() | {"kind": "approve", "note": "x"}
    storage.local(fmt.ledger_path(1)).write_text(json.dumps(approved))
    assert publish(storage, days[1]).state == "kept"
    assert publish(storage, a_release(storage, "2017-10-01")).sequence == 2


EXPERIMENT = fmt.Experiment("prices", "größer")


def test_a_split_names_all_its_releases_and_the_experiment(storage, days):
    weights = {days[0].release_id: 1, days[1].release_id: 3}
    assert publishing.split(storage, weights, EXPERIMENT, "try prices", "someone") == 1
    (entry,) = publishing.entries(storage)
    assert [(release.release_id, release.weight) for release in entry.releases] == list(weights.items())
    assert (entry.experiment, entry.as_of, entry.kind) == (EXPERIMENT, "2017-09-29", "publish")


@pytest.mark.parametrize(
    ("weight", "experiment", "field"),
    [(0, EXPERIMENT, "weight"), (float("nan"), EXPERIMENT, "weight"), (1, fmt.Experiment("a", ""), "salt")],
)
def test_a_split_that_no_reader_would_take_is_refused(storage, days, weight, experiment, field):
    with pytest.raises(PermanentError, match=f"{field} to be"):
        publishing.split(storage, {days[0].release_id: weight}, experiment, "why not", "someone")
    assert storage.list(fmt.LEDGER) == []


def test_a_writer_that_was_too_slow_decides_anew(storage, days, monkeypatch):
    append = Ledger.append
    asked = []

    def overtaken(self, sequence, entry):
        monkeypatch.setattr(Ledger, "append", append)
        publish(storage, days[2])
        return append(self, sequence, entry)

    def candidate():
        asked.append(1)
        return days[1]

    monkeypatch.setattr(Ledger, "append", overtaken)
    done = publishing.make_current(storage, candidate, "someone", "nightly")
    assert (done.state, len(asked)) == ("kept", 2)
    assert current(storage) == (days[2].release_id,)


MOVES = st.lists(st.tuples(st.sampled_from(["publish", "rollback"]), st.integers(0, 5)), max_size=25)


@given(MOVES)
@settings(max_examples=60)
def test_publishing_never_moves_readers_back(tmp_path_factory, moves):
    storage = LocalStorage(tmp_path_factory.mktemp("ledger"))
    releases = [a_release(storage, f"2017-09-{28 + at // 2}", f"v{at % 2}") for at in range(6)]
    newest, left = "", set()
    for move, at in moves:
        release, before = releases[at], current(storage)
        if move == "rollback":
            publishing.rollback(storage, release.release_id, "a reason", "someone")
            left = (left | set(before)) - {release.release_id}
            continue
        state = publish(storage, release).state
        if state == "published":
            assert release.as_of >= newest
            assert release.release_id not in left
            newest = release.as_of
        else:
            assert current(storage) == before
    sequences = Ledger(storage, fmt.LEDGER).sequences()
    assert sequences == list(range(1, len(sequences) + 1))
    assert [entry.sequence for entry in publishing.entries(storage)] == sequences


class TestPut:
    @pytest.fixture
    def built(self, tmp_path):
        """A folder with the only file of a release, and its manifest."""
        here = LocalStorage(tmp_path / "scratch")
        release_id = a_release(here, "2017-09-30").release_id
        folder = here.local(fmt.release_path(release_id))
        return folder, (folder / fmt.MANIFEST).read_bytes()

    @pytest.fixture
    def target(self, tmp_path):
        return LocalStorage(tmp_path / "published")

    def test_files_are_no_release_before_their_manifest_is_there(self, built, target):
        folder, manifest = built
        for _ in range(2):
            publishing.put_files(target, folder, manifest)
        with pytest.raises(PermanentError, match="no whole release"):
            publishing.verify(target, fmt.release_id(manifest))
        for _ in range(2):
            publishing.put_manifest(target, manifest)
        assert publishing.verify(target, fmt.release_id(manifest)).manifest_sha256 == fmt.sha256(manifest)
        assert {target.local(path).name for path in target.list("")} == {fmt.POPULAR, fmt.MANIFEST}

    def test_refuses_a_file_with_other_content(self, built, target):
        folder, manifest = built
        target.put_new(fmt.release_path(fmt.release_id(manifest), fmt.POPULAR), b"other")
        with pytest.raises(PermanentError, match="damaged: remove that release's folder"):
            publishing.put_files(target, folder, manifest)

    def test_refuses_another_manifest(self, built, target):
        folder, manifest = built
        publishing.put_files(target, folder, manifest)
        target.put_new(fmt.manifest_path(fmt.release_id(manifest)), b"other")
        with pytest.raises(PermanentError, match="damaged: remove that release's folder"):
            publishing.put_manifest(target, manifest)

    @pytest.mark.parametrize("damage", ["gone", "changed"])
    def test_no_manifest_is_put_beside_files_that_are_not_as_they_were_built(self, built, target, damage):
        folder, manifest = built
        publishing.put_files(target, folder, manifest)
        file = target.local(fmt.release_path(fmt.release_id(manifest), fmt.POPULAR))
        file.unlink() if damage == "gone" else file.write_bytes(b"y")
        with pytest.raises(PermanentError, match="popular.parquet: .*run precompute of 2017-09-30 again"):
            publishing.put_manifest(target, manifest)
        assert not target.exists(fmt.manifest_path(fmt.release_id(manifest)))
