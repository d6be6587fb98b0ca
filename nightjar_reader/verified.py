"""One release's files, each compared with the manifest when it is first opened."""

import shutil
import weakref
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nightjar_reader import format as fmt
from nightjar_reader.errors import NoRelease, NotInThisRelease, ReleaseCorrupt
from nightjar_reader.files import Files
from nightjar_reader.search import Floats


class VerifiedFiles:
    """The files of a published release, opened by its id.

    Parameters
    ----------
    files
        The releases root.
    release_id
        Which one.
    manifest_sha256
        What the ledger says of its manifest; None for a release that is pinned by its id alone.
    verify
        Whether a file's length and digest are compared with the manifest when it is first opened. Of
        a release that lies elsewhere each file that is asked for is then copied to this machine.

    Raises
    ------
    NoRelease
        When a pinned release is not there.
    ReleaseCorrupt
        When the manifest is missing or is not the published one.
    """

    def __init__(
        self, files: Files, release_id: str, manifest_sha256: str | None = None, *, verify: bool = True
    ) -> None:
        self.release_id = release_id
        self._files = files
        self._verify = verify
        self._local: dict[str, Path] = {}
        self.manifest = fmt.parse(self._manifest_bytes(manifest_sha256))

    def _manifest_bytes(self, sha256: str | None) -> bytes:
        path = fmt.manifest_path(self.release_id)
        try:
            content = self._files.read(path)
        except FileNotFoundError:
            if sha256 is None:
                raise NoRelease(f"{self._files.uri(path)}: no such release; ids are in the ledger") from None
            raise ReleaseCorrupt(self._files.uri(path), f"sha256 {sha256}", "no file") from None
        found = fmt.sha256(content)
        if sha256 not in (None, found):
            raise ReleaseCorrupt(self._files.uri(path), f"sha256 {sha256}", f"sha256 {found}")
        if found[:12] != self.release_id[-12:] or fmt.release_id(content) != self.release_id:
            raise ReleaseCorrupt(
                self._files.uri(path), f"the manifest of {self.release_id}", f"sha256 {found}"
            )
        return content

    def has(self, file: str) -> bool:
        """Whether the release holds a file."""
        return file in self.manifest.files

    def local(self, file: str) -> Path:
        """Where the file lies on this machine, once it is verified.

        Of a release that lies elsewhere it is a temporary copy, which goes when this object does.

        Raises
        ------
        NotInThisRelease
            When the release has no such file.
        ReleaseCorrupt
            When the file is missing, cut, or changed.
        """
        self._require(file)
        if file not in self._local:
            self._local[file] = self._verified_path(file) or self._fetch(file)
        return self._local[file]

    def _require(self, file: str) -> None:
        if not self.has(file):
            raise NotInThisRelease(f"release {self.release_id} has no {file}")

    def _verified_path(self, file: str) -> Path | None:
        path = self._files.local(fmt.release_path(self.release_id, file))
        if path and self._verify:
            self._check(file)
        return path

    def _fetch(self, file: str) -> Path:
        with NamedTemporaryFile(dir=self._scratch, delete=False) as copy:
            self._check(file, copy)  # type: ignore[arg-type]
        return Path(copy.name)

    @cached_property
    def _scratch(self) -> str:
        folder = mkdtemp(prefix="nightjar-reader-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _check(self, file: str, copy: BinaryIO | None = None) -> None:
        """Compare a file with the manifest, and copy what is read."""
        path, entry = fmt.release_path(self.release_id, file), self.manifest.files[file]
        expected = f"{entry.bytes} bytes, sha256 {entry.sha256}"
        try:
            length, digest = self._files.sha256(path, copy)
        except FileNotFoundError:
            raise ReleaseCorrupt(self._files.uri(path), expected, "no file") from None
        if (length, digest) != (entry.bytes, entry.sha256):
            raise ReleaseCorrupt(self._files.uri(path), expected, f"{length} bytes, sha256 {digest}")

    def verify_all(self) -> None:
        """Verify every file of the release now; `ReleaseCorrupt` names the first bad one."""
        for file in sorted(self.manifest.files):
            self._check(file)

    def table(self, file: str) -> pa.Table:
        """A whole Parquet file."""
        with self.open(file) as source:
            return pq.read_table(source)

    def array(self, file: str) -> Floats:
        """A ``.npy`` file, mapped."""
        factors: Floats = np.load(self.local(file), mmap_mode="r", allow_pickle=False)
        return factors

    def open(self, file: str) -> pa.NativeFile:
        """A file, for reads at any position; on the server where it is neither verified nor here."""
        self._require(file)
        if self._verify:
            return pa.OSFile(str(self.local(file)))
        return self._files.open(fmt.release_path(self.release_id, file))

    def corrupt(self, file: str, expected: str, found: str) -> ReleaseCorrupt:
        """The error for a file that is as published and yet not as the format says."""
        return ReleaseCorrupt(self._files.uri(fmt.release_path(self.release_id, file)), expected, found)
