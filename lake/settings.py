"""One frozen settings object: the data set's TOML and the environment (`NIGHTJAR_*`)."""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake import kinds, toml
from lake.comparisons import Compare
from lake.errors import ConfigError, PermanentError
from lake.kinds import (
    PLACEHOLDER,
    Day,
    Limit,
    Name,
    Positive,
    Seconds,
    Section,
    Seed,
    Sequence,
    Template,
    Text,
    Weight,
    Zone,
)
from lake.releases import Index, Lists
from nightjar_reader.address import redacted

CHECKOUT = Path(__file__).resolve().parents[1]
CONFIG_DIR = CHECKOUT / "config"

IdType = Literal["int64", "string"]
FileFormat = Literal["parquet", "csv", "jsonl"]
Part = Annotated[float, Field(ge=1e-6, le=1)]
"""A share that XGBoost takes, and that does something: it refuses what float32 cannot hold."""


class RawColumns(Section):
    """Which raw column holds which of ours; an absent optional column is null in the lake."""

    user_id: Text
    item_id: Text
    event_ts: Text
    event_type: Text | None = None
    quantity: Text | None = None
    amount: Text | None = None
    context_id: Text | None = None
    segment: Text | None = None

    _check_columns = field_validator("*")(kinds.own)


class Raw(Section):
    """Where a day's raw files are and how their columns map."""

    files: Template
    format: FileFormat
    timezone: Zone = "UTC"
    late_days: int = Field(default=0, ge=0, le=366)
    closed_days: Sequence[Day] = ()
    columns: RawColumns

    def path(self, day: dt.date) -> str:
        """The file of a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


class Events(Section):
    """Event types: the default, the weight of each, which are labels, which are unwanted."""

    default: Text
    weights: dict[Text, Weight] = Field(min_length=1)
    labels: Annotated[Sequence[Text], Field(min_length=1)]
    ignore: Sequence[Text] = ()

    @model_validator(mode="after")
    def _each_type_has_a_weight_or_is_ignored(self) -> "Events":
        if both := sorted(set(self.ignore) & set(self.weights)):
            raise ValueError(f"ignore and weights both name {both}: keep one of the two")
        unknown = ({self.default} | set(self.labels)) - set(self.weights)
        if unknown:
            raise ValueError(f"events.weights lacks {sorted(unknown)}")
        return self


class CatalogueColumns(Section):
    """Which catalogue column holds which of ours; all others become attributes."""

    item_id: Text
    name: Text
    category: Text
    subcategory: Text
    brand: Text | None = None


class Catalogue(Section):
    """Where catalogue snapshots are; one counts from the day it was delivered."""

    files: Template
    format: FileFormat
    columns: CatalogueColumns

    def path(self, day: dt.date) -> str:
        """The snapshot that came on a day, relative to `NIGHTJAR_RAW`."""
        return self.files.replace(PLACEHOLDER, day.isoformat())


class Rules(Section):
    """Row rules and thresholds of the ingest checks."""

    min_rows: int = Field(default=1, ge=0, le=10**12)
    max_rows: int = Field(default=10**12, ge=1, le=10**12)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    max_bad_catalogue_share: float = Field(default=0.01, ge=0, le=1)
    returns: Literal["quarantine", "fault"] = "quarantine"
    max_return_share: float = Field(default=0.5, ge=0, le=1)
    rounding: Literal["warn", "quarantine"] = "warn"
    max_quantity: float = Field(default=1e6, gt=0, le=kinds.LARGEST_NUMBER)
    max_amount: float = Field(default=1e8, gt=0, le=kinds.LARGEST_NUMBER)
    sentinels: Sequence[Text] = kinds.SENTINELS
    float_ids: Literal["quarantine", "keep"] = "quarantine"
    max_id_length: int = Field(default=256, ge=1, le=1024)

    @field_validator("max_rows")
    @classmethod
    def _at_least_min_rows(cls, rows: int, info: ValidationInfo) -> int:
        if rows < info.data.get("min_rows", 0):
            raise ValueError(f"expected at least min_rows, which is {info.data['min_rows']}")
        return rows


class Retrieval(Section):
    """ALS and item-item neighbours."""

    factors: int = Field(default=64, ge=1, le=1024)
    regularization: Positive = 8.0
    alpha: float = Field(default=4.0, ge=1e-6, le=1e6)  # below, ALS does not move from its random start
    iterations: int = Field(default=10, ge=1, le=1000)
    neighbours: int = Field(default=100, ge=1, le=1000)
    seed: Seed = 0


class Candidates(Section):
    """How many candidates each source gives a user."""

    limit: int = Field(default=200, ge=1, le=200)
    own: int = Field(default=150, ge=0)
    item_item: int = Field(default=0, ge=0)

    @field_validator("own", "item_item")
    @classmethod
    def _within_the_limit(cls, count: int, info: ValidationInfo) -> int:
        if count > info.data.get("limit", count):
            raise ValueError(f"expected at most limit, which is {info.data['limit']}")
        return count


class Training(Section):
    """Snapshots, labels, users and negatives of the ranker's training set.

    Memory follows `snapshots` x `max_users` x `negatives`: about 0.7 KB for each of these.
    """

    snapshots: int = Field(default=4, ge=1, le=52)
    label_days: int = Field(default=7, ge=1, le=28)
    max_users: int = Field(default=25_000, ge=1, le=10**9)
    negatives: int = Field(default=60, ge=1, le=10_000)


class Ranker(Section):
    """XGBoost's parameters."""

    objective: Literal["binary:logistic", "rank:ndcg"] = "binary:logistic"
    rounds: int = Field(default=120, ge=1, le=10_000)
    eta: Part = 0.06
    max_depth: int = Field(default=6, ge=1, le=16)
    min_child_weight: float = Field(default=20.0, ge=0, le=1e9)
    subsample: Part = 0.8
    colsample_bytree: Part = 0.6
    seed: Seed = 0


