"""The cache of copies: shared by processes, bounded, swept, and never trusted unread."""

import hashlib
import logging
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from nightjar_reader import ReaderError
from nightjar_reader.cache import CACHE, CACHE_BYTES, Cache, path_of

SIZE = 1000


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def digest(number: int) -> str:
    return hashlib.sha256(content(number)).hexdigest()


class Source:
    """Files of a server, with what was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def fetch(self, number: int):
        def write(copy: BinaryIO) -> None:
            self.asked.append(number)
            copy.write(content(number))

        return write

    def open(self, cache: Cache, number: int):
        return cache.open(digest(number), SIZE, self.fetch(number))


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_fetched_once_for_all(folder) -> None:
    source = Source()
    for _ in range(3):
        assert source.open(Cache(folder), 1).read() == content(1)
    assert source.asked == [1]
    assert names(folder) == {digest(1)}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_threads_with_caches_of_their_own_fetch_once(folder) -> None:
    source, start = Source(), threading.Barrier(8)

    def ask(_: int) -> bytes:
        start.wait()
        return source.open(Cache(folder), 1).read()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {content(1)}
    assert source.asked == [1]


def test_it_stays_within_its_bound_and_the_longest_unused_goes(folder) -> None:
    source, cache = Source(), Cache(folder, 3 * SIZE)
    for number in (1, 2, 3):
        source.open(cache, number).close()
        os.utime(folder / digest(number), (number, number))
    source.open(cache, 1).close()
    for number in (4, 5):
        source.open(cache, number).close()
    assert names(folder) == {digest(1), digest(4), digest(5)}


def test_what_is_open_is_not_evicted_and_what_does_not_fit_is_kept_in_memory(folder, caplog) -> None:
    source, cache = Source(), Cache(folder, 2 * SIZE)
    held = [source.open(cache, number) for number in (1, 2)]
    for number in (3, 4):
        with source.open(cache, number) as kept:
            assert kept.read() == path_of(kept).read_bytes() == content(number)
    assert names(folder) == {digest(1), digest(2)}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert CACHE_BYTES in caplog.text
    assert [file.read() for file in held] == [content(1), content(2)]


def test_a_file_whose_name_is_gone_stays_readable_and_is_fetched_again(folder) -> None:
    source, cache = Source(), Cache(folder)
    held = source.open(cache, 1)
    (folder / digest(1)).unlink()
    assert path_of(held).read_bytes() == content(1)
    assert source.open(cache, 1).read() == content(1)
    assert source.asked == [1, 1]


@pytest.mark.parametrize("planted", [b"x" * SIZE, b"short", b""])
def test_a_planted_or_rotten_copy_is_not_taken(folder, planted) -> None:
    source = Source()
    folder.mkdir(mode=0o700)
    (folder / digest(1)).write_bytes(planted)
    assert source.open(Cache(folder), 1).read() == content(1)
    assert (folder / digest(1)).read_bytes() == content(1)


def test_a_planted_link_is_not_followed(folder, tmp_path) -> None:
    source = Source()
    folder.mkdir(mode=0o700)
    (tmp_path / "other").write_bytes(b"kept")
    for name in (digest(1), f"{digest(1)}.part"):
        (folder / name).symlink_to(tmp_path / "other")
    assert source.open(Cache(folder), 1).read() == content(1)
    assert (tmp_path / "other").read_bytes() == b"kept"


def test_a_folder_where_others_may_write_is_refused_by_name(folder, tmp_path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(tmp_path)
    file.write_bytes(b"")
    for unsafe in (folder, link, file, file / "below"):
        with pytest.raises(ReaderError, match=f"{unsafe}.*{CACHE}"):
            Cache.chosen(unsafe)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_a_folder_of_another_user_is_refused(folder, monkeypatch, tmp_path, caplog) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(ReaderError, match="of user 12345"):
        Cache.chosen(folder)


def test_where_it_lies(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv(CACHE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    source = Source()
    source.open(Cache.chosen(), 1)
    assert names(tmp_path / "xdg" / "nightjar-reader") == {digest(1)}
    monkeypatch.setenv(CACHE, str(tmp_path / "said"))
    source.open(Cache.chosen(), 1)
    assert names(tmp_path / "said") == {digest(1)}
    monkeypatch.setenv(CACHE_BYTES, "10 GB")
    with pytest.raises(ReaderError, match=f"{CACHE_BYTES}: expected a number of bytes, found '10 GB'"):
        Cache.chosen()


def test_an_address_of_a_folder_is_that_folder(monkeypatch, tmp_path) -> None:
    """``file:///var/cache/x`` was a folder `file:` below the one of now."""
    monkeypatch.chdir(tmp_path)
    source = Source()
    source.open(Cache.chosen(f"file://{tmp_path}/argument"), 1)
    monkeypatch.setenv(CACHE, f"file://{tmp_path}/variable")
    source.open(Cache.chosen(), 1)
    monkeypatch.setenv(CACHE, "below")
    source.open(Cache.chosen(), 1)
    assert names(tmp_path) == {"argument", "variable", "below"}


