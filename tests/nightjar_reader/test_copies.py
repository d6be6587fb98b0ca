"""Copies of a server's files: what becomes of them is not taken for damage to the release."""

import gc
import os
import resource
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightjar_reader import NotInThisRelease, Reader, cache, files, verified
from nightjar_reader import format as fmt
from nightjar_reader.release import Release

LISTS = fmt.lists_path(fmt.bucket(3, 4))


@pytest.fixture
def two(build):
    """An old and a new release, both published."""
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    old.append(1)
    new.append(2)
    return old, new


def test_a_disk_that_becomes_full_is_no_damage(two, on_server, monkeypatch, caplog) -> None:
    """Every release in turn was left as damaged, in the end with NoUsableRelease, for files above 1 MiB."""
    _, new = two
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    in_memory = cache._in_memory

    def unlimited(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return in_memory(*arguments)

    monkeypatch.setattr(files, "_CHUNK", 512)
    monkeypatch.setattr(cache, "_in_memory", unlimited)
    reader = Reader(new.uri)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        found = reader.for_user(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (found.release_id, list(found.items)) == (new.release_id, new.lists[3]["item_ids"])
    assert reader.stats.left == 0
    assert "kept in memory" in caplog.text
    assert list(on_server.glob("*.part")) == []


def same_bucket(tiny) -> list[int]:
    """Users whose lists are in one file, in different row groups the first and the last."""
    return [user for user in tiny.lists if fmt.bucket(user, 4) == fmt.bucket(3, 4)]


def copy_of(tiny, file: str, folder: Path) -> Path:
    return folder / fmt.parse(tiny.manifest).files[file].sha256


def rewrite(path: Path, content: bytes) -> None:
    """The same file, as it is open, and no new one of its name."""
    with path.open("r+b") as file:
        file.write(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def change(path: Path) -> None:
    """Each byte that is not of the footer, so that every row group is hit."""
    content = path.read_bytes()
    changed = bytes(byte ^ 1 for byte in content[4:-2500])
    rewrite(path, content[:4] + changed)


def change_one_value(path: Path) -> None:
    """One byte: the file decodes, with another value in its last row group."""
    content, right = path.read_bytes(), pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata
    for at in range(metadata.row_group(metadata.num_row_groups - 1).column(1).data_page_offset, len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with suppress(pa.ArrowException, OSError):
            if pq.read_table(pa.BufferReader(changed)) != right:
                return rewrite(path, changed)
    raise AssertionError("no such byte")


def silently(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """Damage as a disk does it: no time of the file says so."""

    def damaged(path: Path) -> None:
        state = path.stat()
        damage(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    damaged.__name__ = f"silently_{damage.__name__}"
    return damaged


@pytest.mark.parametrize("damage", [cut, change, change_one_value, silently(change)])
def test_a_copy_that_changes_while_it_is_open_is_fetched_again(two, on_server, damage, caplog) -> None:
    """An answer was wrong in silence, or the release was left for good though whole on the server."""
    _, new = two
    first, *_, last = same_bucket(new)
    reader = Reader(new.uri)
    reader.for_user(first)
    damage(copy_of(new, LISTS, on_server))
    found = reader.for_user(last)
    assert (found.release_id, found.items) == (new.release_id, tuple(new.lists[last]["item_ids"]))
    assert list(found.scores) == new.lists[last]["scores"]
    assert sorted(reader.users()) == sorted(new.lists)
    assert reader.stats.left == 0
    assert copy_of(new, LISTS, on_server).read_bytes() == new.path(LISTS).read_bytes()
    assert caplog.records == []


def test_users_are_listed_on_where_a_copy_changes_meanwhile(two, on_server) -> None:
    _, new = two
    reader = Reader(new.uri)
    users = reader.users()
    found = [next(users)]
    for copy in on_server.iterdir():
        change(copy)
    assert sorted([*found, *users]) == sorted(new.lists)


def test_a_copy_that_changes_before_it_is_opened_again(two, on_server) -> None:
    """The process took it for the one that it had verified: the answer was wrong in silence."""
    _, new = two
    found = files.Files(new.uri), cache.Cache.chosen()
    Release(verified.VerifiedFiles(*found, new.release_id)).for_user(3)
    change_one_value(copy_of(new, LISTS, on_server))
    last = same_bucket(new)[-1]
    opened = Release(verified.VerifiedFiles(*found, new.release_id))
    assert list(opened.for_user(last).scores) == new.lists[last]["scores"]
    assert list(opened.for_user(last).items) == new.lists[last]["item_ids"]


@pytest.mark.parametrize("damage", [cut, silently(cut), change])
@pytest.mark.parametrize("file", [fmt.POPULAR, fmt.ITEMS, fmt.USER_FACTORS, fmt.ITEM_FACTORS, fmt.INDEX])
def test_a_whole_file_whose_copy_changes_before_it_is_opened_again(two, on_server, file, damage) -> None:
    """What did not decode was taken for a release that no reader can read."""
    _, new = two
    found = files.Files(new.uri), cache.Cache.chosen()

    def ask():
        opened = Release(verified.VerifiedFiles(*found, new.release_id))
        return opened.popular(), opened.nearest_to_user(3, 5), opened.nearest_to_item(500, 5)

    right = ask()
    gc.collect()
    damage(copy_of(new, file, on_server))
    assert ask() == right


def test_a_copy_of_a_file_that_is_damaged_on_the_server_too(two, on_server) -> None:
    old, new = two
    first, *_, last = same_bucket(new)
    reader = Reader(new.uri)
    reader.for_user(first)
    for path in (copy_of(new, LISTS, on_server), new.path(LISTS)):
        change(path)
    assert reader.for_user(last).release_id == old.release_id
    assert list(reader.stats.damaged) == [new.release_id]


def test_a_copy_that_is_whole_is_not_read_again(two, on_server, monkeypatch) -> None:
    """Opening it is no change, in this process and in others."""
    _, new = two
    reader = Reader(new.uri)
    first, *_, last = same_bucket(new)
    reader.for_user(first)
    Reader(new.uri).for_user(first)
    monkeypatch.setattr(cache, "hashed", None)
    monkeypatch.setattr(verified, "hashed", None)
    assert list(reader.for_user(last).items) == new.lists[last]["item_ids"]


def ask_all(reader: Reader) -> None:
    reader.for_user(3)
    reader.similar_items(500)
    reader.nearest(user=3)
    reader.nearest(item=500)
    list(reader.users())
    with pytest.raises(NotInThisRelease):
        reader.nearest(user=66)


@pytest.fixture
def _without_collections():
    """What refers to itself stays: only what nothing refers to any more is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collections")
def test_a_release_that_is_not_served_any_more_frees_its_copies(build, on_server, caplog) -> None:
    """It referred to itself until some full collection: its copies filled the cache, and new ones memory."""
    tiny = build(as_of="2017-09-01")
    tiny.append(1)
    room = 2 * sum(entry.bytes for entry in fmt.parse(tiny.manifest).files.values())
    reader, before = Reader(tiny.uri, cache_bytes=room + 5000), []
    for day in range(2, 6):
        ask_all(reader)
        before.append(weakref.ref(reader.release))
        build(as_of=f"2017-09-{day:02d}", seed=day).append(day)
        assert reader.refresh()
    ask_all(reader)
    assert [release() for release in before] == [None] * 4
    assert caplog.records == []


@pytest.mark.usefixtures("_without_collections")
def test_a_damaged_release_frees_its_copies(two, on_server) -> None:
    """The error that tells of it, kept until it is mended, held all that the release had opened."""
    old, new = two
    reader = Reader(new.uri)
    reader.nearest(item=500)
    release = weakref.ref(reader.release)
    for path in (new.path(LISTS), *on_server.glob(copy_of(new, LISTS, on_server).name)):
        path.unlink()
    assert reader.for_user(3).release_id == old.release_id
    assert reader.stats.left == 1
    assert release() is None
