"""A release as a local folder: its files, and the manifest that says what they are."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lake.files import sha256_of
from nightjar_reader import format as fmt
from validation.gate import Check

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """What a manifest says beside the files: content only, nothing of the run."""

    as_of: str
    config_digest: str
    bundle: fmt.BundleReference | None
    baseline: str | None
    inputs: Mapping[str, str]
    missing_days: tuple[str, ...]
    metrics: Mapping[str, Any]
    buckets: int
    counts: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    index: fmt.IndexSummary | None = None
    warnings: tuple[str, ...] = ()


def save(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as ``.npy``."""
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def seal(folder: Path, described: Description) -> bytes:
    """Write the manifest of all files in a folder and return its bytes."""
    manifest = fmt.Manifest(
        as_of=described.as_of,
        config_digest=described.config_digest,
        bundle=described.bundle,
        baseline=described.baseline,
        inputs=dict(described.inputs),
        missing_days=described.missing_days,
        counts=dict(described.counts),
        metrics=dict(described.metrics),
        checks=tuple(fmt.CheckResult(check.name, check.severity, check.passed) for check in described.checks),
        index=described.index,
        warnings=described.warnings,
        files={path.relative_to(folder).as_posix(): _entry(path) for path in _files(folder)},
        buckets=described.buckets,
    )
    content = fmt.canonical(manifest)
    (folder / fmt.MANIFEST).write_bytes(content)
    return content


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != fmt.MANIFEST)


def _entry(path: Path) -> fmt.FileEntry:
    return fmt.FileEntry(path.stat().st_size, sha256_of(path))
