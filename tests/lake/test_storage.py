"""What `lake.storage` promises. The cases that take `storage` hold of every kind of storage:
`tests/services/test_s3_storage.py` runs them on a real S3 server.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.errors import ConfigError
from lake.storage import LocalStorage, open_storage, sha256_of


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "root")


def test_the_first_put_wins_and_the_second_changes_nothing(storage):
    assert storage.put_new("a/b.json", b"one")
    assert not storage.put_new("a/b.json", b"two")
    assert storage.read("a/b.json") == b"one"
    assert storage.sha256("a/b.json") == hashlib.sha256(b"one").hexdigest()
    assert (storage.size("a/b.json"), storage.exists("a/b.json")) == (3, True)


def test_the_same_bytes_again_are_not_created_either(storage):
    assert storage.put_new("a", b"one")
    assert not storage.put_new("a", b"one")


def test_of_many_writers_exactly_one_wins(storage):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.put_new("taken", str(n).encode()), range(64)))
    assert won.count(True) == 1
    assert storage.read("taken") == str(won.index(True)).encode()


def test_a_failed_put_leaves_nothing(storage):
    with pytest.raises(TypeError):
        storage.put_new("a", "text, not bytes")
    assert storage.list("") == []


def test_a_listing_is_sorted_deep_whole_and_of_its_folder_alone(storage):
    names = [f"t/{n:05d}" for n in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: storage.put_new(name, b""), [*names, "t-other", "u/v"]))
    assert storage.list("t") == names
    assert storage.list("nowhere") == []
    assert len(storage.list("")) == 1102


def test_a_file_goes_there_and_back(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * (9 << 20))
    assert storage.put_file("copy.bin", source)
    assert not storage.put_file("copy.bin", source)
    assert storage.sha256("copy.bin") == sha256_of(source)
    with storage.fetched("copy.bin") as there:
        assert there.read_bytes() == source.read_bytes()
        assert there.suffix == ".bin"
    assert storage.exists("copy.bin")


def test_names_keep_their_letters(storage):
    names = ["a b/c+d.txt", "a b/é=%20&#?.txt"]
    for name in names:
        storage.put_new(name, name.encode())
    assert storage.list("a b") == sorted(names)
    assert [storage.read(name) for name in names] == [name.encode() for name in names]


def test_what_is_missing_is_named(storage):
    for ask in (storage.read, storage.size, storage.sha256, storage.open):
        with pytest.raises(FileNotFoundError, match="some/nothing"):
            ask("some/nothing")
    assert not storage.exists("some/nothing")


def test_a_file_is_read_here_and_there(storage):
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": range(100_000)}), buffer)
    content = buffer.getvalue().to_pybytes()
    storage.put_new("t.parquet", content)
    with storage.open("t.parquet") as file:
        assert pq.read_metadata(file).num_rows == 100_000
        assert (file.seek(10), file.read(5), file.tell()) == (10, content[10:15], 15)
        assert (file.seek(-5, 1), file.read()) == (10, content[10:])
        assert (file.seek(0, 2), file.read(1)) == (len(content), b"")


def test_an_address_opens_the_same_place_again(storage):
    storage.put_new("a", b"one")
    assert open_storage(storage.root).read("a") == b"one"
    assert storage.uri("a") == f"{storage.root}/a"


def test_what_is_half_written_is_not_listed(tmp_path):
    (tmp_path / ".half").write_bytes(b"")
    assert LocalStorage(tmp_path).list("") == []


def test_an_address_or_a_folder_opens_the_same_place(tmp_path):
    folder = tmp_path / "with space"
    assert open_storage(folder.as_uri()).root == open_storage(str(folder)).root


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="cannot read ftp://"):
        open_storage("ftp://host/folder")
