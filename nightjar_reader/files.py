"""Where releases lie. The only module that opens files: another storage finds its place here."""

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from nightjar_reader.errors import ReaderError

_CHUNK = 1 << 20


class Files:
    """Read access to the files below one root; paths are relative and use forward slashes.

    Parameters
    ----------
    uri
        ``file:///folder``, or the path of a folder.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file"):
            raise ReaderError(f"{uri}: cannot read {parts.scheme}://; expected file:///folder or a folder")
        self._root = Path(unquote(parts.path) if parts.scheme else uri).absolute()
        self._fs = pafs.LocalFileSystem()

    def uri(self, path: str) -> str:
        """The whole address of a path."""
        return (self._root / path).as_uri()

    def local(self, path: str) -> Path | None:
        """Where the file lies on this machine; None where only `open` reaches it."""
        return self._root / path

    def _full(self, path: str) -> str:
        return f"{self._root.as_posix()}/{path}"

    def open(self, path: str) -> pa.NativeFile:
        """The file, for reads at any position; `FileNotFoundError` where there is none."""
        return self._fs.open_input_file(self._full(path))

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` where there is none."""
        with self.open(path) as file:
            content: bytes = file.read()
        return content

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder; empty where there is no such folder."""
        found = self._fs.get_file_info(pafs.FileSelector(self._full(folder), allow_not_found=True))
        return [info.base_name for info in found if info.is_file]

    def sha256(self, path: str) -> tuple[int, str]:
        """Length and digest of the file, read once from start to end."""
        digest, length = hashlib.sha256(), 0
        with self.open(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                length += len(chunk)
        return length, digest.hexdigest()
