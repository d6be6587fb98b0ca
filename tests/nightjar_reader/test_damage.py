"""A damaged release is left for the one before it, and taken again when it is mended."""

import errno
import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightjar_reader import (
    EntryUnreadable,
    NoUsableRelease,
    Reader,
    ReaderError,
    ReleaseCorrupt,
    ReleaseUnreadable,
)
from nightjar_reader import format as fmt
from nightjar_reader.files import Files

BUCKET_OF_3 = fmt.lists_path(fmt.bucket(3, 4))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change_one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [cut, change_one_byte, make_folder, Path.unlink]
ASKED: list[tuple[str, Callable[[Reader], Any]]] = [
    (BUCKET_OF_3, lambda reader: reader.for_user(3)),
    (fmt.similar_path(fmt.bucket(500, 4)), lambda reader: reader.similar_items(500)),
    (fmt.POPULAR, lambda reader: reader.popular()),
    (fmt.ITEMS, lambda reader: reader.nearest(item=500)),
    (fmt.USER_FACTORS, lambda reader: reader.nearest(user=3)),
    (fmt.ITEM_FACTORS, lambda reader: reader.nearest(user=3)),
    (fmt.INDEX, lambda reader: reader.nearest(item=500)),
]


@pytest.fixture
def two(build):
    """An old and a new release, both published."""
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    old.append(1)
    new.append(2)
    return old, new


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("file", "ask"), ASKED, ids=[file for file, _ in ASKED])
def test_an_answer_that_meets_damage_comes_from_the_release_before(two, caplog, file, ask, damage) -> None:
    """It raised ReleaseCorrupt for ever for one user in 64."""
    old, new = two
    reader = Reader(new.uri)
    assert reader.release_id == new.release_id
    damage(new.path(file))
    assert ask(reader) == ask(Reader(old.uri, release_id=old.release_id))
    assert ask(reader).release_id == reader.release_id == reader.for_user(6).release_id == old.release_id
    assert reader.entry.sequence == 1
    assert (reader.stats.left, list(reader.stats.damaged)) == (1, [new.release_id])
    assert not reader.refresh()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert new.release_id in warnings[0].getMessage()
    assert file in warnings[0].getMessage()


