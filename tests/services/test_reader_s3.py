"""A reader of releases on S3 over forks, kills, threads and damage, with one cache for all."""

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nightjar_reader import Reader
from nightjar_reader import format as fmt

pytestmark = pytest.mark.services

HERE = Path(__file__).parent
PROXY = runpy.run_path(str(HERE / "proxy.py"))
TINY = runpy.run_path(str(HERE.parent / "nightjar_reader" / "conftest.py"))
build = TINY["build"]
SECONDS = 300

# A master as gunicorn has it with --preload: it answers, its threads read on, and workers come and go.
MASTER = """
import os, sys, threading
from nightjar_reader import Reader

address, users = sys.argv[1], [int(user) for user in sys.argv[2].split(",")]
reader = Reader(address)
right = {user: reader.for_user(user).items for user in users[::2]}
reader.nearest(user=users[0])

def read_on():
    while True:
        Reader(address).release.verify()

for _ in range(int(sys.argv[3])):
    threading.Thread(target=read_on, daemon=True).start()

def worker():
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # as a worker has
    reader.refresh()
    assert all(reader.for_user(user).user_id == user for user in users)
    assert all(reader.for_user(user).items == items for user, items in right.items())
    reader.nearest(user=users[0])
    reader.similar_items(500)
    reader.release.verify()

for _ in range(2):
    workers = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            worker()
            sys.exit(3)
        workers.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    assert codes == [3, 3, 3], codes
    worker()
print("well", flush=True)
os._exit(0)
"""


@pytest.fixture
def published(build, s3_server, monkeypatch, tmp_path, request):
    """Two releases on the server, the first of them published; how to publish the second, and its address."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTJAR_READER_CACHE", str(tmp_path / "cache"))
    address = s3_server.make_bucket(f"reader-{fmt.sha256(request.node.name.encode())[:12]}")
    old, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    old.append(1)

    def put() -> None:
        for path in old.root.rglob("*.*"):
            key = path.relative_to(old.root).as_posix()
            if path.is_file():
                bucket = address.removeprefix("s3://")
                s3_server.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    put()
    return address, old, new, put


@pytest.mark.parametrize("threads", [0, 2])
def test_workers_of_a_preloaded_reader_work_and_end(published, threads) -> None:
    """When one ended, the others met FileNotFoundError for ever, and some hung at their end."""
    address, old, *_ = published
    line = [sys.executable, "-c", MASTER, address, ",".join(map(str, old.lists)), str(threads)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def test_killed_readers_leave_one_cache_of_one_release(published, tmp_path) -> None:
    """Each left all its copies, and each worker had its own."""
    address, old, *_ = published
    code = "import sys; from nightjar_reader import Reader; r = Reader(sys.argv[1]); r.nearest(item=500); "
    code += "list(r.users()); print('read', flush=True); sys.stdin.read()"
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as reader:
            assert reader.stdout
            assert reader.stdout.readline() == b"read\n"
            reader.send_signal(signal.SIGKILL)
    kept = {path.name: path.stat().st_size for path in (tmp_path / "cache").iterdir()}
    files = fmt.parse(old.manifest).files.values()
    assert kept.items() <= {(entry.sha256, entry.bytes) for entry in files}


def test_fifty_threads_and_another_process_read_a_file_from_the_server_once(
    published, s3_server, monkeypatch
) -> None:
    address, old, *_ = published
    start = threading.Barrier(50)

    def ask(_: int):
        start.wait()
        return reader.for_user(3)

    with PROXY["Proxy"](s3_server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        reader = Reader(address)
        with ThreadPoolExecutor(50) as pool:
            assert len(set(pool.map(ask, range(50)))) == 1
        code = f"from nightjar_reader import Reader; print(Reader({address!r}).for_user(3).items)"
        done = subprocess.run(
            [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{tuple(old.lists[3]['item_ids'])}\n"
        reads = Counter(
            target for method, target in proxy.requests if method == "GET" and "parquet" in target
        )
    assert sorted(reads.values()) == [1, 1]  # popular items and one bucket


def test_damage_on_the_server_is_left_and_taken_again_when_mended(published, s3_server) -> None:
    address, old, new, put = published
    reader = Reader(address)
    new.append(2)
    put()
    file = fmt.lists_path(fmt.bucket(3, 4))
    whole = new.path(file).read_bytes()
    new.path(file).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    put()
    assert reader.refresh()
    assert reader.release_id == new.release_id
    assert list(reader.for_user(3).items) == old.lists[3]["item_ids"]
    assert not reader.refresh()
    assert reader.stats.left == 1
    new.path(file).write_bytes(whole)
    put()
    assert reader.refresh()
    assert list(reader.for_user(3).items) == new.lists[3]["item_ids"]


def test_strays_in_the_ledger_on_a_server_count_for_nothing(published, s3_server, caplog) -> None:
    """A console's folders are empty objects; on a disk strays once ended publishes, and hid an entry."""
    address, _, new, put = published
    bucket = address.removeprefix("s3://")
    strays = ["0000000000099.json", "20171001.json", "notes"]
    for name in ("", "old/", "old/000000000099.json", *strays):
        body = b'{"sequence": 99}' if name and name[-1] != "/" else b""
        s3_server.client().put_object(Bucket=bucket, Key=f"ledger/{name}", Body=body)
    reader = Reader(address)
    new.append(2)
    put()
    assert reader.refresh()
    assert (reader.release_id, [entry.sequence for entry in reader.releases()]) == (new.release_id, [2, 1])
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert sorted(told) == [f"{address}/ledger/{stray}" for stray in strays]


def test_an_answer_cut_on_its_way_is_no_damage(published, s3_server, monkeypatch) -> None:
    address, old, *_ = published
    with PROXY["Proxy"](s3_server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        reader = Reader(address)
        proxy.faults = PROXY["Faults"](cut=3)
        for user, row in old.lists.items():
            assert list(reader.for_user(user).items) == row["item_ids"]
        assert proxy.failed["cut"]
    assert reader.stats.left == 0
