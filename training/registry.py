"""The mirror in MLflow: one registered version a bundle, and the alias of the model in use.

Records are the truth. Nothing of Nightjar reads MLflow, and MLflow being down is a warning: the next
night registers what is missing. A version is made in one call with all its tags, after a search by
the tag `bundle_id`; where two processes made one each, the lower stays. The alias follows the
records, so a process that comes late mends what an earlier one set.
"""

import fcntl
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.decisions import WITH_BOOSTER, Outcome

log = logging.getLogger(__name__)

ALIAS = "champion"
TRIES = 3  # a decision during each of them is unlikely, and the next night sets the alias again
SECONDS = 60.0  # for all requests together: MLflow's timeout ends one silence, not a server that drips
_PAGE = 1000  # versions in one answer: more than two years of nights
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
    outcome: Outcome
    source: str
    tags: Mapping[str, str]

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags of the registered version."""
        return {**self.tags, "bundle_id": self.bundle_id, "as_of": self.as_of, "outcome": self.outcome}


@dataclass(frozen=True)
class Registered:
    """The version of a night's bundle in MLflow."""

    version: str


def model_name(dataset: str) -> str:
    """The registered model of a data set."""
    return f"nightjar-{dataset}"


Decisions = Callable[[], Sequence[Version]]
"""Reads from the records what is decided now: of each as-of its newest sound decision, oldest first."""


def mirror(uri: str, dataset: str, decisions: Decisions) -> dict[str, str]:
    """Register the bundle of every decision that lacks a version, and let the alias follow.

    Parameters
    ----------
    uri
        The tracking URI.
    decisions
        Called again after the alias was set, so that of two processes the later one leaves it right.

    Returns
    -------
    dict
        The version's number by bundle id; empty where MLflow does not answer, or not in time. Then a
        warning says that it is behind, and nothing is raised.
    """
    try:
        load()
        return _in_time(lambda: _mirror(uri, model_name(dataset), decisions))
    except Exception as error:
        # not the error's text: it may hold the address with its password
        kind = " ".join((type(error).__name__, getattr(error, "error_code", ""))).strip()
        log.warning(
            "MLflow at %s is behind (%s): this night's model is not registered there, or not as the "
            "champion; lists do not need it, and the next night registers what is missing",
            uri.rpartition("@")[2],
            kind,
        )
        return {}


def _in_time(work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """The result of the work; raises `TimeoutError` after `SECONDS`, and lets the work run on."""
    done: Future[dict[str, str]] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, name="mlflow", daemon=True).start()
    return done.result(SECONDS)


def _mirror(uri: str, name: str, decisions: Decisions) -> dict[str, str]:
    with _alone(uri):
        client = _client(uri)
        numbers = _catch_up(client, name, decisions())
        _follow(client, name, numbers, decisions)
        return numbers


def _catch_up(client: Any, name: str, decisions: Sequence[Version]) -> dict[str, str]:
    """The version of each decision's bundle, made where it is missing; one search where none is."""
    with _passing_over("RESOURCE_ALREADY_EXISTS"):
        client.create_registered_model(name)
    registered = _registered(client, name)
    numbers = {bundle_id: _keep_lowest(client, name, versions) for bundle_id, versions in registered.items()}
    for decision in decisions:
        if decision.bundle_id not in numbers:
            numbers[decision.bundle_id] = register(client, name, decision)
            log.info("registered version %s for %s", numbers[decision.bundle_id], decision.as_of)
    return numbers


def _registered(client: Any, name: str) -> dict[str, list[str]]:
    """The numbers of all versions, ascending, by bundle."""
    by_bundle: dict[str, list[str]] = defaultdict(list)
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=_PAGE, page_token=token)
        for version in page:
            by_bundle[version.tags.get("bundle_id", "")].append(str(version.version))
        if not (token := page.token):
            return {bundle: sorted(numbers, key=int) for bundle, numbers in by_bundle.items() if bundle}


def register(client: Any, name: str, version: Version) -> str:
    """The number of the bundle's one version, made where there is none; the model must exist."""
    if not _versions(client, name, version.bundle_id):
        client.create_model_version(name, source=version.source, tags=version.all_tags)
    return _keep_lowest(client, name, _versions(client, name, version.bundle_id))


def _keep_lowest(client: Any, name: str, numbers: Sequence[str]) -> str:
    for number in numbers[1:]:
        with _passing_over("RESOURCE_DOES_NOT_EXIST"):
            client.delete_model_version(name, number)
    return numbers[0]


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Lock an SQLite store against other processes of this machine: MLflow creates it without a lock."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load() -> None:
    """Import MLflow without telemetry and without long retries; the first time it takes seconds."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _versions(client: Any, name: str, bundle_id: str) -> list[str]:
    versions = client.search_model_versions(f"name = '{name}' and tags.bundle_id = '{bundle_id}'")
    return sorted((str(version.version) for version in versions), key=int)


@contextmanager
def _passing_over(*codes: str) -> Iterator[None]:
    """Go on where MLflow answers with one of these error codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def _follow(client: Any, name: str, numbers: Mapping[str, str], decisions: Decisions) -> None:
    """Set the alias until it says what the records say; never to an older as-of."""
    for _ in range(TRIES):
        champion = _champion(decisions())
        if champion is None:
            return
        number = numbers.get(champion.bundle_id) or register(client, name, champion)
        current = _aliased(client, name)
        if current is not None and current.tags.get("as_of", "") > champion.as_of:
            return
        if current is None or str(current.version) != number:
            client.set_registered_model_alias(name, ALIAS, number)
        if _champion(decisions()) == champion:
            return


def _champion(decisions: Sequence[Version]) -> Version | None:
    return next((d for d in reversed(decisions) if d.outcome in WITH_BOOSTER), None)


def _aliased(client: Any, name: str) -> Any:
    """The version that has the alias; None where none has it."""
    with _passing_over("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return client.get_model_version_by_alias(name, ALIAS)
