"""Ranking sets as files, written and read a part at a time, so that none is held whole."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from recommender.arrays import Float32, Int32
from recommender.matrix import FEATURES


@dataclass(frozen=True)
class RankingSet:
    """Rows of some users of one snapshot, grouped by user.

    Attributes
    ----------
    features
        float32 [rows, features].
    labels
        float32 [rows]: 1 for an item that the user then took, else 0.
    weights
        float32 [rows]: 1 / IDCG of the user's true items in the window.
    groups
        int32 [rows]: the user's code, ascending.
    """

    features: Float32
    labels: Float32
    weights: Float32
    groups: Int32


_SCHEMA: Final = pa.schema(
    {
        "features": pa.list_(pa.float32(), len(FEATURES)),
        "labels": pa.float32(),
        "weights": pa.float32(),
        "groups": pa.int32(),
    }
)
_LABELS: Final = _SCHEMA.get_field_index("labels")
# Features repeat, counts above all. Level 1 already takes most of it, and costs less than a disk's time.
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))


@dataclass(frozen=True)
class SetFile:
    """The ranking set of one snapshot, as an Arrow file with a batch for each part.

    Each part has a row at least, and no user is in two of them.
    """

    path: Path

    @classmethod
    def write(cls, path: Path, parts: Iterable[RankingSet], users: int, taken: int) -> "SetFile":
        """Write the parts as they come.

        Parameters
        ----------
        users, taken
            How many users had a label, and how many of them were taken.
        """
        schema = _SCHEMA.with_metadata({"users": str(users), "taken": str(taken)})
        with pa.ipc.new_file(path, schema, options=_COMPRESSED) as file:
            for part in parts:
                file.write_batch(_batch(part, schema))
        return cls(path)

    def parts(self) -> Iterator[RankingSet]:
        """The parts, one in memory at a time."""
        for batch in self._batches(pa.ipc.IpcReadOptions()):
            features = batch["features"].flatten().to_numpy().reshape(len(batch), len(FEATURES))
            yield RankingSet(features, *(batch[name].to_numpy() for name in _SCHEMA.names[1:]))

    @cached_property
    def users(self) -> int:
        """How many users had a label."""
        return self._number("users")

    @cached_property
    def taken(self) -> int:
        """How many of them were taken."""
        return self._number("taken")

    @cached_property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(len(labels) for labels in self._labels())

    @cached_property
    def positives(self) -> int:
        """How many of them are true."""
        return int(sum(labels.sum(dtype=np.float64) for labels in self._labels()))

    def _labels(self) -> Iterator[Float32]:
        only = pa.ipc.IpcReadOptions(included_fields=[_LABELS])
        return (batch["labels"].to_numpy() for batch in self._batches(only))

    def _number(self, name: str) -> int:
        with pa.ipc.open_file(self.path) as file:
            return int(file.schema.metadata[name.encode()])

    def _batches(self, options: pa.ipc.IpcReadOptions) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_file(source, options=options) as file:
            for at in range(file.num_record_batches):
                yield file.get_batch(at)


def _batch(part: RankingSet, schema: pa.Schema) -> pa.RecordBatch:
    features = pa.FixedSizeListArray.from_arrays(pa.array(part.features.ravel()), len(FEATURES))
    columns = (pa.array(column) for column in (part.labels, part.weights, part.groups))
    return pa.record_batch([features, *columns], schema=schema)


@dataclass(frozen=True)
class SetFiles:
    """The ranking sets of all snapshots."""

    files: tuple[SetFile, ...] = ()

    def parts(self) -> Iterator[RankingSet]:
        """The parts of all, one in memory at a time."""
        return (part for file in self.files for part in file.parts())

    @property
    def users(self) -> int:
        """How many users had a label, summed over snapshots."""
        return sum(file.users for file in self.files)

    @property
    def taken(self) -> int:
        """How many of them were taken."""
        return sum(file.taken for file in self.files)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(file.rows for file in self.files)

    @property
    def positives(self) -> int:
        """How many of them are true."""
        return sum(file.positives for file in self.files)
