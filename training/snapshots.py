"""The snapshots of a training, which its plan names: their features, labels, retrieval and ranking sets.

Retrieval and ranking sets are kept in the lake by what they were made from (`lake.caches`). A night
takes those of earlier nights: it fits only its own retrieval, and makes only its newest ranking set.
"""

import datetime as dt
import logging
import platform
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from lake import layout, processor
from lake.caches import ContentCache
from lake.dataset import Dataset
from lake.decisions import Champion
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.names import TableName
from lake.plan import BLOCK_MIB, Plan
from lake.records import Input, Record
from recommender import asof, matrix, retrieval, retrieval_files
from recommender.asof import AsOf
from recommender.retrieval import Retrieval
from training import labels, sets
from training.set_files import SetFile
from training.spark_als import SparkAls, Submit

log = logging.getLogger(__name__)

_LIBRARIES: Final = ("implicit", "numba", "numpy", "pyspark", "scipy")
"""Those whose next version may give other bytes for the same input."""
_SET: Final = "ranking_set.arrow"


@dataclass(frozen=True, kw_only=True)
class TrainPlan(Plan):
    """What to train; its partition is the as-of day D.

    The features of D and of its snapshots, the one to evaluate among these where there is one, are
    among its inputs, as are the interactions that hold the labels.

    Attributes
    ----------
    champion
        The model that the challenger has to match; None where there is none yet.
    threads, block_mib, ranker_on_disk
        Change nothing in the result.
    """

    champion: Champion | None = None
    threads: int = 1
    block_mib: int = BLOCK_MIB
    ranker_on_disk: bool = False

    @property
    def snapshots(self) -> list[dt.date]:
        """The days before D of which there are features, oldest first."""
        return [pin.day for pin in self.inputs_of(TableName.USERS)[:-1]]

    def features_of(self, day: dt.date) -> Input:
        """The pin of the features as of a day."""
        (pin,) = (pin for pin in self.inputs_of(TableName.USERS) if pin.day == day)
        return pin