def other_manifest(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"users":23', b'"users":24'))


@pytest.mark.parametrize("damage", [*DAMAGES, other_manifest])
def test_a_damaged_manifest_at_opening_and_at_refresh(two, damage) -> None:
    old, new = two
    open_before = Reader(new.uri)
    new.append(3, kind="rollback")
    damage(new.path(fmt.MANIFEST))
    assert Reader(new.uri).release_id == old.release_id
    assert not (reader := Reader(new.uri)).refresh()
    assert reader.stats.left == 1
    assert open_before.refresh()  # what is open already goes on
    assert open_before.release_id == new.release_id


def publish_unreadable(tiny, sequence: int, file: str, rewrite: Callable[[Path], None]) -> None:
    """Publish it anew with a file whose digest fits, and whose content does not."""
    rewrite(tiny.path(file))
    manifest, content = fmt.parse(tiny.manifest), tiny.path(file).read_bytes()
    files = {**manifest.files, file: fmt.FileEntry(len(content), fmt.sha256(content))}
    folder = tiny.path("")
    tiny.manifest = fmt.canonical(fmt.Manifest(**{**vars(manifest), "files": files}))
    tiny.release_id = fmt.release_id(tiny.manifest)
    folder.rename(tiny.path(""))
    tiny.path(fmt.MANIFEST).write_bytes(tiny.manifest)
    tiny.append(sequence)


def without_scores(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns([fmt.SCORES]), path)


def null_lists(path: Path) -> None:
    table = pq.read_table(path)
    at = table.schema.names.index(fmt.ITEM_IDS)
    nulls = pa.nulls(len(table), table.schema.field(at).type)
    pq.write_table(table.set_column(at, fmt.ITEM_IDS, nulls), path)


@pytest.mark.parametrize("rewrite", [cut, without_scores, null_lists])
@pytest.mark.parametrize(("file", "ask"), ASKED[:3], ids=[file for file, _ in ASKED[:3]])
def test_what_does_not_decode_though_its_digest_fits_is_a_format_error(build, rewrite, file, ask) -> None:
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    old.append(1)
    publish_unreadable(new, 2, file, rewrite)
    with pytest.raises(ReleaseUnreadable, match="format 1") as raised:
        ask(Reader(new.uri, release_id=new.release_id))
    assert raised.value.file.endswith(file)
    reader = Reader(new.uri)
    assert ask(reader).release_id == old.release_id
    assert not reader.refresh()  # it is as published: no file can be mended
    assert reader.stats.left == 1


@pytest.mark.parametrize("file", [fmt.lists_path(0), fmt.POPULAR, fmt.ITEMS])
def test_a_manifest_must_name_what_no_release_may_lack(build, file) -> None:
    """A bucket without a file meant popular items for all its users, without a word."""
    tiny = build()
    manifest = fmt.parse(tiny.manifest)
    files = {name: entry for name, entry in manifest.files.items() if name != file}
    folder, tiny.manifest = tiny.path(""), fmt.canonical(fmt.Manifest(**{**vars(manifest), "files": files}))
    tiny.release_id = fmt.release_id(tiny.manifest)
    folder.rename(tiny.path(""))
    tiny.path(fmt.MANIFEST).write_bytes(tiny.manifest)
    with pytest.raises(ReleaseUnreadable, match=f"without {file}"):
        Reader(tiny.uri, release_id=tiny.release_id)


STRANGE = {
    "a value that UTF-8 cannot hold": lambda manifest: manifest[:-1] + b',"zz":"\\ud800"}',
    "a name that UTF-8 cannot hold": lambda manifest: manifest[:-1] + b',"zz\\ud800":1}',
    "a file whose name no disk holds": lambda manifest: manifest.replace(
        b'"files":{', b'"files":{"a\\u0000b":{"bytes":1,"sha256":"' + b"a" * 64 + b'"},'
    ),
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_manifest_is_left_for_the_release_before(two, strange) -> None:
    """UnicodeEncodeError and ValueError ended the reader, also at `refresh`."""
    old, new = two
    folder, new.manifest = new.path(""), STRANGE[strange](new.manifest)
    sha256 = fmt.sha256(new.manifest)
    new.release_id = f"2017-09-30-{sha256[:12]}"
    folder.rename(new.path(""))
    new.path(fmt.MANIFEST).write_bytes(new.manifest)
    new.append(2)
    reader = Reader(new.uri)
    assert reader.for_user(3).release_id == old.release_id
    assert not reader.refresh()
    assert isinstance(reader.stats.damaged[new.release_id], ReleaseUnreadable)


def test_a_file_that_changes_after_it_was_opened(two) -> None:
    old, new = two
    reader = Reader(new.uri)
    same_bucket = [user for user in new.lists if fmt.bucket(user, 4) == fmt.bucket(3, 4)]
    assert reader.for_user(same_bucket[0]).release_id == new.release_id
    change_one_byte(new.path(BUCKET_OF_3))
    assert reader.for_user(same_bucket[-1]).release_id == old.release_id


def test_refresh_takes_a_mended_release_only_when_all_of_it_is_whole(two) -> None:
    old, new = two
    files = [fmt.POPULAR, fmt.lists_path(1), fmt.MANIFEST]
    whole = {file: new.path(file).read_bytes() for file in files}
    reader = Reader(new.uri)
    for file in files:
        change_one_byte(new.path(file))
    assert reader.popular().release_id == old.release_id
    for file in files:
        assert not reader.refresh()
        new.path(file).write_bytes(whole[file])
    assert reader.refresh()
    assert reader.popular().release_id == new.release_id
    assert (reader.stats.left, reader.stats.damaged) == (1, {})


def test_an_entry_that_names_a_wrong_digest_says_nothing_of_the_release(two) -> None:
    """The release was damaged by its id, in every entry, once one entry had named another digest."""
    _, new = two
    path = new.root / fmt.ledger_path(3)
    entry = json.loads((new.root / fmt.ledger_path(2)).read_text()) | {"sequence": 3}
    entry["releases"][0]["manifest_sha256"] = fmt.sha256(new.manifest)[:12] + "0" * 52
    path.write_text(json.dumps(entry))
    reader = Reader(new.uri)
    assert (reader.release_id, reader.entry.sequence) == (new.release_id, 2)
    assert list(reader.stats.damaged) == [new.release_id]


def refuse(monkeypatch, name: str, error: int) -> None:
    """A disk that does not give the file of that name; permissions do not stop root."""
    whole = Files.read

    def told(self: Files, path: str) -> bytes:
        if path.endswith(name):
            raise OSError(error, os.strerror(error), path)
        return whole(self, path)

    monkeypatch.setattr(Files, "read", told)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ENOENT])
