"""Local copies of the files of remote releases, shared by all processes of a user on this machine."""

import fcntl
import io
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from nightjar_reader import address, forks
from nightjar_reader.errors import ReaderError
from nightjar_reader.fields import is_integer
from nightjar_reader.files import hashed, pieces_of

CACHE = "NIGHTJAR_READER_CACHE"
"""The folder for copies of files, a path or `file:///folder`; by default `~/.cache/nightjar-reader`."""
CACHE_BYTES = "NIGHTJAR_READER_CACHE_BYTES"
"""How many bytes the folder may hold, by default 4 GiB: at least the releases before and after a refresh."""
DEFAULT_BYTES = 4 << 30

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART = ".part"
_PAUSE = 0.02  # seconds between two tries to lock: short beside a download, long beside a try
_PATIENCE = 60.0
"""Seconds without progress after which a process stops waiting for the copy that another one makes."""

_log = logging.getLogger(__name__)

Identity = tuple[int, int, int, int]
"""Device, inode, size and last write of a verified file. A file of another identity is read again."""

Fetch = Callable[[BinaryIO], None]
"""Writes a file's verified content, or raises."""


class _NotKept(Exception):
    """Why a file cannot be kept on disk."""


class Cache:
    """A folder of files that are named by their SHA-256.

    A file is written under another name and a lock, and renamed when it is whole and verified. Locks
    are the kernel's (``flock``) and end with their process: the next writer takes over or sweeps what
    a killed process left. A file that some process has open is not evicted. A file that cannot be
    kept on disk is kept in the memory of this process.

    Parameters
    ----------
    folder
        Where the files lie; made if it is missing. None keeps everything in memory.
    limit
        How many bytes the folder may hold; the files opened longest ago go first.

    Raises
    ------
    ReaderError
        When the folder cannot be made, or another user may write there.
    """

    def __init__(self, folder: Path | None, limit: int = DEFAULT_BYTES) -> None:
        self._folder = folder
        self._limit = limit
        self._has_warned = False
        self._verified: set[tuple[str, Identity]] = set()
        if folder is not None and (reason := _why_unsafe(folder)):
            raise ReaderError(reason)

    @classmethod
    def chosen(cls, folder: str | Path | None = None, limit: int | None = None) -> "Cache":
        """The cache of the arguments, else of the environment, else of the user.

        A folder is a path or ``file:///folder``. Without one it is ``nightjar-reader`` in
        ``XDG_CACHE_HOME`` or ``~/.cache``. If that is impossible, it is ``nightjar-reader-<uid>`` in
        the folder for temporary files.

        Raises
        ------
        ReaderError
            When the folder or the limit is invalid; the message says which, and what was expected.
        """
        size = _limit_from_environment() if limit is None else _limit("cache_bytes", limit)
        if folder is not None:
            return cls(_folder("cache", str(folder)), size)
        if (folder_text := os.environ.get(CACHE)) is not None:
            return cls(_folder(CACHE, folder_text), size)
        for default in _default_folders():
            with suppress(ReaderError):
                return cls(default, size)
        _log.warning("no folder for copies of files, which are kept in memory; name one in %s", CACHE)
        return cls(None, size)

    def open(self, digest: str, size: int, fetch: Fetch) -> pa.OSFile:
        """Open the file of this digest and size; the first open in this process verifies it.

        Parameters
        ----------
        digest
            Its SHA-256, 64 hex digits.
        size
            Its length in bytes.
        fetch
            Called if the file is missing, by one process at a time.
        """
        try:
            if self._folder is None or not _DIGEST.fullmatch(digest):
                return self._in_memory(digest, fetch)
            return self._on_disk(self._folder / digest, size, fetch)
        except (_NotKept, OSError) as error:  # of the disk: a server's are no OSErrors
            self._warn(f"{self._folder}: {error}")
            return self._in_memory(digest, fetch)

    def is_whole(self, digest: str, size: int, file: pa.OSFile, *, again: bool = False) -> bool:
        """Whether an open copy is still what was fetched. It is read again if it was written to since.

        Parameters
        ----------
        again
            Read it even if its times are the same, as they are when a disk fails.
        """
        verified = (digest, _identity(file))
        if verified in self._verified and not again:
            return True
        self._verified.discard(verified)
        with suppress(OSError):
            if hashed(pieces_of(file)) == (size, digest):
                self._verified.add(verified)
        return verified in self._verified

    def _in_memory(self, digest: str, fetch: Fetch) -> pa.OSFile:
        file = _in_memory(fetch)
        self._verified.add((digest, _identity(file)))
        return file

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("%s; kept in memory what is not kept there (see %s, %s)", reason, CACHE, CACHE_BYTES)

    def _on_disk(self, path: Path, size: int, fetch: Fetch) -> pa.OSFile:
        if (file := self._open_cached(path, size)) is not None:
            return file
        if reason := _why_unsafe(path.parent):
            raise _NotKept(reason)
        with _locked_part(path) as part:
            # Another process may have fetched the file while this one waited.
            if (file := self._open_cached(path, size)) is None:
                self._make_room(path.parent, size)
                file = self._download(path, size, part, fetch)
            return file

    def _open_cached(self, path: Path, size: int) -> pa.OSFile | None:
        """Open the file if it is whole and this user's; remove any other."""
        try:
            file = _open_shared(path)
        except OSError:
            return None
        is_ours = os.fstat(file.fileno()).st_uid == os.geteuid()
        if not is_ours or not self.is_whole(path.name, size, file):
            file.close()
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # nothing is evicted from a read-only folder
            _note_use(file)
        return file

    def _download(self, path: Path, size: int, part: io.FileIO, fetch: Fetch) -> pa.OSFile:
        fetch(part)
        state = os.fstat(part.fileno())
        if state.st_size != size:  # the disk became full and cut the last write
            raise _NotKept(f"{state.st_size} of {size} bytes could be written")
        path.with_suffix(_PART).rename(path)
        file = pa.OSFile(str(path))
        fcntl.flock(part, fcntl.LOCK_SH)  # until the file has a lock of its own
        fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        self._verified.add((path.name, _identity(file)))
        return file

    def _make_room(self, folder: Path, size: int) -> None:
        """Sweep what killed processes left, then evict until the file fits."""
        files = _files_by_age(folder)
        for path in [path for path in files if path.suffix == _PART]:
            _remove_unused(path)
        sizes = {path: state.st_size for path, state in files.items() if path.suffix != _PART}
        total = sum(sizes.values())
        for path, length in sizes.items():
            if self._fits(folder, total, size):
                return
            total -= length if _remove_unused(path) else 0
        if not self._fits(folder, total, size):
            raise _NotKept(
                f"no room for {size} bytes: files in use take {total} of {self._limit}, "
                f"and {shutil.disk_usage(folder).free} are free on the disk"
            )

    def _fits(self, folder: Path, total: int, size: int) -> bool:
        return total + size <= self._limit and size <= shutil.disk_usage(folder).free


