"""The environment (`NIGHTJAR_*`), as one frozen object, and how many threads it allows."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake import kinds, toml
from lake.errors import ConfigError
from lake.kinds import Limit, Seconds
from nightjar_reader.address import redacted

CHECKOUT = Path(__file__).resolve().parents[1]


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
