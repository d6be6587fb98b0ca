"""One release's files, each compared with the manifest when it is first opened."""

from io import BytesIO
from pathlib import Path

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
        Whether a file's length and digest are compared with the manifest when it is first opened.

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
        self._verified: set[str] = set()
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

    def path(self, file: str) -> str:
        """The file's path below the releases root, once its content is verified.

        Raises
        ------
        NotInThisRelease
            When the release has no such file.
        ReleaseCorrupt
            When the file is missing, cut, or changed.
        """
        if not self.has(file):
            raise NotInThisRelease(f"release {self.release_id} has no {file}")
        if self._verify and file not in self._verified:
            self._check(file)
            self._verified.add(file)
        return fmt.release_path(self.release_id, file)

    def _check(self, file: str) -> None:
        path, entry = fmt.release_path(self.release_id, file), self.manifest.files[file]
        expected = f"{entry.bytes} bytes, sha256 {entry.sha256}"
        try:
            length, digest = self._files.sha256(path)
        except FileNotFoundError:
            raise ReleaseCorrupt(self._files.uri(path), expected, "no file") from None
        if (length, digest) != (entry.bytes, entry.sha256):
            raise ReleaseCorrupt(self._files.uri(path), expected, f"{length} bytes, sha256 {digest}")

    def verify_all(self) -> None:
        """Verify every file of the release now; `ReleaseCorrupt` names the first bad one."""
        for file in sorted(self.manifest.files):
            self._check(file)
            self._verified.add(file)

    def table(self, file: str) -> pa.Table:
        """A whole Parquet file."""
        with self.open(file) as source:
            return pq.read_table(source)

    def array(self, file: str) -> Floats:
        """A ``.npy`` file, mapped where it lies on this machine."""
        local = self._files.local(self.path(file))
        if local is not None:
            factors: Floats = np.load(local, mmap_mode="r", allow_pickle=False)
            return factors
        return np.asarray(np.load(BytesIO(self._files.read(self.path(file))), allow_pickle=False))

    def open(self, file: str) -> pa.NativeFile:
        """A file, for reads at any position."""
        return self._files.open(self.path(file))

    def local(self, file: str) -> Path | None:
        """Where a file lies on this machine; None where the release lies elsewhere."""
        return self._files.local(self.path(file))

    def corrupt(self, file: str, expected: str, found: str) -> ReleaseCorrupt:
        """The error for a file that is as published and yet not as the format says."""
        return ReleaseCorrupt(self._files.uri(fmt.release_path(self.release_id, file)), expected, found)
