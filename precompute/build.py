"""Build the release of a day from what its plan pins; publishing it is another step."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake import layout, messages, tables
from lake.dataset import Dataset
from lake.decisions import Outcome, decision_of
from lake.disk import room_for, sha256_of
from lake.errors import PermanentError
from lake.lake import Lake
from lake.names import TableName
from lake.processor import Machine
from lake.records import BUNDLE, Record
from lake.storage import Storage, open_storage
from nightjar_reader import format as fmt
from precompute import annoy_index, items, lists, publish, similar
from recommender import columns
from recommender.arrays import Float32
from recommender.ids import Ids
from recommender.userlists import Made, Making
from spark_jobs import buckets
from spark_jobs.buckets import ScoreResult
from spark_jobs.plans import PrecomputePlan
from validation.gate import Check

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrecomputeResult:
    """What precompute made; the release's files lie among the releases, without their manifest.

    Attributes
    ----------
    manifest
        The text of the manifest, which makes a release of the files once it is put beside them.
    timings
        Seconds by step; with `latency_us` of the index and `machine`, for provenance only.
    """

    manifest: str
    counts: dict[str, int]
    checks: tuple[Check, ...]
    timings: dict[str, float] = field(default_factory=dict)
    latency_us: float = 0.0
    machine: Machine = field(default_factory=Machine)

    @property
    def release_id(self) -> str:
        """The release's id."""
        return fmt.release_id(self.manifest.encode())

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 (hex) of the manifest."""
        return fmt.sha256(self.manifest.encode())


@dataclass(frozen=True)
class Sources:
    """What the pins of a plan name, and the lists that a cluster has made of it by now."""

    features: Record
    decision: Record | None
    making: Making
    catalogue: pa.Table | None
    scored: ScoreResult | None = None

    @property
    def data(self) -> Dataset:
        """The sections of the data set that are read."""
        return self.making.data


def run(plan: PrecomputePlan, lake: Lake) -> PrecomputeResult:
    """Make lists, item-to-item lists, index and factors, and put them where readers will look for them.

    The same pins give the same bytes, so the same release id. Without a manifest they are no release:
    nothing reads them, and nobody can publish them.

    Raises
    ------
    PermanentError
        When a file of that release is there with other content.
    """
    watch = _Watch()
    with watch.step("read"):
        sources = _read(lake, plan)
    with tempfile.TemporaryDirectory(prefix="nightjar-") as scratch:
        folder = Path(scratch)
        described, checks, latency = _build(folder, sources, plan, watch)
        manifest = seal(folder, described)
        with watch.step("put"):
            publish.put_files(lake.releases, folder, manifest)
    return PrecomputeResult(
        manifest.decode(),
        dict(described.counts),
        checks,
        watch.seconds,
        latency,
        Machine.here(),
    )


class _Watch:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        log.info("%s: %.1f s", name, self.seconds[name])


def _read(lake: Lake, plan: PrecomputePlan) -> Sources:
    storage, records, data = lake.storage, lake.records, plan.config
    features, decision = plan.features(records), plan.decision(records)
    pins = plan.inputs_of(TableName.CATALOGUE)
    catalogue = None
    if pins:
        files = tables.pinned(records, pins[-1]).files
        catalogue = tables.read(storage, TableName.CATALOGUE, data.id_type, files)
    making = buckets.load(plan, storage, records, plan.threads)
    return Sources(features, decision, making, catalogue, _scored(storage, plan.attempt))


def _scored(storage: Storage, attempt: str) -> ScoreResult | None:
    path = layout.scored(attempt)
    return messages.read(storage, path, ScoreResult) if storage.exists(path) else None


def _build(
    folder: Path, sources: Sources, plan: PrecomputePlan, watch: _Watch
) -> tuple[fmt.Manifest, tuple[Check, ...], float]:
    """Write all files but the manifest; gives what it says, the checks, and the latency of the index."""
    making, data = sources.making, sources.data
    view = making.as_of.small
    factors = items.factors(view, making.retrieval)
    units = similar.unit_rows(factors.items) if factors else None
    lacking = items.lacking(factors, view) if making.bundle else ()
    # Annoy builds on one thread: all other work is done meanwhile
    with ThreadPoolExecutor(1) as pool:
        indexing = pool.submit(_index, folder, units, data, watch)
        with watch.step("lists"):
            made = _lists(folder, sources, plan)
        columns.write(lists.popular_table(view, view.listed, data), folder / fmt.POPULAR)
        catalogue = items.table(view, sources.catalogue, factors, data.id_type)
        columns.write(catalogue, folder / fmt.ITEMS)
        if factors and units is not None:
            with watch.step("similar"):
                _write_factors(folder, factors, units, data, plan)
        with watch.step("checks"):
            counts = _counts(made, catalogue, factors)
            impersonal = lists.check_shares(counts, data.lists)
            rows, listed = (
                lists.written(folder, data.lists.buckets),
                Ids(catalogue[fmt.ITEM_ID].combine_chunks()),
            )
            checks = lists.check(rows, made, view, listed, data)
        built = indexing.result()
    judged = (*checks, *impersonal)
    warnings = (*made.warnings, *lacking, *built.warnings, *_sentences(impersonal))
    return _manifest(sources, plan, counts, judged, built.index, warnings), judged, built.latency_us


def _index(folder: Path, units: Float32 | None, data: Dataset, watch: _Watch) -> annoy_index.Built:
    if units is None:
        return annoy_index.Built(None)
    with watch.step("index"):
        return annoy_index.build(folder / fmt.INDEX, units, data.index)


def _lists(folder: Path, sources: Sources, plan: PrecomputePlan) -> Made:
    """Make the lists, or fetch those that a cluster has made; gives what they add up to."""
    if sources.scored is None:
        return sources.making.write(folder, range(sources.data.lists.buckets)).made()
    for path, digest in sources.scored.files.items():
        _fetch(open_storage(plan.lake), layout.made_for(plan.attempt, path), folder / path, digest)
    return sources.scored.made


def _fetch(storage: Storage, path: str, target: Path, digest: str) -> None:
    target.parent.mkdir(exist_ok=True)
    with storage.fetched(path) as local, room_for(target):
        shutil.copyfile(local, target)
    if sha256_of(target) != digest:
        raise PermanentError(
            f"{storage.uri(path)}: expected the lists that the cluster put there, of sha256 {digest}, found "
            "other bytes; it was changed or is damaged: run precompute again, which starts a new attempt"
        )


def _write_factors(
    folder: Path, factors: items.Factors, units: Float32, data: Dataset, plan: PrecomputePlan
) -> None:
    np.save(folder / fmt.USER_FACTORS, factors.users, allow_pickle=False)
    np.save(folder / fmt.ITEM_FACTORS, factors.items, allow_pickle=False)
    neighbours = similar.neighbours(units, data.lists.similar, threads=plan.threads)
    similar.write(folder, factors.item_ids, neighbours, data.lists.buckets, data.id_type)


def _manifest(
    sources: Sources,
    plan: PrecomputePlan,
    counts: dict[str, int],
    checks: Iterable[Check],
    index: fmt.IndexSummary | None,
    warnings: tuple[str, ...],
) -> fmt.Manifest:
    """What the release contains and where it comes from; `seal` names its files."""
    features, data = sources.features, sources.data
    decision = decision_of(sources.decision) if sources.decision else None
    return fmt.Manifest(
        as_of=features.partition,
        config_digest=plan.config_digest,
        bundle=_bundle(sources.decision) if sources.decision else None,
        baseline=decision.baseline if decision and decision.outcome == Outcome.BASELINE else None,
        inputs={pin.name: pin.digest for pin in plan.inputs if pin.name != BUNDLE},
        missing_days=tuple(features.details.get("missing_days", ())),
        counts=counts,
        metrics=dict(decision.metrics) if decision else {},
        checks=tuple(fmt.CheckResult(check.name, check.severity, check.passed) for check in checks),
        index=index,
        warnings=warnings,
        files={},
        buckets=data.lists.buckets,
    )


def _bundle(decision: Record) -> fmt.BundleReference:
    return fmt.BundleReference(
        decision.require("bundle_id"), decision.require("bundle_as_of"), decision.outcome
    )


def _sentences(checks: Iterable[Check]) -> list[str]:
    """The warnings of checks that failed: they have the numbers, which a manifest's checks lack."""
    return [f"{check.found}; expected {check.expected}" for check in checks if not check.passed]


def _counts(made: Made, catalogue: pa.Table, factors: items.Factors | None) -> dict[str, int]:
    return made.counts() | {
        "users_with_factors": len(factors.users) if factors else 0,
        "items": len(catalogue),
        "items_with_factors": len(factors.items) if factors else 0,
    }


def seal(folder: Path, manifest: fmt.Manifest) -> bytes:
    """Write the manifest with all files in a folder, and return its bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != fmt.MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): fmt.FileEntry(path.stat().st_size, sha256_of(path))
        for path in paths
    }
    content = fmt.canonical(replace(manifest, files=files))
    (folder / fmt.MANIFEST).write_bytes(content)
    return content
