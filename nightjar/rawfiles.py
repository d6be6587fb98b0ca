"""File checks: what has to hold of a raw file before a Spark session is worth starting."""

import datetime as dt
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from lake.errors import FileFault
from lake.settings import FileFormat
from lake.storage import Storage, sha256_of
from spark_jobs.casts import TEXT, Targets, family, rule
from spark_jobs.requests import RawFile

if TYPE_CHECKING:
    import pyarrow.csv as pacsv

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wanted:
    """What a raw file has to be.

    Attributes
    ----------
    targets
        Our columns, each with the raw column that holds it and our type.
    may_be_empty
        Whether a file without a row is fine.
    """

    name: str
    day: dt.date
    format: FileFormat
    targets: Targets
    id_type: str
    may_be_empty: bool = False


def check(storage: Storage, wanted: Wanted) -> RawFile:
    """Check one raw file.

    Raises
    ------
    FileFault
        When it is missing, empty or unreadable, lacks a column, has one that cannot be cast
        without loss, or has no rows; the message names the file, what was expected and found.
    """
    _check_name(storage, wanted)
    with storage.fetched(wanted.name) as path:
        columns, rows = _look(path, storage, wanted)
        size, digest = path.stat().st_size, sha256_of(path)
    _check_columns(storage, wanted, dict(columns))
    if not rows and not wanted.may_be_empty:
        _fault(storage, wanted, "rows", "none", "deliver the day again, or list it in raw.closed_days")
    return RawFile(wanted.name, wanted.day, rows, size, digest, columns)


def _fault(storage: Storage, wanted: Wanted, expected: str, found: str, action: str) -> NoReturn:
    uri = storage.uri(wanted.name)
    raise FileFault(f"{uri}: expected {expected}, found {found}; {action}, then run {wanted.day} again")


def _check_name(storage: Storage, wanted: Wanted) -> None:
    if PurePosixPath(wanted.name).name.startswith(("_", ".")):
        _fault(storage, wanted, "a name that Spark reads", "a leading _ or .", "rename it and raw.files")
    if not storage.exists(wanted.name):
        _fault(storage, wanted, f"a {wanted.format} file", "no file", "deliver it")
    if not storage.size(wanted.name):
        _fault(storage, wanted, f"a {wanted.format} file", "0 bytes", "deliver it again")


def _look(path: Path, storage: Storage, wanted: Wanted) -> tuple[Columns, int]:
    """A file's columns with their families, and its number of rows."""
    import pyarrow as pa

    readers = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
    try:
        return readers[wanted.format](path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        found = f"{path.stat().st_size} bytes that cannot be read ({reason})"
        _fault(storage, wanted, f"a whole {wanted.format} file", found, "deliver it again")


def _parquet(path: Path) -> tuple[Columns, int]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return tuple((f.name, family(f.type)) for f in file.schema_arrow), file.metadata.num_rows


def _csv(path: Path) -> tuple[Columns, int]:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    with _open_csv(path, pacsv.ConvertOptions()) as reader:
        names = reader.schema.names
    skipped: list[Any] = []
    convert = pacsv.ConvertOptions(include_columns=names[:1], column_types={names[0]: pa.string()})
    with _open_csv(path, convert, skipped) as reader:
        rows = sum(batch.num_rows for batch in reader)
    return tuple((column, TEXT) for column in names), rows + len(skipped)


def _open_csv(
    path: Path, convert: "pacsv.ConvertOptions", skipped: list[Any] | None = None
) -> "pacsv.CSVStreamingReader":
    import pyarrow as pa
    import pyarrow.csv as pacsv

    def skip(row: Any) -> str:
        if skipped is not None:
            skipped.append(row.number)
        return "skip"

    parse = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    return pacsv.open_csv(
        pa.input_stream(path, compression="detect"), parse_options=parse, convert_options=convert
    )


def _jsonl(path: Path) -> tuple[Columns, int]:
    names: dict[str, None] = {}
    rows = 0
    for row in _lines(path):
        rows += 1
        names.update(dict.fromkeys(row))
    return tuple((column, TEXT) for column in sorted(names)), rows


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Each line that is not blank; one that holds no object counts as a row without columns."""
    import pyarrow as pa

    with io.BufferedReader(pa.input_stream(path, compression="detect")) as stream:
        for line in stream:
            if line.strip():
                yield _object(line)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _check_columns(storage: Storage, wanted: Wanted, found: dict[str, str]) -> None:
    asked = dict(wanted.targets.values())
    missing = [column for column in asked if column not in found]
    if missing:
        expected = f"the columns {', '.join(sorted(asked))}"
        told = f"{', '.join(found) or 'none'} (without {', '.join(missing)})"
        _fault(storage, wanted, expected, told, "deliver it with them, or map them in the data set's TOML")
    for column, target in asked.items():
        if rule(target, found[column], wanted.id_type) is None:
            kind = wanted.id_type if target == "id" else target
            expected = f"column {column} castable to {kind} without loss"
            _fault(storage, wanted, expected, f"{found[column]} values", "deliver it with such a type")
