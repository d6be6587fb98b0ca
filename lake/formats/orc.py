"""ORC files: read by Arrow stripe by stripe, and copied for Spark."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lake.formats.arrow import ArrowRows, copied, verified
from lake.formats.content import ColumnSpec, Content
from lake.formats.format import Format

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.orc import ORCFile


class Orc(Format[None]):
    """ORC. Spark reads it too, but tells no row's number in its file."""

    NAME = "orc"

    def read(self, path: Path, spec: ColumnSpec, copy: Path) -> Content:
        """Read all stripes of a file and write its copy.

        Raises
        ------
        Unfit
            Where rows are missing, or a mapped text is not UTF-8.
        """
        from pyarrow.orc import ORCFile

        with path.open("rb") as opened:
            file = ORCFile(opened)
            rows = ArrowRows(file.schema, lambda: _stripes(file), spec)
            worded = verified(rows, file.nrows)
            return rows.content(copied(rows, copy, worded), file.nrows, copied=True)


def _stripes(file: "ORCFile") -> "Iterator[pa.RecordBatch]":
    for number in range(file.nstripes):
        yield file.read_stripe(number)
