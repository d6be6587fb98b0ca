"""What `lake.storage` promises, on a real S3 server, also behind one that fails."""

import datetime as dt
import inspect
import runpy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lake import s3
from lake.errors import ConfigError, StorageUnavailable
from lake.records import Records
from lake.storage import open_storage
from nightjar_reader import NoRelease, Reader
from nightjar_reader.endpoint import Endpoint
from nightjar_reader.errors import ReaderError
from nightjar_reader.files import Files, hashed

pytestmark = pytest.mark.services

HERE = Path(__file__).parent
PROXY = runpy.run_path(str(HERE / "proxy.py"))
CASES = runpy.run_path(str(HERE.parent / "lake" / "test_storage.py"))
LEDGER = runpy.run_path(str(HERE.parent / "precompute" / "test_publish.py"))
RECORDS = runpy.run_path(str(HERE.parent / "lake" / "test_records.py"))
PRECOMPUTE = runpy.run_path(str(HERE.parent / "nightjar" / "stages" / "test_precompute.py"))
globals().update(
    {
        name: case
        for name, case in CASES.items()
        if name.startswith("test_") and "storage" in inspect.signature(case).parameters
    }
)


@pytest.fixture(scope="module")
def bucket(s3_server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        yield s3_server.make_bucket("storage")


@pytest.fixture(autouse=True)
def new_clients():
    """Keys and tries differ between tests; a client keeps those that it began with."""
    s3._client_of.cache_clear()
    yield
    s3._client_of.cache_clear()


@pytest.fixture
def storage(bucket, request):
    return open_storage(f"{bucket}/{request.node.name}")


@pytest.fixture
def proxy(bucket, s3_server, monkeypatch):
    """The server behind a proxy that fails when it is told to."""
    with PROXY["Proxy"](s3_server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        yield proxy


def test_the_reader_s_files_are_the_same(storage):
    storage.put_new("folder/some.txt", b"content")
    files = Files(storage.root)
    assert files.read("folder/some.txt") == b"content"
    assert hashed(files.pieces("folder/some.txt")) == (7, storage.sha256("folder/some.txt"))
    assert files.names("folder") == ["some.txt"]
    assert (files.names("nowhere"), files.local("folder/some.txt")) == ([], None)
    assert files.uri("folder/some.txt") == storage.uri("folder/some.txt")
    with pytest.raises(FileNotFoundError):
        files.read("folder/nothing")


def test_a_release_goes_straight_to_its_bucket(storage, tiny_with, tmp_path):
    """Lake and releases may lie apart: the attempt, which lies in the lake, has no file of it."""
    settings = tiny_with(tmp_path).settings.model_copy(update={"releases": storage.root})
    night, day = PRECOMPUTE["Nights"](settings), PRECOMPUTE["DAYS"][0]
    night.features(day)
    night.decide(day)
    done = night.night(day)
    assert done.state == "published"
    reader = Reader(storage.root)
    reader.release.verify()
    assert reader.release_id == done.release_id
    told = {Path(path).name for path in night.storage.list("attempts")}
    assert told == {"begun", "plan.json", "result.json", "changes.json"}


def test_strays_change_nothing_for_publishes_and_rollbacks(storage):
    days = [LEDGER["a_release"](storage, f"2017-09-{day}") for day in (28, 29)]
    LEDGER["test_strays_change_nothing_for_publishes_and_rollbacks"](storage, days)


def test_strays_among_records_change_nothing(storage):
    first = Records(storage).commit(RECORDS["draft"](), 0)
    for stray in RECORDS["STRAYS"]:
        storage.put_new(f"records/{stray}", b"{}")
    assert Records(storage).all_current("ingest", dt.date.max) == [first]
    assert Records(storage).commit(RECORDS["draft"](raw="bb", digest="9:9:9"), 1).sequence == 2


def test_a_reader_of_an_empty_prefix_says_that_nothing_is_published(storage):
    with pytest.raises(NoRelease, match=f"{storage.root}: nothing is published here"):
        Reader(storage.root)


@pytest.mark.parametrize("ask", [lambda s: s.read("a"), lambda s: s.put_new("a", b""), lambda s: s.list("")])
def test_a_bucket_that_is_not_there_is_named(bucket, s3_server, ask):
    with pytest.raises(ConfigError, match=rf"s3://nobody/x/a?.*{s3_server.url} answers NoSuchBucket"):
        ask(open_storage("s3://nobody/x"))


def test_a_wrong_key_is_refused_without_being_told(storage, monkeypatch, s3_server):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(ConfigError, match="keys in AWS_") as raised:
        storage.read("a")
    assert "wrong-secret" not in str(raised.value)
    assert s3_server.access_key not in str(raised.value)


def test_missing_keys_are_asked_for(storage, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        storage.read("a")


def test_an_address_without_a_scheme_is_refused(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:7070")
    with pytest.raises(ReaderError, match=r"AWS_ENDPOINT_URL: expected http://.*, found '127\.0\.0\.1:7070'"):
        storage.read("a")


def test_a_server_that_stays_away_is_named(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3, "ATTEMPTS", 3)
    with pytest.raises(StorageUnavailable, match=r"/a: .*http://127\.0\.0\.1:9, .*after 3 tries; check AWS_"):
        storage.read("a")


def test_a_reader_names_a_server_that_stays_away(storage, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("nightjar_reader.endpoint.ATTEMPTS", 2)
    with pytest.raises(ReaderError, match=rf"{storage.root}/ledger: .*http://127\.0\.0\.1:9 .*check AWS_"):
        Reader(storage.root)


def _use(storage, folder):
    """Put, list and read small and big files in each way; all has to come out as where nothing fails."""
    contents = {f"t/{n:02d}": bytes([n]) * (n * 100_000 + 1) for n in range(12)}
    source = folder / "source"
    source.write_bytes(b"x" * 3_000_000)
    files = Files(storage.root)
    for path, content in contents.items():
        assert storage.put_new(path, content)
        assert storage.put_file(f"f/{path}", source)
        assert not storage.put_new(path, content + b"other")
        assert (storage.size(path), storage.read(path)) == (len(content), content)
        with storage.fetched(f"f/{path}") as copy:
            assert copy.read_bytes() == source.read_bytes()
        with storage.open(path) as file:
            assert (file.seek(-1, 2), file.read()) == (len(content) - 1, content[-1:])
        assert files.read(path) == content
    assert storage.list("t") == list(contents)


@pytest.mark.parametrize("faults", [{"busy": 5}, {"cut": 3}, {"lost": 3}, {"torn": 3}], ids=str)
def test_all_comes_out_right_where_requests_fail(storage, proxy, faults, tmp_path):
    proxy.faults = PROXY["Faults"](**faults)
    _use(storage, tmp_path)
    assert proxy.failed.total() > 10


@pytest.mark.parametrize("busy", [2, 4])
def test_a_reader_of_a_small_file_whose_server_is_often_busy(storage, proxy, busy):
    """What the server says is longer than the file, and it says so more than 100 times."""
    storage.put_new("a", b"1")
    proxy.faults = PROXY["Faults"](busy=busy)
    files = Files(storage.root)
    assert {files.read("a") for _ in range(120)} == {b"1"}
    assert proxy.failed.total() > 50


def test_a_long_listing_where_pages_fail(storage, proxy):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: storage.put_new(f"{n:05d}", b""), range(2100)))
    proxy.faults = PROXY["Faults"](busy=2, cut=3)
    assert storage.list("") == [f"{n:05d}" for n in range(2100)]


def test_a_server_that_is_away_for_20_seconds_is_waited_for(storage, proxy, caplog):
    storage.put_new("a", b"one")
    proxy.hang_up()
    threading.Timer(20, proxy.listen).start()
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(storage.read, "a")
        by_reader = pool.submit(Files(storage.root).read, "a")
        assert (read.result(), by_reader.result()) == (b"one", b"one")
    assert time.monotonic() - began > 19
    assert f"{storage.uri('a')}: EndpointConnectionError from {Endpoint.from_environment()}" in caplog.text


def _lose_the_answer_to_the_next_write(proxy, storage):
    proxy.faults = PROXY["Faults"](lost=2)
    storage.put_new("first", b"")


def test_a_lost_answer_is_a_success_and_a_taken_name_is_not(storage, proxy):
    _lose_the_answer_to_the_next_write(proxy, storage)
    assert storage.put_new("a", b"ours")
    _lose_the_answer_to_the_next_write(proxy, storage)
    assert not storage.put_new("a", b"theirs")
    assert proxy.failed["lost"] == 2
    assert storage.read("a") == b"ours"
