"""Where releases lie. The only module that opens files."""

import atexit
import ctypes
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from nightjar_reader import address, forks
from nightjar_reader.endpoint import Endpoint
from nightjar_reader.errors import ReaderError

T = TypeVar("T")

_CHUNK = 1 << 20  # bytes of a read: few requests, little memory
_TRIES = 10  # of a request whose answer was misread
_PAUSE = 0.05  # seconds between two tries
_MISREAD = "INTERNAL_FAILURE"
"""Arrow's error, without a retry, when a busy server's answer is longer than the file requested."""


class _Finalizer:
    """Skips the shutdown of Arrow's AWS library in a forked child whose parent has used S3.

    That shutdown joins threads, which a child does not have, so it waits for ever. Without it the
    library's C++ destructors crash. So the child skips both, as children of `multiprocessing` do:
    Python ends as usual, and then the process exits at once.
    """

    def __init__(self) -> None:
        self.is_needed = False
        forks.register(self)

    def after_fork(self) -> None:
        """Skip the shutdown if the parent has begun to use the library."""
        if self.is_needed:
            atexit.unregister(pafs.ensure_s3_finalized)
            libc = ctypes.CDLL(None)
            if hasattr(libc, "on_exit"):  # glibc; handlers run last in first out, and this one is the last
                libc.on_exit(libc._exit, None)


_finalizer = _Finalizer()


class Files:
    """Read access to the files below one root; paths are relative and use forward slashes.

    Parameters
    ----------
    uri
        ``file:///folder``, the path of a folder, or ``s3://bucket/prefix``. The usual AWS_*
        variables name the S3 server and the keys. `nightjar_reader.address.parse` refuses
        anything else.
    """

    def __init__(self, uri: str) -> None:
        place = address.parse(uri)
        self._connected: pafs.FileSystem | None = None
        self._folder: Path | None = None
        if place.bucket:
            self._root = "/".join(filter(None, (place.bucket, place.path)))
            with forks.requests:
                self._connect()
            forks.register(self)
        else:
            self._folder, self._root = Path(place.path), place.path
            self._connected = pafs.LocalFileSystem()

    def after_fork(self) -> None:
        """Drop the connection, which serves one process; the next request connects anew."""
        self._connected = None

    def _connect(self) -> pafs.FileSystem:
        if self._connected is None:
            _finalizer.is_needed = True
            self._connected = Endpoint.from_environment().filesystem()
        return self._connected

    def uri(self, path: str) -> str:
        """The whole address of a path."""
        return (self._folder / path).as_uri() if self._folder else f"s3://{self._full(path)}"

    @property
    def is_remote(self) -> bool:
        """Whether files lie on a server."""
        return self._folder is None

    def local(self, path: str) -> Path | None:
        """Where the file lies on this machine; None where only `open` reaches it."""
        return self._folder / path if self._folder else None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def open(self, path: str) -> pa.NativeFile:
        """The file, for reads at any position; `FileNotFoundError` where there is none."""
        return self._retry(path, lambda: self._connect().open_input_file(self._full(path)))

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` where there is none."""
        with self.open(path) as file:
            content: bytes = self._retry(path, file.read)
        return content

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder; empty where there is no such folder."""
        selector = pafs.FileSelector(self._full(folder), allow_not_found=True)
        try:
            infos = self._retry(folder, lambda: self._connect().get_file_info(selector))
        except OSError as error:  # of a disk: a server's are no OSErrors
            raise ReaderError(
                f"{self.uri(folder)}: expected a folder that can be listed, found {error}; "
                "check the address, and who may read there"
            ) from error
        return [info.base_name for info in infos if info.is_file]

    def pieces(self, path: str) -> Iterator[bytes]:
        """The file from start to end; `FileNotFoundError` where there is none."""
        with self.open(path) as file:
            while piece := self._retry(path, partial(file.read, _CHUNK)):
                yield piece

    def _retry(self, path: str, request: Callable[[], T]) -> T:
        """Make a request, and retry it where Arrow does not; the error says what to check."""
        for tries_left in reversed(range(_TRIES)):
            try:
                with nullcontext() if self._folder else forks.requests:
                    return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if self._folder:
                    raise
                if not tries_left or _MISREAD not in str(error):
                    raise ReaderError(
                        f"{self.uri(path)}: cannot be read from {Endpoint.from_environment()} ({error}); "
                        "check AWS_ENDPOINT_URL, the keys in AWS_*, and that the server is well"
                    ) from error
                time.sleep(_PAUSE)
        raise AssertionError("unreachable")


def pieces_of(file: pa.NativeFile) -> Iterator[bytes]:
    """The bytes of an open local file, in pieces. Its position, which others may use, does not move."""
    at = 0
    while piece := os.pread(file.fileno(), _CHUNK, at):
        yield piece
        at += len(piece)


def hashed(pieces: Iterable[bytes], copy: BinaryIO | None = None) -> tuple[int, str]:
    """Length and SHA-256 of all pieces, which are also written to `copy`."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        if copy:
            copy.write(piece)
    return length, digest.hexdigest()
