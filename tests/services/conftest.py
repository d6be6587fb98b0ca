"""One Airflow on a slice of the demo data, with a history; the TOML has no last day."""

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from lake.settings import CONFIG_DIR, Settings
from nightjar import services
from nightjar.land import land
from nightjar.rest import Client

FIRST, LAST_RAW = dt.date(2017, 6, 15), dt.date(2017, 8, 17)
HOUSEHOLDS = 500


@dataclass(frozen=True)
class Slice:
    """A running Airflow, and the settings that it runs with."""

    settings: Settings
    airflow: services.Airflow
    client: Client


def _dataset(folder: Path) -> Path:
    """Complete Journey from June on, with no last day, fewer rows and snapshots; the gate as it is."""
    text = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
    for pattern, replacement in {
        r"^first_day = .*$": f"first_day = {FIRST}",
        r"^last_day = .*$": "",
        r"^name = \"complete_journey\"$": 'name = "slice"',
        r"^min_rows = .*$": "min_rows = 20",
        r"^snapshots = .*$": "snapshots = 2",
    }.items():
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert found == 1
    path = folder / "slice.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def night_slice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slice")
    settings = Settings(
        home=folder / "home",
        dataset=str(_dataset(folder)),
        raw_wait=15,
        spark_master="local[2]",
        spark_memory="1g",
        threads=2,
    )
    land(settings, FIRST, LAST_RAW, households=HOUSEHOLDS)
    with services.running(settings) as airflow:
        client = airflow.client()
        for dag in ("bootstrap_history", "nightly"):
            client.wait_for_dag(dag)
        yield Slice(settings, airflow, client)