NO_FOLDERS = {
    "": "it is empty",  # was the default folder
    " ": "it is empty",  # these were folders below the one of now
    "s3://bucket/x": "expected a folder of this machine, found s3://bucket/x",
    "file://var/cache": "which would be a host",
    "http://host/x": "cannot read http://",
    "~nobodyxx/c": "~ is known to shells alone",  # was a RuntimeError
    "../c": "it leads upwards",
}


@pytest.mark.parametrize("named", NO_FOLDERS)
def test_what_is_no_folder_is_refused_by_name(monkeypatch, tmp_path, named) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CACHE, raising=False)
    with pytest.raises(ReaderError, match=f"^cache: .*{re.escape(NO_FOLDERS[named])}"):
        Cache.chosen(named)
    monkeypatch.setenv(CACHE, named)
    with pytest.raises(ReaderError, match=f"^{CACHE}: .*{re.escape(NO_FOLDERS[named])}"):
        Cache.chosen()
    assert names(tmp_path) == set()


@pytest.mark.parametrize("limit", [-5, 1.5, True, "10"])
def test_what_is_no_number_of_bytes_is_refused_by_name(folder, limit) -> None:
    """A limit of -5 was taken, and nothing was ever kept."""
    with pytest.raises(ReaderError, match=f"^cache_bytes: expected a number of bytes, found {limit!r}$"):
        Cache.chosen(folder, limit)


def test_a_full_disk_or_a_missing_folder_is_no_end(folder, monkeypatch, caplog) -> None:
    source, cache = Source(), Cache(folder)
    folder.rmdir()
    assert source.open(cache, 1).read() == content(1)
    assert names(folder) == {digest(1)}
    done = subprocess.run(
        [sys.executable, "-c", FULL.format(here=str(Path(__file__)), folder=str(folder))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
    assert "kept in memory" in done.stderr
    assert names(folder) == {digest(1)}


# A limit on the size of files is met like a full disk, in the middle of a write.
FULL = """
import resource, runpy, signal
from nightjar_reader import cache
here = runpy.run_path({here!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (here["SIZE"] // 2,) * 2)
cache.Cache._in_memory = lambda self, digest, fetch: print("whole")
here["Source"]().open(cache.Cache(here["Path"]({folder!r})), 2)
"""

# Says that it has begun, and waits in the middle of a file.
WRITER = """
import runpy, sys, time
from pathlib import Path
from nightjar_reader.cache import Cache
here = runpy.run_path(sys.argv[1])
number = int(sys.argv[3])

def fetch(copy):
    copy.write(here["content"](number)[:-1])
    print("begun", flush=True)
    sys.stdin.read()

Cache(Path(sys.argv[2])).open(here["digest"](number), here["SIZE"], fetch)
"""


def killed_writer(folder: Path, number: int) -> None:
    line = [sys.executable, "-c", WRITER, str(Path(__file__)), str(folder), str(number)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "begun\n"
        assert f"{digest(number)}.part" in names(folder)
        writer.send_signal(signal.SIGKILL)


def test_what_killed_writers_leave_is_swept(folder) -> None:
    """Each left all that it had copied, for ever."""
    source = Source()
    for number in (1, 2, 1):
        killed_writer(folder, number)
        assert len(names(folder)) == 1
    assert source.open(Cache(folder), 1).read() == content(1)
    assert names(folder) == {digest(1)}


def test_a_child_neither_removes_nor_locks_what_its_parent_has(folder) -> None:
    source, cache = Source(), Cache(folder, SIZE)
    begun, go = threading.Event(), threading.Event()

    def fetch(copy: BinaryIO) -> None:
        begun.set()
        go.wait()
        copy.write(content(1))

    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.open, digest(1), SIZE, fetch)
        begun.wait()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        go.set()
        first.result().close()
    source.open(cache, 2).close()  # the child holds no lock on the other file, which can go
    assert names(folder) == {digest(2)}
    os.close(writing)  # it ends then, and also with this process
    assert os.waitpid(pid, 0)[1] == 0
    assert source.open(cache, 2).read() == content(2)
    assert source.asked == [2]
