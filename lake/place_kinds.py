"""Kinds of values that say where this installation keeps things and what it may take.

Bounds are as in `lake.kinds`.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from lake.kinds import form
from nightjar_reader import address
from nightjar_reader.errors import ReaderError

MASTER = r"^(local(\[(\*|[1-9]\d*)(,[1-9]\d*)?\])?|spark://[^/\s]+:\d+|yarn|k8s://\S+)$"
MEMORY = re.compile(r"([1-9]\d*)([mgt])b?", re.IGNORECASE)
MEBIBYTES = {"m": 1, "g": 1 << 10, "t": 1 << 20}
LEAST_MEMORY = 512
"""MiB; Spark refuses a driver of less than 450 MiB (UnifiedMemoryManager)."""
DATABASES = ("postgresql", "mysql", "mssql")
"""The databases that MLflow can keep its store in, beside SQLite."""


def _memory(text: str) -> str:
    size = MEMORY.fullmatch(text)
    if not size or int(size[1]) * MEBIBYTES[size[2].lower()] < LEAST_MEMORY:
        raise ValueError(f"expected a size such as 2g or 2048m, at least {LEAST_MEMORY}m")
    return text


def folder(path: str | Path) -> Path:
    """A folder as an absolute path without ``..``."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _folder(path: Any) -> Path:
    if not str(path).strip() or not str(path).isprintable():
        raise ValueError("expected a folder")
    return folder(path)


def place_or(text: str | None, default: Path) -> str:
    """`place`, or the default where the text is missing or wrong; it is for others to refuse a wrong one."""
    try:
        return place(text or "")
    except ValueError:
        return default.as_uri()


def place(text: str) -> str:
    """The canonical address of a place of files: ``file:///folder`` or ``s3://bucket/prefix``."""
    try:
        return address.parse(text).uri
    except ReaderError as error:
        raise ValueError(str(error)) from error


def tracking(uri: str) -> str:
    """Accept an address that MLflow takes for its store."""
    scheme, slashes, rest = uri.partition("://")
    if scheme == "sqlite":
        good = rest.startswith("//") and len(rest) > len("//") and ".." not in rest.split("/")
    elif scheme in ("http", "https"):
        good = bool(re.fullmatch(r"[^/?#\s]+(/[^?#\s]*)?", rest))
    else:
        good = scheme.partition("+")[0] in DATABASES and bool(re.match(r"[^/?#\s]", rest))
    if not slashes or not good:
        raise ValueError(
            "expected http://host:port, https://host, sqlite:////absolute/file.db or "
            f"a database of {', '.join(DATABASES)}, found {address.redacted(uri)!r}"
        )
    return uri


Folder = Annotated[Path, BeforeValidator(_folder)]
Master = Annotated[
    str,
    Field(pattern=MASTER),
    form("`local[N]`, `spark://host:port`, `yarn` or `k8s://...`"),
]
Memory = Annotated[str, AfterValidator(_memory), form(f"such as `2g` or `2048m`, at least `{LEAST_MEMORY}m`")]
FileName = Annotated[str, Field(pattern="^[^#]+$"), form("a path or an address, without `#`")]
