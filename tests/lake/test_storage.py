import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from lake.errors import ConfigError
from lake.storage import LocalStorage, open_storage


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


def test_the_first_put_wins_and_the_second_changes_nothing(storage):
    assert storage.put_new("a/b.json", b"one")
    assert not storage.put_new("a/b.json", b"two")
    assert storage.read("a/b.json") == b"one"
    assert storage.sha256("a/b.json") == hashlib.sha256(b"one").hexdigest()
    assert storage.size("a/b.json") == 3


def test_of_many_writers_exactly_one_wins(storage):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.put_new("taken", str(n).encode()), range(64)))
    assert won.count(True) == 1
    assert storage.read("taken") == str(won.index(True)).encode()


def test_a_failed_put_leaves_nothing(storage, tmp_path):
    with pytest.raises(TypeError):
        storage.put_new("a", "text, not bytes")
    assert list(tmp_path.iterdir()) == []


def test_list_is_sorted_deep_and_without_what_is_half_written(storage, tmp_path):
    for path in ("t/b", "t/a/c", "u"):
        storage.put_new(path, b"")
    (tmp_path / "t/.half").write_bytes(b"")
    assert storage.list("t") == ["t/a/c", "t/b"]
    assert storage.list("nowhere") == []


def test_put_file_copies(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * (1 << 21))
    assert storage.put_file("copy", source)
    assert not storage.put_file("copy", source)
    assert storage.read("copy") == source.read_bytes()


def test_an_address_or_a_folder_opens_the_same_place(tmp_path):
    folder = tmp_path / "with space"
    assert open_storage(folder.as_uri()).root == open_storage(str(folder)).root


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="no storage for ftp://"):
        open_storage("ftp://host/folder")
