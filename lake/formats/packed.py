"""Files that may be compressed: their bytes, unpacked by what the file is and not by its name."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lake.formats.content import Unfit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_HEAD: Final = 10
"""Bytes at the beginning of a file that tell how it is compressed."""
_BUFFER_BYTES: Final = 1 << 20
# That of gzip with its only method, and that of bzip2 with its first block: two bytes may begin a text.
_TAKEN: Final = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    "zstd": re.compile(rb"\(\xb5/\xfd|[\x50-\x5f]\*M\x18"),  # the second may be skipped, a frame follows
}
"""How Arrow names a compression, and how a file of it begins."""
_REFUSED: Final = {
    "a zip archive": b"PK\x03\x04",
    "a 7z archive": b"7z\xbc\xaf'\x1c",
    "xz": b"\xfd7zXZ\0",
    "LZ4": b"\x04\x22M\x18",
    "Snappy": b"\xff\x06\0\0sNaPpY",
}


class _Unpacked(io.RawIOBase):
    """The bytes of a compressed file; one that is cut or damaged is `Unfit`."""

    def __init__(self, path: Path, kind: str) -> None:
        import pyarrow as pa

        self._kind = kind
        self._stream = pa.input_stream(path, compression=kind)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        try:
            data = self._stream.read(len(view))
        except OSError as error:
            reason = str(error).strip().partition("\n")[0]
            raise Unfit(f"a whole {self._kind} stream", f"one that is cut or damaged ({reason})") from error
        view[: len(data)] = data
        return len(data)


def unpacked(path: Path) -> io.BufferedReader:
    """Open a file that is plain or compressed by gzip, zstd or bzip2.

    Raises
    ------
    Unfit
        Where it is an archive, or compressed in another way; on reading, where its stream is cut, damaged,
        or followed by something else.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for kind, magic in _REFUSED.items():
        if head.startswith(magic):
            action = "deliver it plain, or compressed by gzip, zstd or bzip2"
            raise Unfit("text, plain or compressed", kind, action)
    for kind, begins in _TAKEN.items():
        if begins.match(head):
            return io.BufferedReader(_Unpacked(path, kind), _BUFFER_BYTES)
    return path.open("rb")
