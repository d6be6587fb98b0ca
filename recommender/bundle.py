"""Bundles: what a night's training leaves for its lists, as a folder whose id is the digest of its files.

MLflow opens a bundle as a model (`mlflow.pyfunc.load_model`): its `MLmodel` names this module.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from lake import layout
from lake.dataset import Dataset
from lake.errors import PermanentError
from lake.ledger import names_in
from lake.storage import Storage, put_equal
from nightjar_reader.sequences import pass_over
from recommender import retrieval_files
from recommender.arrays import Float32, Int32
from recommender.candidates import most_popular
from recommender.matrix import FEATURES
from recommender.retrieval import Retrieval
from recommender.view import Origin
from topn import top_n

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Final = 1
DESCRIPTION: Final = "bundle.json"
BOOSTER: Final = "ranker.ubj"
MLMODEL: Final = "MLmodel"
MLMODEL_TEXT: Final = """\
flavors:
  python_function:
    data: .
    loader_module: recommender.bundle
"""
MLFLOW_NOTE: Final = "registered_model_meta"
"""MLflow writes this file into the folder of a model that it opens by name; it is not the bundle's."""

FILES: Final = retrieval_files.NAMES | {DESCRIPTION, BOOSTER, MLMODEL}
"""All that a bundle has, the booster not always; nothing else in its folder is read."""

LENGTH: Final = 50  # of the lists that `mlflow.pyfunc` gives: the default of `lists.length`
CONFIG: Final = ("repeats", "features", "retrieval", "candidates", "training", "ranker")


@dataclass(frozen=True)
class Bundle:
    """A night's retrieval, and the booster that its decision names.

    Attributes
    ----------
    bundle_id
        SHA-256 (hex) over names and digests of its files.
    as_of
        The day of the retrieval.
    outcome, baseline
        What was decided; `baseline` names the one to use where that is the outcome.
    booster
        XGBoost's model in UBJSON, or None.
    features
        The columns that the booster wants, in order.
    features_version, features_digest
        Version of the features stage and digest of its configuration, for which it was trained.
    config
        The data set's sections that shaped it.
    """

    bundle_id: str
    as_of: dt.date
    outcome: str
    baseline: str | None
    retrieval: Retrieval
    booster: bytes | None
    features: tuple[str, ...]
    features_version: int
    features_digest: str
    config: Mapping[str, Any]


def write(
    folder: Path,
    *,
    as_of: dt.date,
    outcome: str,
    retrieval: Retrieval,
    data: Dataset,
    features: Origin,
    baseline: str | None = None,
    booster: bytes | None = None,
) -> str:
    """Write a bundle into an empty local folder; same content, same bytes.

    Returns
    -------
    str
        The bundle's id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format": FORMAT,
        "as_of": as_of.isoformat(),
        "outcome": outcome,
        "baseline": baseline,
        "features": FEATURES,
        "features_version": features.version,
        "features_digest": features.config_digest,
        "config": data.chosen(CONFIG),
    }
    files = retrieval_files.encode(retrieval) | {
        DESCRIPTION: json.dumps(description, sort_keys=True, indent=1).encode(),
        MLMODEL: MLMODEL_TEXT.encode(),
    }
    if booster is not None:
        files[BOOSTER] = booster
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return digest(files)


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 (hex) of the JSON list of (name, sha256) of files, sorted by name."""
    named = sorted([name, hashlib.sha256(content).hexdigest()] for name, content in files.items())
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def put(storage: Storage, folder: Path, bundle_id: str) -> None:
    """Put a bundle's files, create-only, `MLmodel` last; a file that exists with equal bytes is fine.

    Raises
    ------
    PermanentError
        When a file exists with other bytes.
    """
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == MLMODEL, name))
    for name in names:
        otherwise = " than this bundle's: it is damaged; remove the bundle's folder and train again"
        put_equal(storage, f"{layout.bundle(bundle_id)}/{name}", folder / name, otherwise)


def load(storage: Storage, bundle_id: str) -> Bundle:
    """Read a bundle and verify it against its id; a warning names what else lies in its folder.

    Raises
    ------
    PermanentError
        When a file is missing, changed or added.
    """
    folder = layout.bundle(bundle_id)
    names = set(names_in(storage, folder)) - {MLFLOW_NOTE}
    for stray in sorted(names - FILES):
        pass_over(storage.uri(f"{folder}/{stray}"), "a bundle's files alone")
    files = {name: storage.read(f"{folder}/{name}") for name in sorted(names & FILES)}
    actual = digest(files)
    if actual != bundle_id:
        raise PermanentError(
            f"bundle {storage.uri(folder)}: its {len(files)} files have the digest {actual}, "
            f"expected {bundle_id}: one is missing, changed or added; train that night again"
        )
    return _decode(bundle_id, files)


def _decode(bundle_id: str, files: Mapping[str, bytes]) -> Bundle:
    description = json.loads(files[DESCRIPTION])
    return Bundle(
        bundle_id=bundle_id,
        as_of=dt.date.fromisoformat(description["as_of"]),
        outcome=description["outcome"],
        baseline=description["baseline"],
        retrieval=retrieval_files.decode(files),
        booster=files.get(BOOSTER),
        features=tuple(description["features"]),
        features_version=description["features_version"],
        features_digest=description["features_digest"],
        config=description["config"],
    )


def mismatch(bundle: Bundle, features: Origin) -> str | None:
    """Why a bundle's booster does not fit some features; None where it does."""
    expected = {
        "feature list": (bundle.features, FEATURES),
        "features version": (bundle.features_version, features.version),
        "features configuration": (bundle.features_digest, features.config_digest),
    }
    differing = [name for name, (trained, current) in expected.items() if trained != current]
    if not differing:
        return None
    return f"the booster of bundle {bundle.bundle_id[:12]} was trained for another {', '.join(differing)}"


class Model:
    """A bundle as MLflow's python_function: the best items of users by its retrieval alone."""

    def __init__(self, bundle: Bundle) -> None:
        self._retrieval = bundle.retrieval
        self._length: int = LENGTH

    def predict(self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """Items for users: by factors, or the popular ones for a user whom the bundle does not know.

        Parameters
        ----------
        model_input
            User ids in the first column.

        Returns
        -------
        pandas.DataFrame
            `user_id`, `item_ids`, `scores`, a row for each row of the input.
        """
        import pandas as pd

        ids = model_input.iloc[:, 0]
        codes = self._retrieval.users.codes(pa.array(ids, self._retrieval.users.values.type))
        lists = self._lists(codes)
        return pd.DataFrame(
            {
                "user_id": ids.to_numpy(),
                "item_ids": [self._retrieval.items.take(items).to_pylist() for items, _ in lists],
                "scores": [scores.tolist() for _, scores in lists],
            }
        )

    def _lists(self, codes: Int32) -> list[tuple[Int32, Float32]]:
        retrieval = self._retrieval
        everything = np.ones(len(retrieval.items), bool)
        common = most_popular(retrieval.popularity, everything, self._length)
        users = retrieval.user_factors[np.maximum(codes, 0)]
        best = top_n(users, retrieval.item_factors, self._length, threads=1)
        parts = [slice(best.indptr[row], best.indptr[row + 1]) for row in range(len(codes))]
        return [
            (best.items[part], best.scores[part]) if code >= 0 else common
            for code, part in zip(codes, parts, strict=True)
        ]


def _load_pyfunc(path: str) -> Model:
    """What `mlflow.pyfunc.load_model` calls with the bundle's folder."""
    files = {file.name: file.read_bytes() for file in Path(path).iterdir() if file.name in FILES}
    return Model(_decode(digest(files), files))