@dataclass(frozen=True)
class Work:
    """A plan, the lake where what it pins is read, and a folder of this machine for files that are made.

    Attributes
    ----------
    open_files
        Holds what was taken from a cache until the work ends.
    submit
        Runs a Spark job.
    """

    plan: TrainPlan
    lake: Lake
    scratch: Path
    open_files: ExitStack
    submit: Submit

    @property
    def data(self) -> Dataset:
        """The configuration of the plan."""
        return self.plan.config

    @property
    def features(self) -> Record:
        """The features of D."""
        return self.features_of(self.plan.day)

    def features_of(self, day: dt.date) -> Record:
        """The features of D or of one of its snapshots."""
        return self.lake.records.pinned(self.plan.features_of(day))

    @property
    def evaluated(self) -> dt.date:
        """The as-of day whose label window ends with D: ``label_days`` before it."""
        return self.plan.day - self.data.training.label_window

    @property
    def snapshots(self) -> list[dt.date]:
        """The days to train on, oldest first: their labels end by the day that is evaluated."""
        return [day for day in self.plan.snapshots if day < self.evaluated]

    def as_of(self, day: dt.date) -> AsOf:
        """D or one of its snapshots."""
        return asof.load(
            self.lake.storage, self.lake.records, self.features_of(day), self.data, self.plan.block_mib
        )

    def events(self) -> pa.Table:
        """The label events of all snapshots and of the day that is evaluated."""
        first = min(self.plan.snapshots, default=self.plan.day)
        return labels.read(self.lake, self.features, first, self.data)

    def retrieval_of(self, as_of: AsOf) -> Retrieval:
        """Retrieval as of D or a snapshot: that of its own night where it had one, else fitted now."""
        return self._kept_retrieval(as_of.small.day) or self._fit(as_of)

    def evaluated_retrieval(self, as_of: AsOf) -> Retrieval:
        """Retrieval as of the day that is evaluated; kept, for a week later it is that of a snapshot."""
        day = as_of.small.day
        if kept := self._kept_retrieval(day):
            return kept
        fitted = self._fit(as_of)
        self._retrievals(day).keep(self._retrieval_origins(day), self._retrieval_files(fitted))
        return fitted

    def refer_to_bundle(self, bundle_id: str, files: Path) -> None:
        """Keep the retrieval as of D without a copy: a bundle in the lake holds it.

        Parameters
        ----------
        files
            A local folder with the files of the bundle.
        """
        day, names = self.plan.day, sorted(retrieval_files.NAMES)
        named = {name: files / name for name in names}
        self._retrievals(day).refer(self._retrieval_origins(day), layout.bundle(bundle_id), named)

    def ranking_set(self, day: dt.date, events: pa.Table) -> SetFile:
        """The ranking set of a snapshot: that of the first night that had the same labels of it.

        Parameters
        ----------
        events
            Those of `events`.
        """
        pairs = labels.distinct(events, day, self.evaluated, self.data)
        origins = self._set_origins(day, pairs)
        kept = self.open_files.enter_context(self._sets(day).opened(origins))
        if kept:
            log.info("ranking set as of %s: an earlier night made it", day)
            return SetFile(kept[_SET])
        made = self._make_set(day, pairs)
        log.info("ranking set as of %s: made", day)
        self._sets(day).keep(origins, {_SET: made.path})
        return made

    def _make_set(self, day: dt.date, pairs: pa.Table) -> SetFile:
        as_of, target = self.as_of(day), self.scratch / f"{day}.arrow"
        truth = labels.truth(pairs, as_of, self.data)
        return sets.build(as_of, self.retrieval_of(as_of), truth, self.data, self.plan.threads, target)

    def _fit(self, as_of: AsOf) -> Retrieval:
        config, threads = self.data.retrieval, self.plan.threads
        fitted = retrieval.fit(as_of.small, as_of.weights(), config, threads, self._by_spark)
        log.info("retrieval as of %s: fitted", as_of.small.day)
        return fitted

    @property
    def _by_spark(self) -> SparkAls | None:
        chosen = self.data.retrieval.backend == "spark"
        return SparkAls(self.lake.storage, self.plan, self.scratch, self.submit) if chosen else None

    def _kept_retrieval(self, day: dt.date) -> Retrieval | None:
        with self._retrievals(day).opened(self._retrieval_origins(day)) as files:
            if files is None:
                return None
            log.info("retrieval as of %s: an earlier night made it", day)
            return retrieval_files.decode({name: path.read_bytes() for name, path in files.items()})

    def _retrieval_files(self, fitted: Retrieval) -> dict[str, Path]:
        files = {name: self.scratch / name for name in retrieval_files.NAMES}
        for name, content in retrieval_files.encode(fitted).items():
            files[name].write_bytes(content)
        return files

    def _retrievals(self, day: dt.date) -> ContentCache:
        return ContentCache(self.lake.storage, "retrieval", day)

    def _sets(self, day: dt.date) -> ContentCache:
        return ContentCache(self.lake.storage, "ranking_set", day)

    def _retrieval_origins(self, day: dt.date) -> dict[str, Any]:
        tables, config = self.features_of(day).tables, self.data
        return {
            "code": _code(self.plan.version),
            "tables": {
                name: tables[name].digest for name in (TableName.USERS, TableName.ITEMS, TableName.PAIRS)
            },
            "retrieval": config.retrieval.model_dump(mode="json"),
            "popular_window": config.candidates.popular_window,
        }

    def _set_origins(self, day: dt.date, pairs: pa.Table) -> dict[str, Any]:
        features, config = self.features_of(day), self.data
        return self._retrieval_origins(day) | {
            "day": day.isoformat(),
            "tables": {name: features.tables[name].digest for name in FEATURES},
            "catalogue": [pin.digest for pin in features.inputs_of(TableName.CATALOGUE)],
            "labels": labels.digest(pairs),
            "columns": matrix.FEATURES,
            "repeats": config.repeats,
            "candidates": config.candidates.model_dump(mode="json"),
            "max_users": config.training.max_users,
            "negatives": config.training.negatives,
            "cut": config.evaluation.cut,
        }


def _code(version: int) -> dict[str, Any]:
    """What computes: the stage's version, the libraries and the kind of processor that decide bytes."""
    return {
        "train": version,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "machine": platform.machine(),
        "blas": processor.blas_kernels(),
    }
