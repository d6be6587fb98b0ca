"""Files below one root, behind one interface whose only write is create-only.

A file that exists is never changed, and is removed by maintenance alone. So a reader sees a whole file or
none. Of two writers of one path exactly one wins, and the other learns of it.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

from lake.disk import room_for, sha256_of
from lake.errors import ConfigError, NightjarError, PermanentError
from nightjar_reader import address
from nightjar_reader.errors import ReaderError

_CHUNK = 1 << 20  # bytes in memory at once while a file is copied


class Storage(Protocol):
    """Where files lie; every path is relative to `root` and uses forward slashes."""

    @property
    def root(self) -> str:
        """The root as a URI, without a slash at its end."""

    def uri(self, path: str) -> str:
        """The whole address of a path."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def size(self, path: str) -> int:
        """The file's length in bytes."""

    def version(self, path: str) -> str:
        """A text that changes whenever the content may have changed; `FileNotFoundError` without a file."""

    def sha256(self, path: str) -> str:
        """The digest of the file's bytes, in hex."""

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` where there is none."""

    def open(self, path: str) -> BinaryIO:
        """The file, for reads in any order; `FileNotFoundError` where there is none."""

    def fetched(self, path: str) -> AbstractContextManager[Path]:
        """The file's content as a local file, to be read only while the context lasts."""

    def list(self, prefix: str) -> list[str]:
        """All files below a folder, sorted; empty where there is no such folder.

        Raises
        ------
        NightjarError
            When a folder cannot be read, lest somebody take it for an empty one.
        """

    def put_new(self, path: str, data: bytes) -> bool:
        """Create the file durably; False, changing nothing, where it exists.

        Raises
        ------
        PermanentError
            When its path, or that of a folder above it, is taken by something of another kind.
        """

    def put_file(self, path: str, source: Path) -> bool:
        """`put_new` with the content of a local file."""

    def remove(self, folder: str) -> None:
        """Remove a folder with all files below it; it may be gone already.

        For maintenance alone. What it is cut off from goes when it is called again.
        """

    def delta(self) -> dict[str, str]:
        """The options that delta-rs needs to reach this place by its URI."""


class LocalStorage:
    """`Storage` in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @property
    def root(self) -> str:
        """The folder as a URI."""
        return self._folder.as_uri()

    def local(self, path: str) -> Path:
        """Where a path lies on this machine."""
        return self._folder / path

    def uri(self, path: str) -> str:
        """See `Storage.uri`."""
        return self.local(path).as_uri()

    def exists(self, path: str) -> bool:
        """See `Storage.exists`."""
        return self.local(path).is_file()

    def size(self, path: str) -> int:
        """See `Storage.size`."""
        status = self.local(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "this is no file", str(self.local(path)))
        return status.st_size

    def version(self, path: str) -> str:
        """See `Storage.version`."""
        status = self.local(path).stat()
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def sha256(self, path: str) -> str:
        """See `Storage.sha256`."""
        with _refuse_folder():
            return sha256_of(self.local(path))

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        with _refuse_folder():
            return self.local(path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        """See `Storage.open`."""
        with _refuse_folder():
            return self.local(path).open("rb")

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """See `Storage.fetched`: the file itself."""
        yield self.local(path)

    def list(self, prefix: str) -> list[str]:
        """See `Storage.list`; files whose name starts with a dot are half-written and left out."""
        return sorted(self._walk(self.local(prefix)))

    def _walk(self, folder: Path) -> Iterator[str]:
        folders, files = _content(folder)
        for name in files:
            if not name.startswith("."):
                yield (folder / name).relative_to(self._folder).as_posix()
        for name in folders:
            yield from self._walk(folder / name)

    def put_new(self, path: str, data: bytes) -> bool:
        """See `Storage.put_new`: an fsynced temporary file, linked to its name."""
        return self._create(path, lambda file: file.write(data))

    def put_file(self, path: str, source: Path) -> bool:
        """See `Storage.put_file`."""
        with source.open("rb") as content:
            return self._create(path, lambda file: shutil.copyfileobj(content, file, _CHUNK))

    def _create(self, path: str, fill: Callable[[BinaryIO], object]) -> bool:
        target = self.local(path)
        if _exists(target):
            return False
        with room_for(target):
            _make_folder(target.parent)
            return _link_new(fill, target)

    def remove(self, folder: str) -> None:
        """See `Storage.remove`."""
        try:
            shutil.rmtree(self.local(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise NightjarError(
                f"{error.filename}: expected something that can be removed, found {error.strerror}; "
                "mend its permissions or its disk, then run again"
            ) from error

    def delta(self) -> dict[str, str]:
        """See `Storage.delta`."""
        return {}


@contextmanager
def _refuse_folder() -> Iterator[None]:
    """Raise `FileNotFoundError` where a folder has the file's name."""
    try:
        yield
    except IsADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, "this is a folder, no file", error.filename) from error


def _content(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder; none where it does not exist.

    `os.walk` passes over a folder that it cannot read, so that a day's record would seem to be missing.
    """
    folders, files = [], []
    with _readable(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.is_file(follow_symlinks=False) or Path(entry.path).is_file():
                files.append(entry.name)
    return folders, files


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if folder.is_symlink():  # perhaps to a disk that is not mounted
            raise _obstructed(folder, "folder") from error
    except NotADirectoryError as error:
        raise _obstructed(folder, "folder") from error
    except OSError as error:
        raise NightjarError(
            f"{folder}: expected a folder that can be read, found {error.strerror}; "
            "mend its permissions or its disk, then run again"
        ) from error


def _exists(target: Path) -> bool:
    """Whether there is a file; `PermanentError` where something else has its name for good."""
    if not os.path.lexists(target):
        return False
    if not target.is_file():
        raise _obstructed(target, "file")
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _obstructed(folder, "folder") from error


def _obstructed(path: Path, kind: str) -> PermanentError:
    """The error where something of another kind has a path, or one above it."""
    above = (parent for parent in path.parents if os.path.lexists(parent) and not parent.is_dir())
    wrong = next(above, path)
    expected = kind if wrong == path else "folder"
    return PermanentError(
        f"{wrong}: expected a {expected} or nothing, found {_kind(wrong)}; move it elsewhere, then run again"
    )


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.is_file():
        return "a file"
    return "a link to nothing" if path.is_symlink() else "something that is no file"


def _link_new(fill: Callable[[BinaryIO], object], target: Path) -> bool:
    """Fill a temporary file and link it to its name; whatever happens, the temporary name is gone after."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.link(temporary, target)
    except FileExistsError:
        return not _exists(target)
    finally:
        os.unlink(temporary)
    _sync(target.parent)
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_equal(storage: Storage, path: str, source: Path, otherwise: str) -> None:
    """Put a file where there is none, or one of the same bytes.

    Parameters
    ----------
    otherwise
        What a file of other bytes means, and what to do: the end of the message.

    Raises
    ------
    PermanentError
        When there is one of other bytes.
    """
    if not storage.put_file(path, source) and storage.sha256(path) != sha256_of(source):
        raise PermanentError(f"{storage.uri(path)} is there with other bytes{otherwise}")


@cache
def open_storage(uri: str) -> Storage:
    """Open the storage at an address.

    Parameters
    ----------
    uri
        ``file:///folder``, the path of a folder, or ``s3://bucket/prefix``.

    Raises
    ------
    ConfigError
        When it is no such address.
    """
    try:
        place = address.parse(uri)
    except ReaderError as error:
        raise ConfigError(str(error)) from error
    if place.bucket:
        from lake.s3 import S3Storage

        return S3Storage(uri)
    return LocalStorage(Path(place.path))