def test_an_older_entry_that_cannot_be_read_is_passed_over(two, build, monkeypatch, caplog, error) -> None:
    """A raw PermissionError came from each call, and no reader opened."""
    old, _ = two
    newest = build(as_of="2017-10-01", seed=3)
    newest.append(3)
    newest.path(BUCKET_OF_3).unlink()
    refuse(monkeypatch, "000000000002.json", error)
    reader = Reader(old.uri)
    assert reader.for_user(3).release_id == old.release_id
    assert not reader.refresh()
    assert [entry.sequence for entry in reader.releases()] == [3, 1]
    (warning,) = [record for record in caplog.records if "passed over" in record.getMessage()]
    assert "000000000002.json: expected a ledger entry that can be read, found " in warning.getMessage()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ENOENT])
def test_the_newest_entry_that_cannot_be_read_is_named(two, monkeypatch, error) -> None:
    """A raw PermissionError; what it asks for is not known, so no older one is served instead."""
    _, new = two
    reader = Reader(new.uri)
    refuse(monkeypatch, "000000000002.json", error)
    for call in (reader.refresh, reader.releases, lambda: Reader(new.uri)):
        with pytest.raises(EntryUnreadable, match=f"000000000002.json: .*{os.strerror(error)}"):
            call()
    assert reader.for_user(3).release_id == new.release_id