def path_of(file: pa.OSFile) -> Path:
    """A path to an open file, also after its name is gone."""
    return Path(f"/proc/self/fd/{file.fileno()}")


def _identity(file: pa.OSFile) -> Identity:
    state = os.fstat(file.fileno())
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _note_use(file: pa.OSFile) -> None:
    """Make an open file the last to be evicted. The time of its last write, part of its `Identity`, stays."""
    os.utime(file.fileno(), ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))


def _in_memory(fetch: Fetch) -> pa.OSFile:
    """A file without a name, which the kernel frees with the process."""
    with open(os.memfd_create("nightjar-reader"), "wb") as memory:
        fetch(memory)
        memory.flush()
        return pa.OSFile(f"/proc/self/fd/{memory.fileno()}")


def _why_unsafe(folder: Path) -> str | None:
    """Make the folder if it is missing; returns why it is not safe to use, None if it is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        return f"{folder}: cannot be made ({error}); name another folder in {CACHE}"
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o022:
        return None
    return (
        f"{folder}: expected a folder of user {os.geteuid()} where nobody else may write, found "
        f"{stat.filemode(state.st_mode)} of user {state.st_uid}; chmod 700 it, or name another in {CACHE}"
    )


def _default_folders() -> Iterator[Path]:
    with suppress(RuntimeError):  # a user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightjar-reader"
    yield Path(tempfile.gettempdir()) / f"nightjar-reader-{os.geteuid()}"


def _folder(name: str, text: str) -> Path:
    """The folder that `text`, the value of an argument or variable, names."""
    try:
        place = address.parse(text)
    except ReaderError as error:
        raise ReaderError(f"{name}: {error}") from error
    if place.bucket:
        raise ReaderError(f"{name}: expected a folder of this machine, found {place.uri}")
    return Path(place.path)


def _limit_from_environment() -> int:
    text = os.environ.get(CACHE_BYTES, str(DEFAULT_BYTES))
    return _limit(CACHE_BYTES, int(text) if re.fullmatch("[0-9]{1,18}", text) else text)


def _limit(name: str, limit: object) -> int:
    if not isinstance(limit, int) or not is_integer(limit):
        raise ReaderError(f"{name}: expected a number of bytes, found {limit!r}")
    return limit


def _open_shared(path: Path) -> pa.OSFile:
    """Open a file under a shared lock, which keeps it from being evicted."""
    if path.is_symlink():
        raise OSError(f"{path}: a symbolic link")
    file = pa.OSFile(str(path))
    fcntl.flock(file.fileno(), fcntl.LOCK_SH)
    return file


class _Parts:
    """The files that this process writes. A forked child closes its handles, or they would keep the locks."""

    def __init__(self) -> None:
        self.open: set[io.FileIO] = set()
        forks.register(self)

    def after_fork(self) -> None:
        """Close the child's handles; the parent keeps its own."""
        for part in self.open:
            part.close()
        self.open = set()


