"""The environment: every variable `NIGHTJAR_*`, in groups by subject, and all of them as `Settings`."""

import datetime as dt
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake import kinds, toml
from lake.errors import ConfigError
from lake.kinds import Duration, PositiveDuration
from nightjar_reader.address import redacted

CHECKOUT = Path(__file__).resolve().parents[1]
PREFIX = "NIGHTJAR_"


class _Variables(BaseSettings):
    """A group of variables: each field is one, `lake` is `NIGHTJAR_LAKE`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")


class Places(_Variables):
    """Where things lie; what is not set follows from `home` and `lake`."""

    home: kinds.Folder = CHECKOUT / ".nightjar"
    dataset: str = Field(default="complete_journey", min_length=1)
    lake: str = ""
    raw: str = ""
    releases: str = ""
    mlflow_uri: str = ""

    _check_places = field_validator("lake", "raw", "releases")(kinds.place)
    _check_tracking = field_validator("mlflow_uri")(kinds.tracking)

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What is not set follows from home and lake; what is set, to nothing too, is judged as it is."""
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


class Waits(_Variables):
    """How long a night waits for what it needs."""

    raw_wait: Duration = dt.timedelta(hours=4)
    history_wait: Duration = dt.timedelta(hours=1)
    previous_decision_wait: Duration = dt.timedelta(minutes=30)
    decision_wait: Duration = dt.timedelta(hours=3)


class Tasks(_Variables):
    """How often a wait looks, when a task has failed, and how long it then rests."""

    poke_interval: PositiveDuration = dt.timedelta(minutes=1)
    light_timeout: PositiveDuration = dt.timedelta(minutes=30)
    heavy_timeout: PositiveDuration = dt.timedelta(hours=2)
    retry_delay: Duration = dt.timedelta(seconds=30)


class Spark(_Variables):
    """Where Spark runs, and how much memory its JVM may take."""

    spark_master: str = Field(default="local[*]", pattern=kinds.MASTER)
    spark_memory: kinds.Memory = "2g"


class Resources(_Variables):
    """What may be used of the machine; 0 threads are as many as it has cores for this process."""

    threads: int = Field(default=0, ge=0, le=1024)
    port: int = Field(default=8080, ge=1, le=65_535)


# Pydantic takes the fields of the last group first, and places are what one looks for.
class Settings(Resources, Spark, Tasks, Waits, Places):
    """All variables. None of them changes what comes out, but for the data set that is chosen."""

    def environment(self) -> dict[str, str]:
        """The variables that give these settings."""
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in self.model_dump().items()}

    def redacted(self) -> dict[str, str]:
        """Every setting as text, with what stands before an @ in an address left out."""
        return {name: redacted(str(value)) for name, value in self.model_dump().items()}


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
        said = (f"{PREFIX}{key.upper()}: {problem}" for key, problem in toml.problems(error, Settings))
        raise ConfigError(f"environment: {'; '.join(said)}") from error
