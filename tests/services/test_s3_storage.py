"""What `lake.storage` promises, on a real S3 server."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import s3
from lake.errors import ConfigError, StorageUnavailable
from lake.storage import open_storage
from nightjar_reader.files import Files

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def bucket(s3_server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        s3._client_of.cache_clear()
        yield s3_server.make_bucket("storage")


@pytest.fixture
def storage(bucket, request):
    return open_storage(f"{bucket}/{request.node.name}")


def test_the_first_put_wins_and_the_second_changes_nothing(storage):
    assert storage.put_new("a/b.json", b"one")
    assert not storage.put_new("a/b.json", b"two")
    assert storage.read("a/b.json") == b"one"
    assert storage.sha256("a/b.json") == hashlib.sha256(b"one").hexdigest()
    assert (storage.size("a/b.json"), storage.exists("a/b.json")) == (3, True)


def test_of_many_writers_exactly_one_wins(storage):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.put_new("taken", str(n).encode()), range(64)))
    assert won.count(True) == 1
    assert storage.read("taken") == str(won.index(True)).encode()


def test_what_is_not_bytes_leaves_nothing(storage):
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
    assert storage.put_file("copy", source)
    assert not storage.put_file("copy", source)
    with storage.fetched("copy") as there:
        assert there.read_bytes() == source.read_bytes()
    assert not there.exists()


def test_what_is_missing_is_named(storage):
    for ask in (storage.read, storage.size, storage.sha256):
        with pytest.raises(FileNotFoundError, match="test_what_is_missing_is_named/nothing: no such file"):
            ask("nothing")
    assert not storage.exists("nothing")


def test_arrow_and_the_reader_s_files_see_the_same(storage):
    storage.put_new("folder/some.txt", b"content")
    system, root = storage.arrow()
    pq.write_table(pa.table({"a": [1, 2]}), f"{root}/folder/t.parquet", filesystem=system)
    assert storage.list("folder") == ["folder/some.txt", "folder/t.parquet"]
    files = Files(storage.root)
    assert files.read("folder/some.txt") == b"content"
    assert sorted(files.names("folder")) == ["some.txt", "t.parquet"]
    assert (files.names("nowhere"), files.local("folder/some.txt")) == ([], None)
    assert files.uri("folder/some.txt") == storage.uri("folder/some.txt")
    with pytest.raises(FileNotFoundError):
        files.read("folder/nothing")


@pytest.mark.parametrize("ask", [lambda s: s.read("a"), lambda s: s.put_new("a", b""), lambda s: s.list("")])
def test_a_bucket_that_is_not_there_is_named(bucket, s3_server, ask):
    with pytest.raises(ConfigError, match=rf"s3://nobody/x/a?.*{s3_server.url} answers NoSuchBucket"):
        ask(open_storage("s3://nobody/x"))


def test_a_wrong_key_is_refused_without_being_told(storage, monkeypatch, s3_server):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    s3._client_of.cache_clear()
    with pytest.raises(ConfigError, match="keys in AWS_") as raised:
        storage.read("a")
    s3._client_of.cache_clear()
    assert "wrong-secret" not in str(raised.value)
    assert s3_server.access_key not in str(raised.value)


def test_a_server_that_is_away_is_named(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    s3._client_of.cache_clear()
    with pytest.raises(StorageUnavailable, match=r"http://127\.0\.0\.1:9 .*check AWS_ENDPOINT_URL"):
        storage.read("a")
    s3._client_of.cache_clear()
