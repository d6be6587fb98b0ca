"""One release's files, each compared with the manifest when it is first opened."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader_v1 import forks
from nightjar_reader_v1 import format as fmt
from nightjar_reader_v1.cache import CACHE, Cache, path_of
from nightjar_reader_v1.errors import (
    FormatError,
    NoRelease,
    NotInThisRelease,
    ReaderError,
    ReleaseCorrupt,
    ReleaseUnreadable,
    is_of_this_process,
)
from nightjar_reader_v1.files import Files, hashed, pieces_of
from nightjar_reader_v1.once import Once
from nightjar_reader_v1.search import Floats

T = TypeVar("T")


class CopyChanged(ReaderError):
    """A copy in the cache is not what was fetched; it is fetched anew when it is next opened."""


def retry_changed(make: Callable[[], T]) -> T:
    """Call `make`; call it once more if a copy that it read had changed."""
    try:
        return make()
    except CopyChanged:
        return make()


class VerifiedFiles:
    """The files of a published release, opened by its id.

    Parameters
    ----------
    files
        The releases root.
    cache
        Where copies of the files of a remote release lie.
    release_id
        Its id.
    manifest_sha256
        The digest in the ledger; None for a release that is pinned by its id alone.
    verify
        Whether a file's length and digest are compared with the manifest when it is first opened. A
        file of a remote release is then copied to this machine.

    Raises
    ------
    NoRelease
        When a pinned release is missing.
    ReleaseCorrupt
        When the manifest is missing or is not the published one.
    """

    def __init__(
        self,
        files: Files,
        cache: Cache,
        release_id: str,
        manifest_sha256: str | None = None,
        *,
        verify: bool = True,
    ) -> None:
        self.release_id = release_id
        self._files = files
        self._cache = cache
        self._verify = verify
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._local: Once[tuple[Path, pa.OSFile]] = Once()
        self.manifest, self.manifest_sha256 = self._read_manifest(manifest_sha256)

    def _read_manifest(self, sha256: str | None) -> tuple[fmt.Manifest, str]:
        uri, content = self._files.uri(fmt.manifest_path(self.release_id)), self._manifest_bytes(sha256)
        digest = fmt.sha256(content)
        if sha256 not in (None, digest):
            raise ReleaseCorrupt(uri, f"sha256 {sha256}", f"sha256 {digest}")
        mismatch = ReleaseCorrupt(uri, f"the manifest of {self.release_id}", f"sha256 {digest}")
        if digest[:12] != self.release_id[-12:]:
            raise mismatch
        try:
            manifest = fmt.parse(content)
        except FormatError as error:
            raise self.unreadable(fmt.MANIFEST, error) from error
        if fmt.release_id(content) != self.release_id:
            raise mismatch
        lists = map(fmt.lists_path, range(manifest.buckets))
        if missing := sorted({fmt.POPULAR, fmt.ITEMS, *lists} - manifest.files.keys()):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise self.unreadable(fmt.MANIFEST, f"a manifest without {missing[0]}{more}")
        return manifest, digest

    def _manifest_bytes(self, sha256: str | None) -> bytes:
        path = fmt.manifest_path(self.release_id)
        try:
            with self._damage_as_corrupt(path, f"sha256 {sha256}"):
                return self._files.read(path)
        except ReleaseCorrupt as error:
            if sha256 is None and isinstance(error.__cause__, FileNotFoundError):
                raise NoRelease(f"{self._files.uri(path)}: no such release; ids are in the ledger") from None
            raise

    @contextmanager
    def _damage_as_corrupt(self, path: str, expected: str) -> Iterator[None]:
        """Raise `ReleaseCorrupt` for a file that is missing, or that its disk does not give."""
        try:
            yield
        except FileNotFoundError as error:
            raise ReleaseCorrupt(self._files.uri(path), expected, "no file") from error
        except OSError as error:  # of a disk: a server's are no OSErrors
            if is_of_this_process(error):
                raise
            raise ReleaseCorrupt(self._files.uri(path), expected, str(error)) from error

    def has(self, file: str) -> bool:
        """Whether the release holds a file."""
        return file in self.manifest.files

    @property
    def is_remote(self) -> bool:
        """Whether `open` reads from the server, and not a verified copy."""
        return not self._verify and self._files.is_remote

    def require(self, file: str) -> None:
        """Raise `NotInThisRelease` if the release has no such file."""
        if not self.has(file):
            raise NotInThisRelease(f"release {self.release_id} has no {file}")

    def open(self, file: str) -> pa.NativeFile:
        """A file, for reads at any position; a remote one that is not verified stays on the server.

        Raises
        ------
        NotInThisRelease
            When the release has no such file.
        ReleaseCorrupt
            When the file is missing, cut, or changed.
        """
        self.require(file)
        if self.is_remote:
            with self._damage_as_corrupt(*self._expected(file)):
                return self._files.open(fmt.release_path(self.release_id, file))
        return self._open_here(file)

    def _open_here(self, file: str) -> pa.OSFile:
        path = self._files.local(fmt.release_path(self.release_id, file))
        if path is None:
            entry = self.manifest.files[file]
            return self._cache.open(entry.sha256, entry.bytes, partial(self._check, file))
        with self._damage_as_corrupt(*self._expected(file)):
            opened = pa.OSFile(str(path))
            self.check_open(file, opened)
            return opened

    @contextmanager
    def reading(self, file: str, opened: pa.NativeFile) -> Iterator[None]:
        """A context for each read from an open file, verified as `check_open` does."""
        self.check_open(file, opened)
        with forks.requests if self._files.is_remote else nullcontext():
            yield

    def check_open(self, file: str, opened: pa.NativeFile) -> None:
        """Verify an open file, unless this process has done so since the last write to it.

        Raises
        ------
        ReleaseCorrupt
            When a file of a local release is not what was published.
        CopyChanged
            When it is a copy, and not what was fetched.
        """
        if self._is_copy(opened):
            self._check_copy(file, opened)
        elif self._verify and not self._files.is_remote:
            state = os.fstat(opened.fileno())
            identity = (state.st_ino, state.st_size, state.st_mtime_ns)
            if self._verified.get(file) != identity:
                self._compare(file, hashed(pieces_of(opened)))
                self._verified[file] = identity

    def _is_copy(self, opened: pa.NativeFile | None) -> bool:
        return self._files.is_remote and isinstance(opened, pa.OSFile)  # a file on the server is none

    def _check_copy(self, file: str, opened: pa.OSFile, *, again: bool = False) -> None:
        entry = self.manifest.files[file]
        if not self._cache.is_whole(entry.sha256, entry.bytes, opened, again=again):
            path, expected = self._expected(file)
            raise CopyChanged(
                f"{self._files.uri(path)}: expected {expected}, found another copy of it in the cache each "
                f"time; name a folder on another disk in {CACHE}"
            )

    def _expected(self, file: str) -> tuple[str, str]:
        entry = self.manifest.files[file]
        path = fmt.release_path(self.release_id, file)
        return path, f"{entry.bytes} bytes, sha256 {entry.sha256}"

    def _compare(self, file: str, actual: tuple[int, str]) -> None:
        entry, (path, expected) = self.manifest.files[file], self._expected(file)
        if actual != (entry.bytes, entry.sha256):
            raise ReleaseCorrupt(self._files.uri(path), expected, f"{actual[0]} bytes, sha256 {actual[1]}")

    def _check(self, file: str, copy: BinaryIO | None = None) -> None:
        """Compare a file at the releases root with the manifest, and copy what is read."""
        actual = hashed(self._pieces(file), copy)
        entry = self.manifest.files[file]
        if actual != (entry.bytes, entry.sha256) and self._files.is_remote:
            # The network may have changed the bytes, which is no damage to the release.
            if copy:
                copy.seek(0)
                copy.truncate()
            actual = hashed(self._pieces(file), copy)
        self._compare(file, actual)

    def _pieces(self, file: str) -> Iterator[bytes]:
        """The pieces of a file at the releases root; only errors of reading them are damage."""
        path, expected = self._expected(file)
        with self._damage_as_corrupt(path, expected):
            yield from self._files.pieces(path)

    def verify_all(self, first: str = "") -> None:
        """Verify every file of the release now; `ReleaseCorrupt` names the first bad one.

        Parameters
        ----------
        first
            The address of the file that is verified first.
        """
        for file in sorted(self.manifest.files, key=lambda file: (not first.endswith(f"/{file}"), file)):
            self._check(file)

    def local(self, file: str) -> Path:
        """A path to the verified file on this machine, valid as long as this object lives."""
        return self._held(file)[0]

    def _held(self, file: str) -> tuple[Path, pa.OSFile]:
        return self._local.get(file, partial(self._hold, file))

    def _hold(self, file: str) -> tuple[Path, pa.OSFile]:
        self.require(file)
        opened = self._open_here(file)
        path = self._files.local(fmt.release_path(self.release_id, file))
        return path or path_of(opened), opened

    def loaded(self, file: str, load: Callable[[Path], T]) -> T:
        """What is loaded from a path that `local` gives."""
        return retry_changed(partial(self._load, file, load))

    def _load(self, file: str, load: Callable[[Path], T]) -> T:
        held = self._held(file)
        try:
            with self.as_format_says(file, held[1]):
                self.check_open(file, held[1])
                return load(held[0])
        except CopyChanged:
            self._local.drop(file, held)
            raise

    def table(self, file: str, columns: Sequence[str]) -> pa.Table:
        """These columns of a whole Parquet file, each in one piece."""
        self.require(file)
        return retry_changed(partial(self._table, file, columns))

    def _table(self, file: str, columns: Sequence[str]) -> pa.Table:
        with self._open_here(file) as source, self.as_format_says(file, source):
            return pq.ParquetFile(source).read().select(columns).combine_chunks()

    def array(self, file: str) -> Floats:
        """A ``.npy`` file, mapped."""
        return self.loaded(file, _mapped)

    @contextmanager
    def as_format_says(self, file: str, opened: pa.NativeFile | None = None) -> Iterator[None]:
        """Raise `ReleaseUnreadable` if a file is the published one and yet cannot be decoded.

        Parameters
        ----------
        opened
            The open file, if the block reads from it.
        """
        try:
            yield
        except (ReaderError, MemoryError):
            raise
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            if isinstance(error, OSError) and is_of_this_process(error):
                raise
            # The file may have changed since it was opened.
            if self._is_copy(opened):
                self._check_copy(file, opened, again=True)
            else:
                self._check(file)
            if isinstance(error, OSError) and self.is_remote:
                raise ReaderError(f"{self._files.uri(self._expected(file)[0])}: {error}") from error
            raise self.unreadable(file, error) from error

    def unreadable(self, file: str, error: Exception | str) -> ReleaseUnreadable:
        """The error for a file that is as published and yet not as the format says."""
        uri = self._files.uri(fmt.release_path(self.release_id, file))
        return ReleaseUnreadable(uri, f"what format {fmt.FORMAT} says", str(error))


def _mapped(path: Path) -> Floats:
    factors: Floats = np.load(path, mmap_mode="r", allow_pickle=False)
    if factors.ndim != 2 or factors.dtype != np.float32:
        raise ValueError(f"{factors.dtype} {factors.shape}")
    return factors
