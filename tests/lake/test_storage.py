"""What `lake.storage` promises. The cases that take `storage` hold of every kind of storage:
`tests/services/test_s3_storage.py` runs them on a real S3 server.
"""

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.disk import sha256_of
from lake.errors import ConfigError, NightjarError, PermanentError
from lake.storage import LocalStorage, open_storage


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


def test_a_folder_is_removed_with_all_below_it_and_nothing_else(storage):
    for path in ("a/b/one", "a/b/deep/two", "a/bc", "a/c/three"):
        storage.put_new(path, b"x")
    for _ in range(2):
        storage.remove("a/b")
    assert storage.list("") == ["a/bc", "a/c/three"]
    assert storage.put_new("a/b/one", b"y")
    assert storage.read("a/b/one") == b"y"


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


def test_a_folder_that_cannot_be_removed_is_named(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(NightjarError, match=f"{tmp_path}/folder: expected something .* found Not a dir"):
        LocalStorage(tmp_path).remove("folder")


def test_what_is_half_written_is_not_listed(tmp_path):
    (tmp_path / ".half").write_bytes(b"")
    assert LocalStorage(tmp_path).list("") == []


def test_an_address_or_a_folder_opens_the_same_place(tmp_path):
    folder = tmp_path / "with space"
    assert open_storage(folder.as_uri()).root == open_storage(str(folder)).root


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="cannot read ftp://"):
        open_storage("ftp://host/folder")


@pytest.fixture
def unreadable(monkeypatch):
    """A function that makes a folder unreadable, for root too, whom no permission holds off."""
    scandir = os.scandir

    def make(folder, number):
        def refusing(path="."):
            if Path(path) == folder:
                raise OSError(number, os.strerror(number), str(folder))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)

    return make


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("asked", ["", "records", "records/a"])
def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path, unreadable, asked, number):
    """Its files were left out in silence: days lost their records, and nights their decision."""
    storage = LocalStorage(tmp_path)
    storage.put_new("records/a/1.json", b"")
    storage.put_new("records/b/1.json", b"")
    unreadable(tmp_path / "records" / "a", number)
    with pytest.raises(NightjarError, match=f"records/a: expected .* found {os.strerror(number)}; mend"):
        storage.list(asked)
    assert storage.list("records/b") == ["records/b/1.json"]


def test_a_folder_that_vanishes_meanwhile_holds_nothing(tmp_path, unreadable):
    storage = LocalStorage(tmp_path)
    storage.put_new("a/1", b"")
    storage.put_new("b/1", b"")
    unreadable(tmp_path / "a", errno.ENOENT)
    assert storage.list("") == ["b/1"]


def test_a_file_or_a_link_to_nothing_is_no_empty_folder(tmp_path):
    """Both were an empty folder: also a link to a disk that was not mounted."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "not mounted")
    with pytest.raises(PermanentError, match="/file: expected a folder or nothing, found a file; move it"):
        LocalStorage(tmp_path).list("file/below")
    with pytest.raises(PermanentError, match="/link: expected a folder or nothing, found a link to nothing"):
        LocalStorage(tmp_path).list("link")


IN_THE_WAY = {
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nowhere"),
    "something that is no file": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("found", IN_THE_WAY)
def test_only_a_file_takes_the_name_of_a_file(tmp_path, found):
    """A folder or link of an entry's name was no entry, yet it could not be put: writers tried for ever.

    A link to nothing was listed, and reading it raised a raw FileNotFoundError.
    """
    storage = LocalStorage(tmp_path / "root")
    storage.put_new("ledger/1.json", b"x")
    IN_THE_WAY[found](storage.local("ledger/2.json"))
    assert storage.list("ledger") == ["ledger/1.json"]
    assert not storage.exists("ledger/2.json")
    source = storage.local("ledger/1.json")
    for put in (
        lambda: storage.put_new("ledger/2.json", b""),
        lambda: storage.put_file("ledger/2.json", source),
    ):
        with pytest.raises(
            PermanentError, match=f"2.json: expected a file or nothing, found {found}; move it"
        ):
            put()


def test_a_folder_that_comes_in_between_is_named_too(tmp_path, monkeypatch):
    storage = LocalStorage(tmp_path)
    link = os.link

    def overtaken(source, target):
        Path(target).mkdir()
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    with pytest.raises(PermanentError, match="1.json: expected a file or nothing, found a folder"):
        storage.put_new("ledger/1.json", b"")
    assert storage.list("") == []


@pytest.mark.parametrize("below", ["x", "y/x"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, below):
    """A raw FileExistsError or NotADirectoryError."""
    storage = LocalStorage(tmp_path)
    storage.put_new("ledger", b"")
    with pytest.raises(PermanentError, match="/ledger: expected a folder or nothing, found a file; move"):
        storage.put_new(f"ledger/{below}", b"")


def test_a_folder_is_no_file_to_read(tmp_path):
    """A raw IsADirectoryError, and its size was a number."""
    storage = LocalStorage(tmp_path)
    storage.put_new("a/b", b"")
    for ask in (storage.read, storage.size, storage.sha256, storage.open):
        with pytest.raises(FileNotFoundError, match="no file: .*/a'"):
            ask("a")


def test_a_version_is_another_once_the_file_is(storage):
    storage.put_new("a", b"one")
    storage.put_new("b", b"two")
    assert storage.version("a") == storage.version("a")
    assert storage.version("a") != storage.version("b")
    with pytest.raises(FileNotFoundError):
        storage.version("c")
