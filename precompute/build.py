"""Build the release of a day from what its plan pins; publishing it is another step."""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake import tables
from lake.dataset import Dataset
from lake.decisions import Outcome, decision_of
from lake.disk import sha256_of
from lake.lake import Lake
from lake.names import TableName
from lake.plan import BLOCK_MIB, Plan
from lake.processor import Machine
from lake.records import BUNDLE, Record, Records
from nightjar_reader import format as fmt
from precompute import annoy_index, columns, items, lists, publish, similar
from recommender import asof, bundle, scoring
from recommender.arrays import Float32
from recommender.asof import AsOf
from recommender.bundle import Bundle
from recommender.ids import Ids
from recommender.retrieval import Retrieval, align, of_users
from validation.gate import Check

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PrecomputePlan(Plan):
    """Which lists to make; its partition is the as-of day.

    Attributes
    ----------
    threads, block_mib
        Change nothing in the result.
    """

    threads: int = 1
    block_mib: int = BLOCK_MIB

    def features(self, records: Records) -> Record:
        """The features record that is pinned."""
        return records.pinned(self.inputs_of(TableName.USERS)[0])

    def decision(self, records: Records) -> Record | None:
        """The decision that the lists follow; None where there is none."""
        pins = self.inputs_of(BUNDLE)
        return records.pinned(pins[0]) if pins else None


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
    """What the pins of a plan name."""

    features: Record
    decision: Record | None
    as_of: AsOf
    bundle: Bundle | None
    catalogue: pa.Table | None
    data: Dataset


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
    storage, data = lake.storage, plan.config
    features, decision = plan.features(lake.records), plan.decision(lake.records)
    pins = plan.inputs_of(TableName.CATALOGUE)
    catalogue = None
    if pins:
        files = tables.pinned(lake.records, pins[-1]).files
        catalogue = tables.read(storage, TableName.CATALOGUE, data.id_type, files)
    return Sources(
        features,
        decision,
        asof.load(lake, features, data, plan.block_mib),
        bundle.load(storage, decision.require("bundle_id")) if decision else None,
        catalogue,
        data,
    )


def _build(
    folder: Path, sources: Sources, plan: PrecomputePlan, watch: _Watch
) -> tuple[fmt.Manifest, tuple[Check, ...], float]:
    """Write all files but the manifest; gives what it says, the checks, and the latency of the index."""
    view, data = sources.as_of.small, sources.data
    retrieval = align(sources.bundle.retrieval, view) if sources.bundle else None
    factors = items.factors(view, retrieval)
    units = similar.unit_rows(factors.items) if factors else None
    lacking = items.lacking(factors, view) if sources.bundle else ()
    # Annoy builds on one thread: all other work is done meanwhile
    with ThreadPoolExecutor(1) as pool:
        indexing = pool.submit(_index, folder, units, data, watch)
        with watch.step("lists"):
            made, unfit = _write_lists(folder, sources, retrieval, factors, plan.threads)
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
    warnings = (*unfit, *lacking, *built.warnings, *_sentences(impersonal))
    return _manifest(sources, plan, counts, judged, built.index, warnings), judged, built.latency_us


def _index(folder: Path, units: Float32 | None, data: Dataset, watch: _Watch) -> annoy_index.Built:
    if units is None:
        return annoy_index.Built(None)
    with watch.step("index"):
        return annoy_index.build(folder / fmt.INDEX, units, data.index)


def _write_lists(
    folder: Path,
    sources: Sources,
    retrieval: Retrieval | None,
    factors: items.Factors | None,
    threads: int,
) -> tuple[lists.Totals, tuple[str, ...]]:
    """Write the lists of all users, a block at a time; gives what they add up to, and their warnings."""
    data, totals = sources.data, lists.Totals(len(sources.as_of.small.items))
    writer = lists.Writer(folder, data.lists.buckets, data.id_type)
    warnings: tuple[str, ...] = ()
    for block in sources.as_of.blocks():
        mine = of_users(retrieval, block.users, block.view.users) if retrieval else None
        maker = scoring.ListMaker(block.view, data, data.lists.length, block.view.listed, threads)
        personal = maker.personal(sources.bundle, mine)
        writer.add(lists.table(block, personal, factors, data.id_type))
        totals.add(block.view, personal, data.repeats)
        warnings = personal.warnings
    writer.close()
    return totals, warnings


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


def _counts(made: lists.Totals, catalogue: pa.Table, factors: items.Factors | None) -> dict[str, int]:
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
