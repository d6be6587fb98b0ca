"""The mirror in MLflow: one registered version a bundle, and the alias of the model in use.

Records are the truth. Nothing of Nightjar reads MLflow, and MLflow being down is a warning.
A version is made in one call with all its tags, after a search by the tag `bundle_id`; where two
processes made one each, the lower stays. The alias follows the records, so a process that comes
late mends what an earlier one set.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ALIAS = "champion"
TRIES = 3
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True)
class Version:
    """What is registered for one decision.

    Attributes
    ----------
    bundle_id, as_of, outcome
        The decision's; `as_of` as YYYY-MM-DD.
    source
        The URI of the bundle's folder.
    tags
        All other tags.
    """

    bundle_id: str
    as_of: str
    outcome: str
    source: str
    tags: Mapping[str, str]

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags of the registered version."""
        return {**self.tags, "bundle_id": self.bundle_id, "as_of": self.as_of, "outcome": self.outcome}


def model_name(dataset: str) -> str:
    """The registered model of a data set."""
    return f"nightjar-{dataset}"


def mirror(uri: str, dataset: str, decision: Version, champion: Callable[[], Version | None]) -> None:
    """Register a decision's bundle and make the alias follow the newest champion.

    Parameters
    ----------
    uri
        The tracking URI.
    decision
        The night's own decision.
    champion
        Reads from the records what the newest *promoted* or *kept* decision is now. Asked again
        after the alias was set, so that of two processes the later one leaves it right.

    Nothing is raised: where MLflow does not answer, a warning says that it lags behind.
    """
    try:
        _import_mlflow()
        name = model_name(dataset)
        with _alone(uri):
            client = _client(uri)
            register(client, name, decision)
            _follow(client, name, champion)
    except Exception as error:
        # not the error's text: it may hold the address with its password
        kind = type(error).__name__
        log.warning("MLflow at %s lags behind (%s); the next decision mends it", _public(uri), kind)


def register(client: Any, name: str, version: Version) -> str:
    """The number of the bundle's one version, made where there is none."""
    _ensure_model(client, name)
    if not _versions(client, name, version.bundle_id):
        client.create_model_version(name, source=version.source, tags=version.all_tags)
    numbers = _versions(client, name, version.bundle_id)
    for number in numbers[1:]:
        _delete(client, name, number)
    return numbers[0]


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Be the only process of this machine that uses an SQLite store: MLflow creates it without a lock."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _import_mlflow() -> None:
    """Import it without telemetry and without long retries, before the lock is taken: it takes seconds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _ensure_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions(client: Any, name: str, bundle_id: str) -> list[str]:
    found = client.search_model_versions(f"name = '{name}' and tags.bundle_id = '{bundle_id}'")
    return sorted((str(version.version) for version in found), key=int)


def _delete(client: Any, name: str, number: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.delete_model_version(name, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _follow(client: Any, name: str, champion: Callable[[], Version | None]) -> None:
    """Set the alias until it says what the records say; never to an older as-of."""
    for _ in range(TRIES):
        wanted = champion()
        if wanted is None:
            return
        number = register(client, name, wanted)
        current = _aliased(client, name)
        if current is not None and current.tags.get("as_of", "") > wanted.as_of:
            return
        if current is None or str(current.version) != number:
            client.set_registered_model_alias(name, ALIAS, number)
        if champion() == wanted:
            return


def _aliased(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _public(uri: str) -> str:
    return uri.rpartition("@")[2]
