"""Readers that services have installed go on: they read what is made today, and answer as today's does."""

import json
from pathlib import Path

import pytest
from compare_readers import CURRENT, FROZEN, HERE, answers
from freeze import digests

from nightjar_reader import format as fmt


def test_there_is_one() -> None:
    assert "nightjar_reader_v1" in FROZEN


@pytest.mark.parametrize("package", FROZEN)
def test_a_frozen_reader_never_changes(package: str) -> None:
    assert digests(HERE / package) == Path(HERE / f"{package}.sha256").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", FROZEN)
def test_a_frozen_reader_answers_alike(package: str, tiny) -> None:
    assert answers(package, tiny.uri) == answers(CURRENT, tiny.uri)


@pytest.mark.parametrize("package", FROZEN)
def test_a_frozen_reader_shares_users_alike_and_passes_over_later_fields(package: str, build) -> None:
    one, other = build("string"), build("string", seed=2)
    one.append(1, one, other, weights=(1, 3))
    path = one.root / fmt.ledger_path(1)
    entry = json.loads(path.read_text()) | {"sequence": 2, "kind": "approve", "note": "x"}
    entry["experiment"] = {"name": "prices", "salt": "größer", "ends": "2017-12-01"}
    (one.root / fmt.ledger_path(2)).write_text(json.dumps(entry))
    (one.root / "ledger/20171001.json").write_text("{}")
    found = answers(package, one.uri)
    assert found == answers(CURRENT, one.uri)
    assert {answer["release_id"] for answer in found["lists"]} == {one.release_id, other.release_id}


@pytest.mark.parametrize("package", FROZEN)
def test_a_frozen_reader_refuses_what_asks_for_a_newer_one(package: str, build) -> None:
    tiny = build()
    tiny.append(1)
    path = tiny.root / fmt.ledger_path(1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_reader": fmt.READER + 1}))
    with pytest.raises(Exception, match="update the reader"):
        answers(package, tiny.uri)
