"""A tiny release, built by hand from the format alone, whose answers are known."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from annoy import AnnoyIndex

from nightjar_reader import cache, files
from nightjar_reader import format as fmt

BUCKETS = 4
ROW_GROUP = 3


@dataclass
class Tiny:
    """A releases root, and what its newest release must answer."""

    root: Path
    id_type: fmt.IdType
    release_id: str = ""
    manifest: bytes = b""
    lists: dict[Any, dict[str, Any]] = field(default_factory=dict)
    similar: dict[Any, dict[str, Any]] = field(default_factory=dict)
    popular: dict[str | None, dict[str, Any]] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    user_factors: np.ndarray = field(default_factory=lambda: np.empty(0))
    item_factors: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    def path(self, file: str) -> Path:
        return self.root / fmt.release_path(self.release_id, file)

    def append(
        self, sequence: int, *releases: "Tiny", weights: tuple[float, ...] = (), kind: str = "publish"
    ) -> None:
        named = [
            fmt.LedgerRelease(release.release_id, fmt.sha256(release.manifest), weight)
            for release, weight in zip(
                releases or (self,), weights or (1,) * max(len(releases), 1), strict=True
            )
        ]
        as_of = max(release.release_id[:10] for release in named)
        entry = fmt.LedgerEntry(sequence, kind, tuple(named), as_of, "test", "", "2017-10-01T02:00:00Z")
        path = self.root / fmt.ledger_path(sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry.to_json()), encoding="utf-8")


def fill(tiny: Tiny, seed: int, with_factors: bool) -> None:
    """23 users and 30 items; the last users and items have no factors."""
    random = np.random.default_rng(seed)
    make = int if tiny.id_type == "int64" else "id-{:03d}".format
    users, items = [make(number * 3) for number in range(23)], [make(500 + number) for number in range(30)]
    coded_users, coded_items = (20, 27) if with_factors else (0, 0)
    tiny.user_factors = random.normal(size=(coded_users, 8)).astype(np.float32)
    tiny.item_factors = random.normal(size=(coded_items, 8)).astype(np.float32)

    def a_list() -> dict[str, Any]:
        return {
            fmt.ITEM_IDS: [items[place] for place in random.permutation(30)[:5]],
            fmt.SCORES: sorted((float(np.float32(score)) for score in random.random(5)), reverse=True),
        }

    for place, user in enumerate(users):
        code = place if place < coded_users else None
        tiny.lists[user] = {fmt.USER_ID: user, **a_list(), fmt.FALLBACK: place % 3, fmt.CODE: code}
    for place, item in enumerate(items):
        code = place if place < coded_items else None
        tiny.items.append(
            {fmt.ITEM_ID: item, fmt.CODE: code, fmt.NAME: f"name {place}", fmt.CATEGORY: "food"}
        )
    tiny.similar = {item: {fmt.ITEM_ID: item, **a_list()} for item in items[:coded_items]}
    tiny.popular = {segment: {fmt.SEGMENT: segment, **a_list()} for segment in (None, "north")}


def write(folder: Path, tiny: Tiny, with_index: bool) -> None:
    def put(file: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / file, row_group_size=ROW_GROUP)

    def buckets(rows: dict[Any, dict[str, Any]], path: Callable[[int], str], schema: pa.Schema) -> None:
        for bucket in range(BUCKETS):
            keys = sorted(key for key in rows if fmt.bucket(key, BUCKETS) == bucket)
            put(path(bucket), [rows[key] for key in keys], schema)

    buckets(tiny.lists, fmt.lists_path, fmt.lists_schema(tiny.id_type))
    put(fmt.POPULAR, list(tiny.popular.values()), fmt.popular_schema(tiny.id_type))
    put(fmt.ITEMS, tiny.items, fmt.items_schema(tiny.id_type))
    if tiny.similar:
        buckets(tiny.similar, fmt.similar_path, fmt.similar_schema(tiny.id_type))
        np.save(folder / fmt.USER_FACTORS, tiny.user_factors)
        np.save(folder / fmt.ITEM_FACTORS, tiny.item_factors)
    if tiny.similar and with_index:
        index = AnnoyIndex(8, "angular")
        index.set_seed(1)
        for code, row in enumerate(tiny.item_factors):
            index.add_item(code, row)
        index.build(10, n_jobs=1)
        index.save(str(folder / fmt.INDEX))


def manifest_of(folder: Path, as_of: str) -> fmt.Manifest:
    files = {
        path.relative_to(folder).as_posix(): fmt.FileEntry(path.stat().st_size, fmt.sha256(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }
    index = fmt.IndexSummary(10, 1000, 1.0, files[fmt.INDEX].bytes) if fmt.INDEX in files else None
    return fmt.Manifest(
        as_of=as_of,
        config_digest="c" * 64,
        bundle=fmt.BundleReference("b" * 16, as_of, "promoted"),
        baseline=None,
        inputs={"user_features": "23:1:2"},
        missing_days=(),
        counts={"users": 23, "items": 30},
        metrics={"ndcg@10": 0.31},
        checks=(fmt.CheckResult("lists not empty", "critical", True),),
        index=index,
        warnings=(),
        files=files,
        buckets=BUCKETS,
    )


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Tiny]:
    """Makes releases in one root, without a ledger entry."""

    def make(
        id_type: fmt.IdType = "int64",
        *,
        as_of: str = "2017-09-30",
        seed: int = 1,
        factors: bool = True,
        index: bool = True,
    ) -> Tiny:
        tiny = Tiny(tmp_path / "published", id_type)
        fill(tiny, seed, factors)
        work = tmp_path / f"work-{as_of}-{seed}"
        write(work, tiny, index)
        tiny.manifest = fmt.canonical(manifest_of(work, as_of))
        tiny.release_id = fmt.release_id(tiny.manifest)
        tiny.path("").parent.mkdir(parents=True, exist_ok=True)
        work.rename(tiny.path(""))
        tiny.path(fmt.MANIFEST).write_bytes(tiny.manifest)
        return tiny

    return make


@pytest.fixture(params=["int64", "string"])
def tiny(request: pytest.FixtureRequest, build: Callable[..., Tiny]) -> Tiny:
    """A published release, once with whole numbers and once with texts as ids."""
    made = build(request.param)
    made.append(1)
    return made


@pytest.fixture
def on_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders are taken for a server's; where the copies of their files lie."""
    folder_alone = files.Files.__init__

    def as_on_a_server(self: files.Files, uri: str) -> None:
        folder_alone(self, uri)
        self._folder = None

    monkeypatch.setattr(files.Files, "__init__", as_on_a_server)
    monkeypatch.setenv(cache.CACHE, str(tmp_path / "copies"))
    return tmp_path / "copies"
