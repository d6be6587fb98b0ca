"""Avro container files: blocks of records, each counted, unpacked and checked before it is decoded.

The library decodes records alone. The container is read here, since the library would pass over a damaged
Snappy block, and over bytes behind the records of a block.
"""

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from lake.formats.arrow import ArrowRows, copied, verified
from lake.formats.avrotypes import Kind, kind_of, without_logical
from lake.formats.content import ColumnSpec, Content, Unfit
from lake.formats.format import Format

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
_HEADER: Final = {
    "type": "record",
    "name": "header",
    "fields": [
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": _SYNC_BYTES}},
    ],
}


class Avro(Format[None]):
    """Avro."""

    NAME = "avro"

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read all blocks of a file and write its copy.

        Raises
        ------
        Unfit
            Where it is no Avro file or one of no records, its codec is unknown, or a block, which is named,
            is cut or damaged.
        """
        import pyarrow as pa

        file = _opened(path)
        schema = pa.schema([(name, kind.type) for name, kind in file.kinds.items()])
        rows = ArrowRows(schema, lambda: _batches(file, schema), spec)
        count = sum(block.count for block in _blocks(file))
        worded = verified(rows, count)
        return rows.content(copied(rows, copy, worded), count, copied=True)


@dataclass(frozen=True)
class _File:
    """What the header of a file says, and where its blocks begin."""

    path: Path
    start: int
    sync: bytes
    unpack: Callable[[bytes], bytes]
    schema: Any
    kinds: dict[str, Kind]


@dataclass(frozen=True)
class _Block:
    """A block: its number from 1, how many records it has, and their bytes as they lie in the file."""

    number: int
    count: int
    data: bytes


def _opened(path: Path) -> _File:
    import fastavro
    from fastavro.schema import parse_schema

    with path.open("rb") as opened:
        head = opened.read(len(_MAGIC))
        if head != _MAGIC:
            raise Unfit(
                "an avro file", f"one that begins with {head!r}", "deliver it as an Avro container file"
            )
        try:
            header: Any = fastavro.schemaless_reader(opened, _HEADER, None)
            schema: Any = parse_schema(json.loads(header["meta"]["avro.schema"]))
        except Exception as error:  # what a library makes of damaged bytes
            raise Unfit("an avro file", f"a head that cannot be read ({error!r})") from error
        start = opened.tell()
    if not isinstance(schema, dict) or schema["type"] != "record":
        raise Unfit("an avro file of records", f"values of {json.dumps(schema)[:60]}")
    codec = header["meta"].get("avro.codec", b"null").decode(errors="replace")
    if codec not in _CODECS:
        raise Unfit(f"a codec of {', '.join(_CODECS)}", codec, "deliver it with snappy or zstandard")
    named = schema.get("__named_schemas", {})
    kinds = {field["name"]: kind_of(field["type"], named) for field in schema["fields"]}
    records = parse_schema({"type": "array", "items": without_logical(schema)})
    return _File(path, start, header["sync"], _CODECS[codec], records, kinds)


def _blocks(file: _File) -> Iterator[_Block]:
    """The blocks of a file, each with the mark behind it."""
    with file.path.open("rb") as opened:
        opened.seek(file.start)
        number = 0
        while (count := _long(opened, number)) is not None:
            number += 1
            size = _long(opened, number)
            data = opened.read(size) if size is not None and size >= 0 else b""
            if size is None or len(data) != size or opened.read(_SYNC_BYTES) != file.sync or count < 0:
                raise _damaged(number, "it is cut, or the mark behind it is not the file's")
            yield _Block(number, count, data)


def _long(opened: BinaryIO, number: int) -> int | None:
    """The next number, seven bits a byte and its sign last; None at the end of the file."""
    value = shift = 0
    while byte := opened.read(1):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return (value >> 1) ^ -(value & 1)
    if shift:
        raise _damaged(number, "it is cut")
    return None


def _batches(file: _File, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    """The records of each block."""
    import pyarrow as pa

    for block in _blocks(file):
        records = _decoded(block, file)
        arrays = [
            pa.array([kind.convert(record[name]) for record in records], kind.type)
            for name, kind in file.kinds.items()
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _decoded(block: _Block, file: _File) -> list[dict[str, Any]]:
    """The records of a block, decoded as one array of so many records, which takes all of its bytes."""
    import fastavro

    try:
        data = file.unpack(block.data)
        if block.count > len(data):
            raise ValueError(f"{block.count} records in {len(data)} bytes")
        array = io.BytesIO(_zigzag(block.count) + data + b"\0" if block.count else data)
        records: Any = fastavro.schemaless_reader(array, file.schema, None) if block.count else []
        if array.read(1):
            raise ValueError("more bytes than its records have")
    except Exception as error:  # what libraries make of damaged bytes
        raise _damaged(block.number, str(error) or type(error).__name__) from error
    return list(records)


def _zigzag(count: int) -> bytes:
    """A count as Avro writes it."""
    value, written = count << 1, bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _damaged(number: int, why: str) -> Unfit:
    return Unfit("a whole avro file", f"block {number} that cannot be read ({why})")


def _inflated(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = unpacker.decompress(data) + unpacker.flush()
    if not unpacker.eof:  # behind its end some writers leave a part of a checksum of zlib's
        raise ValueError("a deflated stream that is cut")
    return unpacked


def _of_snappy(data: bytes) -> bytes:
    """A Snappy block, behind which its checksum stands; its size stands in front."""
    import pyarrow as pa

    body, checksum = data[:-4], int.from_bytes(data[-4:], "big")
    size = sum((byte & 127) << 7 * place for place, byte in enumerate(_varint(body)))
    unpacked = pa.Codec("snappy").decompress(body, size, asbytes=True)
    if zlib.crc32(unpacked) != checksum:
        raise ValueError("another checksum")
    return bytes(unpacked)


def _varint(body: bytes) -> bytes:
    """The bytes of the number that stands in front: all but the last have their highest bit set."""
    return body[: next(place for place, byte in enumerate(body) if byte < 128) + 1]


def _of_zstandard(data: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.input_stream(pa.py_buffer(data), compression="zstd").read())


_CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": _inflated,
    "snappy": _of_snappy,
    "zstandard": _of_zstandard,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}
"""All that Avro's specification names."""
