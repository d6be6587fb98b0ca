from concurrent.futures import ThreadPoolExecutor

import pytest

from lake.ledger import Ledger
from lake.storage import LocalStorage


@pytest.fixture
def ledger(tmp_path):
    return Ledger(LocalStorage(tmp_path), "ledger")


def test_entries_are_numbered_from_one(ledger, tmp_path):
    assert ledger.latest() == 0
    assert ledger.append(1, {"n": 1})
    assert ledger.append(2, {"n": 2})
    assert (ledger.latest(), ledger.sequences(), ledger.read(1)) == (2, [1, 2], {"n": 1})
    assert (tmp_path / "ledger/000000000001.json").is_file()


def test_a_taken_number_is_refused(ledger):
    ledger.append(1, {"n": 1})
    assert not ledger.append(1, {"n": 2})
    assert ledger.read(1) == {"n": 1}


def test_other_files_are_no_entries(ledger, tmp_path):
    ledger.append(1, {})
    (tmp_path / "ledger/000000000009.json.decided").write_text("")
    (tmp_path / "ledger/notes.json").write_text("")
    assert ledger.latest() == 1


def test_nothing_that_json_does_not_know_is_written(ledger):
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.append(1, {"n": float("nan")})
    assert ledger.latest() == 0


def test_writers_that_list_again_leave_no_gap(ledger):
    def write(name):
        while not ledger.append(ledger.latest() + 1, {"name": name}):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert ledger.sequences() == list(range(1, 41))
    assert sorted(ledger.read(n)["name"] for n in range(1, 41)) == list(range(40))
