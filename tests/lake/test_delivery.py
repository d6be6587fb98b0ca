"""What a day's delivery lacks, and how it is compared with its manifest."""

import datetime as dt
from types import SimpleNamespace

import pytest

from lake import delivery
from lake.delivery import Lack
from lake.errors import FileFault
from lake.raw_sections import RawColumns, RawSection
from lake.storage import LocalStorage

DAY, CLOSED = dt.date(2024, 1, 2), dt.date(2024, 1, 3)
COLUMNS = RawColumns(user_id="user", item_id="item", event_ts="at")
MANIFEST = "events/{partition}/manifest.csv"


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


def data(files="events/{partition}/*.csv", zone="UTC", **keys):
    """What is read of a data set."""
    raw = RawSection(files=files, format="csv", columns=COLUMNS, closed_days=(CLOSED,), **keys)
    return SimpleNamespace(raw=raw, zone=zone)


def put(storage, *names, text=b"x"):
    for name in names:
        assert storage.put_new(name, text)


def test_a_day_without_files_lacks_them_and_a_closed_one_nothing(storage):
    place = f"{storage.root}/events/2024-01-02/*.csv"
    assert delivery.lack(storage, data(), DAY) == Lack(f"the raw files of {DAY}, expected at {place}", True)
    assert delivery.lack(storage, data(ready="{partition}/_SUCCESS"), CLOSED) is None


def test_one_file_is_whole_when_it_is_there(storage):
    put(storage, "events/2024-01-02.csv")
    assert delivery.lack(storage, data("events/{partition}.csv"), DAY) is None


def test_of_a_set_nobody_knows_whether_more_will_come(storage):
    put(storage, "events/2024-01-02/a.csv")
    lack = delivery.lack(storage, data(), DAY)
    assert not lack.needed
    assert lack.what.startswith("more raw files of 2024-01-02 (1 are there; raw.ready")


def test_hours_are_waited_for_and_named(storage):
    by_hour = data("events/{partition}/{hour}/*.csv")
    put(storage, *(f"events/2024-01-02/{hour:02d}/a.csv" for hour in range(24) if hour not in (3, 17)))
    assert delivery.lack(storage, by_hour, DAY) == Lack("the raw files of 2024-01-02, hours 03, 17", False)
    put(storage, *(f"events/2024-01-02/{hour:02d}/a.csv" for hour in (3, 17)))
    assert delivery.lack(storage, by_hour, DAY) is None


@pytest.mark.parametrize("mark", ["events/{partition}/_SUCCESS", "done/{year}{month}{day}"])
def test_a_marker_is_needed_and_ends_the_wait(storage, mark):
    marked = data(ready=mark)
    put(storage, "events/2024-01-02/a.csv")
    lack = delivery.lack(storage, marked, DAY)
    path = mark.replace("{partition}", "2024-01-02").replace("{year}{month}{day}", "20240102")
    assert lack == Lack(f"the ready marker of {DAY}, expected at {storage.root}/{path}", True)
    put(storage, path)
    assert delivery.lack(storage, marked, DAY) is None


def test_a_marker_of_each_hour(storage):
    marked = data("events/{partition}/{hour}/*.csv", ready="events/{partition}/{hour}/_SUCCESS")
    put(
        storage,
        "events/2024-01-02/00/a.csv",
        *(f"events/2024-01-02/{hour:02d}/_SUCCESS" for hour in range(23)),
    )
    assert delivery.lack(storage, marked, DAY).what.endswith("events/2024-01-02/23/_SUCCESS")


def test_files_that_a_manifest_lists_are_waited_for(storage):
    listed = data(manifest=MANIFEST)
    put(storage, "events/2024-01-02/a.csv")
    assert "ready marker" in delivery.lack(storage, listed, DAY).what
    put(storage, "events/2024-01-02/manifest.csv", text=b"file,rows\na.csv,1\n2024-01-02/b.csv,2\n")
    assert delivery.lack(storage, listed, DAY) == Lack(
        "the raw file 2024-01-02/b.csv of 2024-01-02, one of 1 that its manifest lists", True
    )
    put(storage, "events/2024-01-02/b.csv")
    assert delivery.lack(storage, listed, DAY) is None


def test_a_manifest_among_the_files_is_no_data(storage):
    """`*.csv` finds it too."""
    put(storage, "events/2024-01-02/a.csv")
    put(storage, "events/2024-01-02/manifest.csv", text=b"file,rows\na.csv,1\n")
    assert delivery.files(storage, data(manifest=MANIFEST), DAY) == ("events/2024-01-02/a.csv",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "nothing as the first line"),
        (b"a.csv,1\n", r"\['a.csv', '1'\] as the first line"),
        (b"file,rows\na.csv\n", "the line a.csv;"),
        (b"file,rows\na.csv,many\n", "the line a.csv,many"),
        (b"file,rows\na.csv,-1\n", "the line a.csv,-1"),
        (b"file,rows\na.csv,1\na.csv,1\n", "the line a.csv,1"),
        (b"file,rows\n\xe9.csv,1\n", "bytes that are no UTF-8"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(storage, text, found):
    put(storage, "events/2024-01-02/manifest.csv", text=text)
    with pytest.raises(
        FileFault, match=rf"manifest\.csv: expected a CSV file .*, found {found}.*2024-01-02 again$"
    ):
        delivery.manifest(storage, data(manifest=MANIFEST).raw, DAY)


COUNTED = {"events/2024-01-02/00/a.csv": 3, "events/2024-01-02/01/a.csv": 4}


def test_a_day_that_is_as_its_manifest_says_passes():
    delivery.compare({"00/a.csv": 3, "events/2024-01-02/01/a.csv": 4}, COUNTED, "m", DAY)


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ({"00/a.csv": 3, "01/a.csv": 5}, "5 rows in events/2024-01-02/01/a.csv, as it says, found 4"),
        ({"00/a.csv": 3}, "a line for each raw file, found none for events/2024-01-02/01/a.csv"),
        ({"a.csv": 3}, "the whole path of each file, found a.csv, in which 2 end"),
        (
            {"00/a.csv": 3, "0/a.csv": 4},
            "a line for each raw file, found none for events/2024-01-02/01/a.csv",
        ),
    ],
)
def test_a_day_that_is_not_is_refused_by_its_file(listed, told):
    with pytest.raises(FileFault, match=f"^m: expected {told}; deliver files and manifest again"):
        delivery.compare(listed, COUNTED, "m", DAY)
