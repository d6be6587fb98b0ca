"""One frozen settings object: the data set's TOML and the environment (`NIGHTJAR_*`)."""

import datetime as dt
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake.comparisons import Compare
from lake.errors import ConfigError, PermanentError

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIG_DIR = CHECKOUT / "config"

IdType = Literal["int64", "string"]
FileFormat = Literal["parquet", "csv", "jsonl"]


PLACEHOLDER = "{partition}"


def _require_template(files: str) -> str:
    if PLACEHOLDER not in files or "{" in files.replace(PLACEHOLDER, ""):
        raise ValueError(f"must contain {PLACEHOLDER}, and no other field")
    return files


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RawColumns(_Section):
    """Which raw column holds which of ours; an absent optional column is null in the lake."""

    user_id: str
    item_id: str
    event_ts: str
    event_type: str | None = None
    quantity: str | None = None
    amount: str | None = None
    context_id: str | None = None
    segment: str | None = None


class Raw(_Section):
    """Where a day's raw files are and how their columns map."""

    files: str
    format: FileFormat
    timezone: str = "UTC"
    late_days: int = Field(default=0, ge=0)
    closed_days: tuple[dt.date, ...] = ()
    columns: RawColumns

    _check_files = field_validator("files")(_require_template)

    def path(self, day: dt.date) -> str:
        """The file of a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


class Events(_Section):
    """Event types: the default, the weight of each, which are labels, which are unwanted."""

    default: str
    weights: dict[str, float]
    labels: tuple[str, ...]
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ignored_have_no_weight(self) -> "Events":
        if both := sorted(set(self.ignore) & set(self.weights)):
            raise ValueError(f"ignore and weights both name {both}: keep one of the two")
        return self


class CatalogueColumns(_Section):
    """Which catalogue column holds which of ours; all others become attributes."""

    item_id: str
    name: str
    category: str
    subcategory: str
    brand: str | None = None


class Catalogue(_Section):
    """Where catalogue snapshots are; one counts from the day it was delivered."""

    files: str
    format: FileFormat
    columns: CatalogueColumns

    _check_files = field_validator("files")(_require_template)

    def path(self, day: dt.date) -> str:
        """The snapshot that came on a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


SENTINELS = (
    "-1",
    "null",
    "(null)",
    "<null>",
    "\\n",
    "nil",
    "none",
    "nan",
    "n/a",
    "#n/a",
    "undefined",
    "00000000-0000-0000-0000-000000000000",
)
"""What stands for nobody in every export that we know of; 0, `na` and `unknown` may be real ids."""

LARGEST_NUMBER = 10**12
"""The highest bound of a quantity or an amount: 10**13 rows at it fit into every sum of the features."""


class Rules(_Section):
    """Row rules and thresholds of the ingest checks."""

    min_rows: int = Field(default=1, ge=0)
    max_rows: int = Field(default=10**12, ge=1)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    max_bad_catalogue_share: float = Field(default=0.01, ge=0, le=1)
    returns: Literal["quarantine", "fault"] = "quarantine"
    max_return_share: float = Field(default=0.5, ge=0, le=1)
    rounding: Literal["warn", "quarantine"] = "warn"
    max_quantity: float = Field(default=1e6, gt=0, le=LARGEST_NUMBER)
    max_amount: float = Field(default=1e8, gt=0, le=LARGEST_NUMBER)
    sentinels: tuple[str, ...] = SENTINELS
    float_ids: Literal["quarantine", "keep"] = "quarantine"
    max_id_length: int = Field(default=256, ge=1, le=1024)


class Retrieval(_Section):
    """ALS and item-item neighbours."""

    factors: int = Field(default=64, ge=1)
    regularization: float = 8.0
    alpha: float = 4.0
    iterations: int = Field(default=10, ge=1)
    neighbours: int = Field(default=100, ge=1)
    seed: int = 0


class Candidates(_Section):
    """How many candidates each source gives a user."""

    limit: int = Field(default=200, ge=1, le=200)
    own: int = Field(default=150, ge=0)
    item_item: int = Field(default=0, ge=0)


class Training(_Section):
    """Snapshots, labels, users and negatives of the ranker's training set.

    Memory follows `snapshots` x `max_users` x `negatives`: about 0.5 KB for each of these.
    """

    snapshots: int = Field(default=4, ge=1)
    label_days: int = Field(default=7, ge=1)
    max_users: int = Field(default=50_000, ge=1)
    negatives: int = Field(default=60, ge=1)


class Ranker(_Section):
    """XGBoost's parameters."""

    objective: Literal["binary:logistic", "rank:ndcg"] = "binary:logistic"
    rounds: int = Field(default=120, ge=1)
    eta: float = 0.06
    max_depth: int = 6
    min_child_weight: float = 20.0
    subsample: float = 0.8
    colsample_bytree: float = 0.6
    seed: int = 0


class Evaluation(_Section):
    """How models are compared."""

    cut: int = Field(default=10, ge=1)
    min_users: int = Field(default=100, ge=1)
    draws: int = Field(default=1000, ge=100)
    seed: int = 0


class Lists(_Section):
    """Sizes of what a release holds."""

    length: int = Field(default=50, ge=1)
    similar: int = Field(default=50, ge=1)
    popular: int = Field(default=200, ge=1)
    buckets: int = Field(default=64, ge=1)