class Evaluation(Section):
    """How models are compared."""

    cut: int = Field(default=10, ge=1, le=200)
    min_users: int = Field(default=100, ge=1, le=10**9)
    draws: int = Field(default=1000, ge=100, le=100_000)
    seed: Seed = 0


class Dataset(Section):
    """One data set, as its TOML says."""

    name: Name
    first_day: Day
    last_day: Day | None = None
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

    @field_validator("last_day")
    @classmethod
    def _not_before_the_first(cls, last: dt.date | None, info: ValidationInfo) -> dt.date | None:
        first = info.data.get("first_day")
        if last and first and last < first:
            raise ValueError(f"last_day is before first_day, {first}")
        return last

    @model_validator(mode="after")
    def _sections_agree(self) -> "Dataset":
        first, last = self.first_day, self.last_day or dt.date.max
        outside = [str(day) for day in self.raw.closed_days if not first <= day <= last]
        if outside:
            raise ValueError(f"raw.closed_days: expected days of the data set, found {', '.join(outside)}")
        if self.catalogue and self.catalogue.files == self.raw.files:
            raise ValueError(f"catalogue.files: expected others than raw.files, found {self.raw.files!r}")
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

    home: kinds.Folder = CHECKOUT / ".nightjar"
    dataset: str = Field(default="complete_journey", min_length=1)
    lake: str = ""
    raw: str = ""
    releases: str = ""
    mlflow_uri: str = ""

    raw_wait: Seconds = 4 * 3600
    history_wait: Seconds = 3600
    previous_decision_wait: Seconds = 1800
    decision_wait: Seconds = 3 * 3600
    poke_interval: Limit = 60
    light_timeout: Limit = 1800
    heavy_timeout: Limit = 7200
    retry_delay: Seconds = 30

    spark_master: str = Field(default="local[*]", pattern=kinds.MASTER)
    spark_memory: kinds.Memory = "2g"
    threads: int = Field(default=0, ge=0, le=1024)
    port: int = Field(default=8080, ge=1, le=65_535)

    _check_places = field_validator("lake", "raw", "releases")(kinds.place)
    _check_tracking = field_validator("mlflow_uri")(kinds.tracking)

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What is not told follows from home and lake; what is told, emptiness too, is judged as it is."""
        home = kinds.folder(values.get("home", CHECKOUT / ".nightjar"))
        lake = kinds.place_or(values.get("lake"), home / "lake")
        data = values.get("dataset", "complete_journey")
        follow = {
            "lake": lake,
            "raw": f"{lake}/raw",
            "releases": f"{lake}/published",
            "mlflow_uri": f"sqlite:///{home}/mlflow.db",
        }
        path = {"dataset": str(Path(data).expanduser().absolute())} if data.endswith(".toml") else {}
        return follow | values | path

    @property
    def data(self) -> Dataset:
        """The data set, read once a process."""
        return dataset(self.dataset)

    def redacted(self) -> dict[str, str]:
        """Every setting as text, with what stands before an @ in an address left out."""
        return {name: redacted(str(value)) for name, value in self.model_dump().items()}


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
    return toml.read(path, Dataset)


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
        said = (f"NIGHTJAR_{key.upper()}: {problem}" for key, problem in toml.problems(error, Settings))
        raise ConfigError(f"environment: {'; '.join(said)}") from error


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