def test_a_process_without_handles_left_says_nothing_of_an_entry(two, monkeypatch, caplog) -> None:
    old, _ = two
    refuse(monkeypatch, "000000000001.json", errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        Reader(old.uri).releases()
    assert caplog.records == []


def test_a_newer_release_is_the_way_forward(two, build) -> None:
    _, new = two
    new.path(fmt.MANIFEST).unlink()
    reader = Reader(new.uri)
    newest = build(as_of="2017-10-01", seed=3)
    newest.append(3)
    assert reader.refresh()
    assert reader.release_id == newest.release_id


def test_several_damaged_releases_are_passed_over(two, build) -> None:
    old, new = two
    newest = build(as_of="2017-10-01", seed=3)
    newest.append(3)
    reader = Reader(new.uri)
    change_one_byte(newest.path(BUCKET_OF_3))
    change_one_byte(new.path(BUCKET_OF_3))
    assert reader.for_user(3).release_id == old.release_id
    assert set(reader.stats.damaged) == {new.release_id, newest.release_id}


def test_what_a_rollback_passed_over_is_served_last(two, build, caplog) -> None:
    """The release that readers were rolled back from came back once the one rolled back to was damaged."""
    old, bad = two
    oldest, worse = build(as_of="2017-09-28", seed=3), build(as_of="2017-10-01", seed=4)
    for sequence, release in enumerate([oldest, old, bad, worse], 1):
        release.append(sequence)
    old.append(5, kind="rollback")
    served = []
    for damaged in (old, oldest, bad):
        damaged.path(fmt.MANIFEST).unlink()
        caplog.clear()
        reader = Reader(bad.uri)
        reader.refresh()
        served.append(reader.release_id)
    assert served == [oldest.release_id, bad.release_id, worse.release_id]
    assert ["which a rollback passed over" in record.getMessage() for record in caplog.records] == [
        False,
        False,
        False,
        True,
    ]


def test_an_answer_that_meets_damage_in_the_oldest_comes_from_what_was_passed_over(two, build) -> None:
    """What a rollback passed over is newer than what is served, and left for the end all the same."""
    old, bad = two
    oldest = build(as_of="2017-09-28", seed=3)
    for sequence, release in enumerate([oldest, old, bad], 1):
        release.append(sequence)
    old.append(4, kind="rollback")
    old.path(fmt.MANIFEST).unlink()
    reader = Reader(bad.uri)
    assert reader.release_id == oldest.release_id
    oldest.path(BUCKET_OF_3).unlink()
    assert reader.for_user(3).release_id == bad.release_id


def test_an_answer_that_meets_damage_does_not_move_to_a_release_that_came_meanwhile(two, build) -> None:
    old, new = two
    reader = Reader(new.uri)
    build(as_of="2017-10-01", seed=3).append(3)
    new.path(BUCKET_OF_3).unlink()
    assert reader.for_user(3).release_id == old.release_id


def test_a_rollback_to_what_was_never_current_passes_over_the_one_before(two, build) -> None:
    old, bad = two
    never = build(as_of="2017-09-28", seed=3)
    never.append(3, kind="rollback")
    never.path(fmt.MANIFEST).unlink()
    assert Reader(bad.uri).release_id == old.release_id


def test_a_rollback_to_what_was_never_current_passes_over_nothing_more(build, caplog) -> None:
    """All entries before it were passed over, so that one of an earlier rollback came before a good one."""
    oldest, old, bad = (build(as_of=f"2017-09-{day}", seed=day) for day in (26, 27, 28))
    never, worse = build(as_of="2017-09-25", seed=25), build(as_of="2017-09-29", seed=29)
    for sequence, release in enumerate([oldest, old, bad], 1):
        release.append(sequence)
    old.append(4, kind="rollback")
    worse.append(5)
    never.append(6, kind="rollback")
    for damaged in (never, old):
        damaged.path(fmt.MANIFEST).unlink()
    assert Reader(bad.uri).release_id == oldest.release_id
    assert "is served" not in caplog.text


def test_two_rollbacks_to_the_same_release_pass_over_what_each_does(build) -> None:
    """The second one ended at the first, and what that had passed over was the one before: B, not Z."""
    z, a, b, c = (build(as_of=f"2017-09-{day}", seed=day) for day in (27, 28, 29, 30))
    for sequence, release in enumerate([z, a, b], 1):
        release.append(sequence)
    a.append(4, kind="rollback")
    c.append(5)
    a.append(6, kind="rollback")
    served = []
    for damaged in (a, z, c):
        damaged.path(fmt.MANIFEST).unlink()
        served.append(Reader(z.uri).release_id)
    assert served == [z.release_id, c.release_id, b.release_id]


def test_a_rollback_that_was_taken_back_passes_over_nothing_more(two) -> None:
    old, new = two
    old.append(3, kind="rollback")
    new.append(4, kind="rollback")
    new.path(fmt.MANIFEST).unlink()
    assert Reader(new.uri).release_id == old.release_id


def test_the_error_names_all_that_were_tried(two) -> None:
    old, new = two
    old.path(fmt.POPULAR).unlink()
    new.path(fmt.MANIFEST).unlink()
    reader = Reader(new.uri)
    with pytest.raises(NoUsableRelease) as raised:
        reader.popular()
    assert list(raised.value.tried) == [new.release_id, old.release_id]
    assert f"{new.release_id}/manifest.json" in str(raised.value)
    assert f"{old.release_id}/popular.parquet" in str(raised.value)


def test_a_pinned_release_is_never_replaced(two) -> None:
    _, new = two
    reader = Reader(new.uri, release_id=new.release_id)
    new.path(BUCKET_OF_3).unlink()
    with pytest.raises(ReleaseCorrupt, match="found no file"):
        reader.for_user(3)
    assert reader.refresh() is False
    assert reader.release_id == new.release_id


def test_arms_of_two_entries_are_never_mixed(two, build) -> None:
    old, new = two
    other = build(as_of="2017-09-30", seed=4)
    old.append(3, new, other, weights=(1, 1))
    reader = Reader(new.uri)
    broken = next(user for user in new.lists if reader.for_user(user).release_id == other.release_id)
    for bucket in range(4):
        other.path(fmt.lists_path(bucket)).unlink()
    again = Reader(new.uri)
    assert again.for_user(broken).release_id == new.release_id  # entry 2: the new one alone
    assert {again.for_user(user).release_id for user in new.lists} == {new.release_id}
    assert again.entry.sequence == 2


def test_all_threads_that_meet_damage_are_answered(two, caplog) -> None:
    old, new = two
    reader = Reader(new.uri)
    new.path(BUCKET_OF_3).unlink()
    start = threading.Barrier(16)

    def ask(_: int) -> str:
        start.wait()
        return reader.for_user(3).release_id

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {old.release_id}
    assert reader.stats.left == 1
    assert len(caplog.records) == 1


def test_users_are_those_of_one_release(two) -> None:
    old, new = two
    reader = Reader(new.uri)
    new.path(fmt.lists_path(3)).unlink()
    assert sorted(reader.users()) == sorted(old.lists)
    assert reader.release_id == old.release_id


def test_a_server_that_cannot_be_reached_is_no_damage(two, monkeypatch) -> None:
    _, new = two
    reader = Reader(new.uri)

    def unreachable(self: Files, path: str) -> bytes:
        raise ReaderError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "read", unreachable)
        with pytest.raises(ReaderError, match="no route"):
            reader.refresh()
    assert (reader.release_id, reader.stats.damaged) == (new.release_id, {})
    assert not reader.refresh()
