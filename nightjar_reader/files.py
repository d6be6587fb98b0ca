"""Where releases lie. The only module that opens files."""

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from nightjar_reader.endpoint import Endpoint, bucket_and_prefix
from nightjar_reader.errors import ReaderError

_CHUNK = 1 << 20


class Files:
    """Read access to the files below one root; paths are relative and use forward slashes.

    Parameters
    ----------
    uri
        ``file:///folder``, the path of a folder, or ``s3://bucket/prefix``. The usual AWS_*
        variables say where the S3 server is, and who asks.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file", "s3"):
            raise ReaderError(
                f"{uri}: cannot read {parts.scheme}://; expected a folder, file:///folder or s3://bucket/prefix"
            )
        self._fs: pafs.FileSystem
        self._folder: Path | None = None
        if parts.scheme == "s3":
            self._root = "/".join(filter(None, bucket_and_prefix(uri)))
            self._fs = Endpoint.from_environment().filesystem()
        else:
            self._folder = Path(unquote(parts.path) if parts.scheme else uri).absolute()
            self._root = self._folder.as_posix()
            self._fs = pafs.LocalFileSystem()

    def uri(self, path: str) -> str:
        """The whole address of a path."""
        return (self._folder / path).as_uri() if self._folder else f"s3://{self._full(path)}"

    def local(self, path: str) -> Path | None:
        """Where the file lies on this machine; None where only `open` reaches it."""
        return self._folder / path if self._folder else None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

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