_parts = _Parts()


@contextmanager
def _locked_part(path: Path) -> Iterator[io.FileIO]:
    """The file to write before it gets its name: empty, and locked for this thread."""
    part = _lock(path.with_suffix(_PART))
    try:
        part.truncate(0)
        yield part
    finally:
        if _is_at(part, path.with_suffix(_PART)):
            path.with_suffix(_PART).unlink()
        _release(part)


def _lock(path: Path) -> io.FileIO:
    """Open and lock the file; waits for another writer as long as that one makes progress."""
    last_size, deadline = -1, 0.0
    while True:
        part = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
        _parts.open.add(part)
        if _try_lock(part) and _is_at(part, path):
            return part
        size = os.fstat(part.fileno()).st_size
        _release(part)
        if size != last_size:
            last_size, deadline = size, time.monotonic() + _PATIENCE
        elif time.monotonic() > deadline:
            raise TimeoutError(f"{path}: locked, and not written to for {_PATIENCE:.0f} s")
        time.sleep(_PAUSE)


def _try_lock(file: io.FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: io.FileIO, path: Path) -> bool:
    """Whether an open file still has that name: it may have been renamed, or swept."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    return False


def _release(file: io.FileIO) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # also if a child has a copy of the handle
    _parts.open.discard(file)
    file.close()


def _remove_unused(path: Path) -> bool:
    """Remove a file unless a process has it open; returns whether it was removed."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW))
    except OSError:
        return False
    with file:
        is_unused = _try_lock(file) and _is_at(file, path)
        if is_unused:
            path.unlink()
        return is_unused


def _files_by_age(folder: Path) -> dict[Path, os.stat_result]:
    """Our files, least recently opened first."""
    states = {}
    for path in folder.iterdir():
        if _DIGEST.fullmatch(path.stem) and path.suffix in ("", _PART):
            with suppress(FileNotFoundError):
                states[path] = path.lstat()
    return dict(sorted(states.items(), key=lambda item: (_last_use(item[1]), item[0])))


def _last_use(state: os.stat_result) -> int:
    return max(state.st_atime_ns, state.st_mtime_ns)
