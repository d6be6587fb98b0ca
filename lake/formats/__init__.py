"""The formats of raw files: each is one object in one module.

A format verifies a file and names its columns. All but a Parquet file that Spark can
read is also copied to Parquet for Spark. No value is cast here: `spark_jobs/casts.py:expression`
makes our columns of the raw ones.
"""

from typing import Any, Final

from lake.formats.avro import Avro
from lake.formats.csvfile import Csv
from lake.formats.format import Format
from lake.formats.jsonarray import JsonArray
from lake.formats.jsonlines import JsonLines
from lake.formats.orc import Orc
from lake.formats.parquet import Parquet

_KINDS: Final[tuple[type[Format[Any]], ...]] = (Parquet, Csv, JsonLines, JsonArray, Avro, Orc)
FORMATS: Final = {kind.NAME: kind for kind in _KINDS}
"""All formats, by the names that a data set's TOML has for them."""


def format_of(section: Any) -> Format[Any]:
    """The format of a section's files, with its dialect."""
    kind = FORMATS[section.format]
    return kind(getattr(section, kind.TABLE) if kind.TABLE else None)