class Index(_Section):
    """The Annoy index for item-to-item search."""

    trees: tuple[int, ...] = (25, 50, 100, 200)
    search_k: int = 20_000
    recall_at: int = 100
    recall_floor: float = 0.95
    queries: int = Field(default=1000, ge=1)
    seed: int = 0


class Dataset(_Section):
    """One data set, as its TOML says."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    first_day: dt.date
    last_day: dt.date | None = None
    id_type: IdType
    repeats: bool = True
    raw: Raw
    events: Events
    catalogue: Catalogue | None = None
    rules: Rules = Rules()
    compare: Compare = Compare()
    retrieval: Retrieval = Retrieval()
    candidates: Candidates = Candidates()
    training: Training = Training()
    ranker: Ranker = Ranker()
    evaluation: Evaluation = Evaluation()
    lists: Lists = Lists()
    index: Index = Index()

    @model_validator(mode="after")
    def _days_and_events_agree(self) -> "Dataset":
        if self.last_day and self.last_day < self.first_day:
            raise ValueError("last_day is before first_day")
        unknown = ({self.events.default} | set(self.events.labels)) - set(self.events.weights)
        if unknown:
            raise ValueError(f"events.weights lacks {sorted(unknown)}")
        return self

    def require_day(self, day: dt.date, today: dt.date | None = None) -> dt.date:
        """Refuse a day that the data set does not have, or that is not over as of `today`.

        Raises
        ------
        PermanentError
            When `day` is none of its days; the message names those there are.
        """
        last = min(self.last_day or dt.date.max, today - dt.timedelta(days=1) if today else dt.date.max)
        if not self.first_day <= day <= last:
            end = "now on" if last == dt.date.max else last
            raise PermanentError(
                f"partition {day} is outside {self.name}: expected {self.first_day} to {end}"
            )
        return day

    def digest(self, sections: Iterable[str]) -> str:
        """SHA-256 (hex) of the named sections alone, so that other settings change nothing."""
        chosen = {name: self.model_dump(mode="json")[name] for name in sorted(sections)}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


class Settings(BaseSettings):
    """Where things lie, how long to wait, how much to use. None of it changes what comes out.

    Every field is an environment variable: `lake` is `NIGHTJAR_LAKE`, and so on. Waits are
    seconds; memory is what Spark's JVM may take.
    """

    model_config = SettingsConfigDict(env_prefix="NIGHTJAR_", frozen=True, extra="ignore")

    home: Path = CHECKOUT / ".nightjar"
    dataset: str = "complete_journey"
    lake: str = ""
    raw: str = ""
    releases: str = ""
    mlflow_uri: str = ""

    raw_wait: int = 4 * 3600
    history_wait: int = 3600
    previous_decision_wait: int = 1800
    decision_wait: int = 3 * 3600
    poke_interval: int = 60
    light_timeout: int = 1800
    heavy_timeout: int = 7200
    retry_delay: int = 30

    spark_master: str = "local[*]"
    spark_memory: str = "2g"
    threads: int = 0
    gx_row_limit: int = 5_000_000
    port: int = 8080

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        home = Path(values.get("home") or CHECKOUT / ".nightjar").expanduser().absolute()
        lake = _address(values.get("lake") or str(home / "lake"))
        data = values.get("dataset") or "complete_journey"
        return values | {
            "home": home,
            "dataset": str(Path(data).expanduser().absolute()) if data.endswith(".toml") else data,
            "lake": lake,
            "raw": _address(values.get("raw") or f"{lake}/raw"),
            "releases": _address(values.get("releases") or f"{lake}/published"),
            "mlflow_uri": values.get("mlflow_uri") or f"sqlite:///{home}/mlflow.db",
        }

    @property
    def data(self) -> Dataset:
        """The data set, read once a process."""
        return dataset(self.dataset)

    def redacted(self) -> dict[str, str]:
        """Every setting as text, with what stands before an @ in an address left out."""
        return {name: _redact(str(value)) for name, value in self.model_dump().items()}


def _address(text: str) -> str:
    """One spelling for a place: a URI without a slash at its end; a path becomes ``file:///...``."""
    parts = urlsplit(text)
    if parts.scheme not in ("", "file"):
        return text.rstrip("/")
    folder = unquote(parts.path) if parts.scheme else text
    return Path(folder).expanduser().absolute().as_uri()


def _redact(text: str) -> str:
    scheme, slashes, rest = text.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if slashes and "@" in rest else text


@cache
def dataset(name: str) -> Dataset:
    """Read a data set's TOML.

    Parameters
    ----------
    name
        A name in `config/`, or the path of a TOML file.

    Raises
    ------
    ConfigError
        When there is no such file, or a field of it is wrong; the message names each field.
    """
    path = Path(name) if name.endswith(".toml") else CONFIG_DIR / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(
            f"NIGHTJAR_DATASET={name!r}: no file {path}; give a name in config/ or the path of a TOML"
        )
    try:
        return Dataset.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {_reasons(error)}") from error


def _reasons(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())


def load() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    ConfigError
        When a variable has a value of the wrong kind.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(f"environment NIGHTJAR_*: {_reasons(error)}") from error


def threads(settings: Settings) -> int:
    """How many threads to use: the setting, else what the process may run on."""
    return settings.threads or cores()


def cores() -> int:
    """How many cores the process may use: those it may run on, at most its cgroup's quota."""
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, _cgroup_cores() or allowed)


def _cgroup_cores() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return 0
