"""ALS by Spark ML: the confidence matrix goes to a job, and its factors come back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake import layout, messages
from lake.errors import PermanentError
from lake.plan import Plan
from lake.sections import RetrievalSection
from lake.storage import Storage
from recommender.arrays import Float32
from spark_jobs.plans import AlsPlan, AlsResult

Submit = Callable[[str, str], None]
"""Runs a Spark job: its name, and the attempt whose plan it works on; raises the job's own error."""


def nowhere(name: str, attempt: str) -> None:
    """The `Submit` of a stage that was opened only to plan, to judge or to commit."""
    raise PermanentError(f"job {name} of attempt {attempt}: this stage was opened without a way to run Spark")


@dataclass(frozen=True)
class SparkAls:
    """A `recommender.retrieval.Solver`; each fit is an attempt of its own.

    Attributes
    ----------
    storage
        The lake.
    plan
        That of the training.
    scratch
        A folder of this machine.
    submit
        Runs the job.
    """

    storage: Storage
    plan: Plan
    scratch: Path
    submit: Submit

    def __call__(self, confidence: Any, config: RetrievalSection) -> tuple[Float32, Float32]:
        """Fit user and item factors, float32; a row of zeros for whoever has no pair."""
        users, items = confidence.shape
        made = self._fitted(confidence, config) if confidence.nnz else AlsResult((), ())
        return self._rows(made.users, users, config.factors), self._rows(made.items, items, config.factors)

    def _fitted(self, confidence: Any, config: RetrievalSection) -> AlsResult:
        attempt = layout.new_attempt()
        # It began with the training, as whoever removes what is left behind has to know.
        self.storage.put_new(layout.begun(attempt), self.storage.read(layout.begun(self.plan.attempt)))
        plan = AlsPlan(
            stage=self.plan.stage,
            attempt=attempt,
            version=self.plan.version,
            sections={"retrieval": config.model_dump(mode="json")},
            based_on=self.plan.based_on,
            lake=self.storage.root,
            confidence=self._put(confidence, attempt),
            pairs=confidence.nnz,
            regularization=config.regularization / mean_pairs(confidence),
        )
        messages.write(self.storage, layout.plan(attempt), plan)
        self.submit("als", attempt)
        return messages.read(self.storage, layout.result(attempt), AlsResult)

    def _put(self, confidence: Any, attempt: str) -> str:
        path, local = layout.attempt(attempt, "confidence.parquet"), self.scratch / f"{attempt}.parquet"
        pairs = confidence.tocoo()
        columns = {
            "user": pairs.row.astype(np.int32),
            "item": pairs.col.astype(np.int32),
            "confidence": pairs.data,
        }
        pq.write_table(pa.table(columns), local)
        self.storage.put_file(path, local)
        local.unlink()
        return path

    def _rows(self, files: Iterable[str], count: int, factors: int) -> Float32:
        found = np.zeros((count, factors), np.float32)
        for path in files:
            with self.storage.open(path) as file:
                rows = pq.read_table(file).combine_chunks()
            values = rows["features"].combine_chunks().flatten().to_numpy()
            found[rows["id"].to_numpy()] = values.reshape(-1, factors)
        return found


def mean_pairs(confidence: Any) -> float:
    """How many pairs a user or an item has that has one, on average.

    Spark ML multiplies the regularization of each by its number of pairs. Divided by this mean, all of
    them are held down by as much in sum as where everybody is by the same.
    """
    users = np.count_nonzero(np.diff(confidence.indptr))
    items = len(np.unique(confidence.indices))
    return float(2 * confidence.nnz / (users + items))
