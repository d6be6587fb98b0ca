"""Copies of a server's files: what becomes of them is not taken for damage to the release."""

import resource

import pytest

from nightjar_reader import Reader, cache, files


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
