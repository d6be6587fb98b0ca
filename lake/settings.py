"""The environment: every variable `NIGHTJAR_*`, in groups by subject, and all of them as `Settings`."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake import cores, memory, place_kinds, toml
from lake.kinds import Duration, PositiveDuration
from lake.plan import BLOCK_MIB
from nightjar_reader.address import redacted

CHECKOUT = Path(__file__).resolve().parents[1]
PREFIX = "NIGHTJAR_"


class _Variables(BaseSettings):
    """A group of variables: each field is one, `lake` is `NIGHTJAR_LAKE`, and so on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True
    )


def _follows(text: str, default: Any = "") -> Any:
    """A field whose default depends on other fields: as docs/settings.md words it."""
    return Field(default=default, json_schema_extra={"follows": text})


def _measured(text: str, measure: Callable[[], Any]) -> Any:
    """A field whose default depends on the machine: as docs/settings.md words it."""
    return Field(default_factory=measure, json_schema_extra={"follows": text})


class Places(_Variables):
    """Where things lie: paths, `file:///folder` or `s3://bucket/prefix`, without `?`, `#`, `~` and `..`."""

    home: place_kinds.Folder = _follows("`.nightjar` in the checkout", CHECKOUT / ".nightjar")
    """Airflow's home, the MLflow database, logs and caches."""
    dataset: str = Field(default="complete_journey", min_length=1)
    """A name in `config/`, or the path of a data set's TOML."""
    lake: str = _follows("`file://<home>/lake`")
    """Tables, records and bundles; one lake is one data set."""
    raw: str = _follows("`<lake>/raw`")
    """Where raw days land."""
    releases: str = _follows("`<lake>/published`")
    """Releases and their ledger."""
    mlflow_uri: str = _follows("`sqlite:///<home>/mlflow.db`")
    """The model registry; an MLflow server (`http://...`) needs the lake on S3."""

    _check_places = field_validator("lake", "raw", "releases")(place_kinds.place)
    _check_tracking = field_validator("mlflow_uri")(place_kinds.tracking)

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Fill what is not set from home and lake; what is set, even if to nothing, is validated as it is."""
        home = place_kinds.folder(values.get("home", CHECKOUT / ".nightjar"))
        lake = place_kinds.place_or(values.get("lake"), home / "lake")
        data = values.get("dataset", "complete_journey")
        follow = {
            "lake": lake,
            "raw": f"{lake}/raw",
            "releases": f"{lake}/published",
            "mlflow_uri": f"sqlite:///{home}/mlflow.db",
        }
        path = {"dataset": str(Path(data).expanduser().absolute())} if data.endswith(".toml") else {}
        return follow | values | path


class Waits(_Variables):
    """How long a night waits for what it needs, in seconds."""

    raw_wait: Duration = dt.timedelta(hours=4)
    """For the raw day; then the night takes the files of a set that are there, and fails where none are."""
    history_wait: Duration = dt.timedelta(hours=1)
    """For the days before; then it goes on with those there are."""
    previous_decision_wait: Duration = dt.timedelta(minutes=30)
    """For the decision of the night before; then training goes on with the newest earlier one."""
    decision_wait: Duration = dt.timedelta(hours=3)
    """For tonight's decision; then lists are made by the newest that did not fail."""


class Tasks(_Variables):
    """How often a wait looks, how long a task may take, and how long a failed one rests, in seconds."""

    poke_interval: PositiveDuration = dt.timedelta(minutes=1)
    """Between two looks of a wait."""
    light_timeout: PositiveDuration = dt.timedelta(minutes=30)
    """How long a light task may take; then it fails."""
    heavy_timeout: PositiveDuration = dt.timedelta(hours=2)
    """How long a heavy task may take: Spark, training, lists; then it fails."""
    retry_delay: Duration = dt.timedelta(seconds=30)
    """Before a failed task is tried again, twice at most."""


class Spark(_Variables):
    """Where Spark runs, and what it may take. Each job's log begins with what it got."""

    spark_master: place_kinds.Master = _measured(
        "`local[N]`, for the N cores that this process may use", lambda: f"local[{cores.count()}]"
    )
    """Where it runs."""
    spark_memory: place_kinds.Memory = _measured(
        f"a third of the memory that this process may use, {memory.LEAST_MIB}m to {memory.MOST_MIB}m",
        lambda: memory.of_spark(memory.limit()),
    )
    """How much memory its JVM may take."""
    spark_executor_memory: place_kinds.Memory = "2g"
    """How much memory the JVM of an executor may take, on a cluster; its Python comes on top."""
    spark_executor_cores: int = Field(default=0, ge=0, le=1024)
    """Cores of an executor, on a cluster; 0 are what its master gives: all of a worker of Spark's own."""
    spark_archive: place_kinds.FileName | None = None
    """An archive of Python with our requirements, by path or address; each executor unpacks it."""
    spark_python: place_kinds.FileName | None = _follows(
        "`./environment/bin/python` with an archive, else as on this machine", None
    )
    """The path of Python on the workers of a cluster."""
    spark_properties: place_kinds.FileName | None = None
    """A file of Spark's other options, in the form of `spark-defaults.conf`; those that we set come first."""
    spark_wait: PositiveDuration = dt.timedelta(minutes=10)
    """How many seconds a job waits for an executor of a cluster; then it fails."""
    spark_partitions: int = Field(default=0, ge=0, le=100_000)
    """Partitions of its shuffles; 0 are as many as the rows of the job and the cores need."""


class Resources(_Variables):
    """What may be used of the machine."""

    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of ALS, XGBoost and the lists of users; 0 are as many as this process has cores."""
    block_mib: int = Field(default=BLOCK_MIB, ge=1, le=1 << 20)
    """MiB for blocks of users while sets and lists are made; what is in memory once comes on top."""
    ranker_on_disk: bool = False
    """Whether the rows that XGBoost learns from lie on this machine's disk, not in its memory: slower."""
    port: int = Field(default=8080, ge=1, le=65_535)
    """The port of Airflow's UI."""


# Pydantic takes the fields of the last group first, and readers look for places first.
class Settings(Resources, Spark, Tasks, Waits, Places):
    """All variables. None of them changes what comes out, except for the choice of the data set."""

    def environment(self) -> dict[str, str]:
        """The variables that give these settings."""
        given = self.model_dump(exclude_none=True)
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()}

    def redacted(self) -> dict[str, str]:
        """Every setting as text, with what stands before an @ in an address left out."""
        return {name: redacted(str(value)) for name, value in self.model_dump().items()}


class Secrets(_Variables):
    """What nobody else may know. It is no part of the settings, which are shown and handed on."""

    admin_password: SecretStr = _follows("generated, in `<home>/airflow/passwords.json`", SecretStr(""))
    """The password of Airflow's user `admin`."""


def load() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    ConfigError
        When a variable has a value of the wrong kind.
    """
    with toml.refusing("environment", Settings, lambda name: f"{PREFIX}{name.upper()}"):
        return Settings()
