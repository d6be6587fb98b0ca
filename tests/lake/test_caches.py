import datetime as dt
import json
import logging
from pathlib import Path

import pytest

from lake.caches import ContentCache
from lake.storage import LocalStorage

DAY = dt.date(2024, 1, 2)
MADE_FROM = {"version": 1, "tables": {"users": "abc"}}


@pytest.fixture
def storage(tmp_path) -> LocalStorage:
    return LocalStorage(tmp_path / "lake")


@pytest.fixture
def cache(storage) -> ContentCache:
    return ContentCache(storage, "retrieval", DAY)


@pytest.fixture
def made(tmp_path) -> dict[str, Path]:
    """Two files of this machine, elsewhere than in the lake."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "one.bin").write_bytes(b"first")
    (folder / "two.bin").write_bytes(b"second")
    return {"a": folder / "one.bin", "b": folder / "two.bin"}


def content(cache, made_from) -> dict[str, bytes] | None:
    with cache.opened(made_from) as files:
        return None if files is None else {name: path.read_bytes() for name, path in files.items()}


def entry_of(storage) -> Path:
    [path] = [path for path in storage.list("caches") if path.endswith(".json")]
    return storage.local(path)


def test_what_was_kept_is_found_again(cache, made):
    assert content(cache, MADE_FROM) is None
    cache.keep(MADE_FROM, made)
    made["a"].unlink()
    assert content(cache, MADE_FROM) == {"a": b"first", "b": b"second"}
    assert content(cache, json.loads(json.dumps(MADE_FROM))) == {"a": b"first", "b": b"second"}


@pytest.mark.parametrize("other", [{"version": 2}, {"tables": {"users": "abx"}}, {"more": None}])
def test_anything_made_from_something_else_is_another(cache, made, other):
    cache.keep(MADE_FROM, made)
    assert content(cache, MADE_FROM | other) is None


def test_another_kind_or_day_is_another(cache, storage, made):
    cache.keep(MADE_FROM, made)
    assert content(ContentCache(storage, "ranking_set", DAY), MADE_FROM) is None
    assert content(ContentCache(storage, "retrieval", DAY + dt.timedelta(1)), MADE_FROM) is None


def test_what_lies_elsewhere_is_not_copied(cache, storage, made):
    storage.put_new("bundles/x/a", b"first")
    cache.refer(MADE_FROM, "bundles/x", {"a": made["a"]})
    assert content(cache, MADE_FROM) == {"a": b"first"}
    assert len(storage.list("")) == 2  # the bundle's file, and what is known of it


def test_the_first_that_was_kept_stays(cache, made):
    cache.keep(MADE_FROM, made)
    cache.keep(MADE_FROM, {"a": made["b"]})
    assert content(cache, MADE_FROM) == {"a": b"first", "b": b"second"}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry, file: _flip(file),
        lambda entry, file: file.unlink(),
        lambda entry, file: file.write_bytes(b""),
        lambda entry, file: entry.write_bytes(b""),
        lambda entry, file: entry.write_bytes(b"[1]"),
        lambda entry, file: entry.write_text(entry.read_text().replace('"version": 1', '"version": 3')),
        lambda entry, file: entry.write_text(entry.read_text().replace("caches/retrieval/", "gone/")),
    ],
    ids=["flipped", "removed", "emptied", "no entry", "another shape", "made from another", "lost"],
)
def test_what_is_damaged_is_not_there_and_a_warning_says_what_to_remove(cache, storage, made, caplog, spoil):
    cache.keep(MADE_FROM, made)
    entry = entry_of(storage)
    [file] = [storage.local(path) for path in storage.list("caches") if path.endswith("/b")]
    spoil(entry, file)
    with caplog.at_level(logging.WARNING):
        assert content(cache, MADE_FROM) is None
    [message] = caplog.messages
    assert entry.name in message
    assert "is made anew each time until that file and the folder that it names are removed" in message
    cache.keep(MADE_FROM, made)  # as a night does that made it anew


def test_what_was_removed_is_kept_again(cache, storage, made):
    cache.keep(MADE_FROM, made)
    entry_of(storage).unlink()
    assert content(cache, MADE_FROM) is None
    cache.keep(MADE_FROM, made)
    assert content(cache, MADE_FROM) == {"a": b"first", "b": b"second"}


def test_files_without_an_entry_are_a_cut_that_the_next_try_ends(cache, storage, made):
    """Files are put first: a process that is killed between the two leaves nothing that is half."""
    cache.keep(MADE_FROM, {"a": made["a"]})
    entry_of(storage).unlink()
    assert content(cache, MADE_FROM) is None
