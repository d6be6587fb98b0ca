"""A raw file that comes later, changes or vanishes makes its day stale, and is named."""

import datetime as dt
import re
from pathlib import Path

import pytest

from lake.records import Draft
from nightjar.command import days
from nightjar.console import console
from nightjar.rawfiles import changes
from nightjar.rawfiles.changes import Changes
from nightjar.stages.ingest import MISSING_HOURS, Ingest

DAY, CLOSED, NEXT = dt.date(2024, 1, 1), dt.date(2024, 1, 3), dt.date(2024, 1, 2)
FILES = [f"events/{DAY}/{name}" for name in ("a", "b%20", "c+0")]


@pytest.fixture
def taken(tiny):
    """A day of three files and a catalogue that is taken in."""
    path = Path(tiny.settings.dataset)
    text = path.read_text(encoding="utf-8").replace("events/{partition}.parquet", "events/{partition}/*")
    path.write_text(text, encoding="utf-8")
    for name in FILES:
        tiny.raw(name).write_bytes(name.encode())
    tiny.raw(f"items/{DAY}.parquet").write_bytes(b"items")
    commit(tiny, DAY)
    return tiny


def commit(tiny, day, **details):
    """The record that an ingest of the files of now would leave."""
    lake, stage = tiny.lake, Ingest()
    inputs = changes.inputs(lake, day)
    draft = Draft(
        stage=stage.NAME,
        partition=str(day),
        attempt="a" * 16,
        outcome="committed" if inputs else "closed",
        version=stage.VERSION,
        config_digest=stage.config_digest(lake),
        inputs=inputs,
        counts={"read": 1234},
        details=details,
    )
    return lake.records.commit(draft, lake.records.latest(stage.NAME, day))


def since(tiny):
    lake = tiny.lake
    found = changes.since(lake.records.current("ingest", DAY), changes.inputs(lake, DAY, threads=2))
    assert Ingest(2).is_fresh(lake, DAY) == (not found)
    return found


def test_a_day_whose_files_are_those_of_its_record_is_fresh(taken):
    taken.raw(f"events/{DAY}/_SUCCESS").write_bytes(b"")
    assert since(taken) == Changes()


def test_files_that_came_changed_and_went_are_named(taken):
    taken.raw(f"events/{DAY}/d").write_bytes(b"d")
    assert since(taken) == Changes(later=(f"events/{DAY}/d",))
    taken.raw(f"events/{DAY}/d").unlink()
    taken.raw(FILES[1]).write_bytes(FILES[1].upper().encode())  # as many bytes as before
    assert since(taken) == Changes(changed=(FILES[1],))
    taken.raw(FILES[2]).unlink()
    taken.raw(f"items/{DAY}.parquet").unlink()
    assert since(taken) == Changes(changed=(FILES[1],), gone=(FILES[2], f"items/{DAY}.parquet"))
    commit(taken, DAY)
    assert since(taken) == Changes()


def test_a_day_that_is_delivered_anew_under_other_names_is_stale(taken):
    for name in FILES:
        taken.raw(name).rename(taken.raw(f"{name}-again"))
    assert since(taken).gone == tuple(FILES)


def test_a_closed_day_is_fresh_until_a_file_comes(taken):
    commit(taken, CLOSED)
    lake = taken.lake
    assert Ingest().is_fresh(lake, CLOSED)
    assert Ingest().reads(lake, NEXT) is None
    taken.raw(f"events/{CLOSED}/a").write_bytes(b"x")
    assert not Ingest().is_fresh(lake, CLOSED)


def test_the_command_names_what_is_stale_and_what_mends_it(taken):
    commit(taken, CLOSED, **{MISSING_HOURS: ["03", "17"]})
    for number in range(7):
        taken.raw(f"events/{DAY}/late-{number}").write_bytes(b"x")
    taken.raw(FILES[0]).unlink()
    with console.capture() as shown:
        days.show(DAY, CLOSED, taken.lake, threads=2)
    text = re.sub(r"[\s│┃]+", " ", shown.get())
    assert "1 (committed) 4 1,234" in text
    assert "2024-01-02 not taken in" in text
    assert "1 (closed) 0 1,234 03, 17 the same files" in text
    assert "1 days have other raw files than their records: 2024-01-01" in text
    assert "`nightjar bootstrap --from 2024-01-01 --to 2024-01-01` takes them in again" in text
    joined = re.sub(r"[\s│┃]+", "", shown.get())
    assert f"events/{DAY}/late-4and2more" in joined
    assert f"gone:events/{DAY}/a" in joined
