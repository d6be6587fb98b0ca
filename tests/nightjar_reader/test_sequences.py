"""What counts in a numbered folder. Each stray once ended publishes, nights and sensors, or hid an entry."""

import logging

import pytest

from nightjar_reader.sequences import file_name, pass_over, sequences

STRAYS = [
    "20171001.json",
    "0000000000099.json",  # 13 digits: once "current", so that a rollback did nothing
    "00000000099.json",
    "000000000000.json",
    "old/000000000099.json",
    "/000000000099.json",
    "000000000099.json/000000000099.json",
    "000000000099.json/",
    "README.md",
    "",
    "٠٠٠٠٠٠٠٠٠٠٩٩.json",
    "００００００００００９９.json",
    "²²²²²²²²²²²².json",
    "000000000099.json~",
    "000000000099.json.swp",
    "#000000000099.json#",
    "000000000099.JSON",
    "000000000099.json\n",
    " 000000000099.json",
    "+00000000099.json",
    "000000000099",
    "000000000099 (copy).json",
]


@pytest.fixture(autouse=True)
def _nothing_told():
    pass_over.cache_clear()


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_counts_for_nothing_and_is_named_once(stray, caplog):
    names = ["000000000002.json", stray, "000000000001.json"]
    for _ in range(2):
        assert sequences(names, "file:///lake/ledger") == [1, 2]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert f"file:///lake/ledger/{stray} is passed over" in warning.getMessage()
    assert "expected file:///lake/ledger/<12 digits>.json" in warning.getMessage()


def test_files_that_are_being_written_are_not_told(caplog):
    assert sequences([".x7_k2", ".DS_Store", "000000000001.json"], "ledger") == [1]
    assert caplog.records == []


def test_marks_have_no_ending_and_may_have_another_kind_beside_them(caplog):
    names = ["000000000001", "000000000001.decided", "7", "x.decided", "000000000003.json"]
    assert sequences(names, "nights", ending="", beside=".decided") == [1]
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert told == ["nights/7", "nights/x.decided", "nights/000000000003.json"]


@pytest.mark.parametrize("sequence", [1, 99, 10**12 - 1])
def test_a_name_gives_its_number_back(sequence):
    assert sequences([file_name(sequence)], "ledger") == [sequence]
