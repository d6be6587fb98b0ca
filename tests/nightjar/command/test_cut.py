"""Files of many days, cut into those of each; Spark runs in this process."""

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from lake.errors import ConfigError, FileFault, PermanentError
from nightjar.command import cut

FIRST, SECOND, FOURTH = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 4)
HEAD = "user,item,at,type,pieces,paid,basket,store\n"


def line(user, at, store="A"):
    return f"{user},10,{at},purchase,1,2.50,7,{store}\n"


@pytest.fixture
def shop(tiny_with, tmp_path, submit_here, monkeypatch):
    """A function: the tiny data set with files of a format; its dialect is that of RFC 4180."""
    monkeypatch.setattr(cut, "submit", submit_here)
    return lambda form="csv": tiny_with(tmp_path, format=form)


@pytest.mark.spark
def test_each_day_gets_its_rows_as_they_stand_in_the_files_in_their_order(shop, tmp_path):
    tiny, one, two = shop(), tmp_path / "one.csv", tmp_path / "two.csv"
    odd = [
        '3,10,2024-01-02 10:00,purchase,1,2.50,7,"two\nlines"\n',
        "4,10,soon,purchase,1,2.50,7,A\n",
        "5,6\n",
    ]
    late, early = line(1, "2024-01-04T23:59:59.999"), line(2, "2024-01-01 00:00:00Z")
    one.write_text(HEAD + late + early + "".join(odd), encoding="utf-8", newline="")
    two.write_text(HEAD + line(6, "2024-01-01T12:00:00+13:00").rstrip("\n"), encoding="utf-8")
    done = cut.cut([one, two], tiny.settings)
    files = {path.name: path.read_text(encoding="utf-8") for path in tiny.raw("events/x").parent.iterdir()}
    before = line(6, "2024-01-01T12:00:00+13:00")
    assert files == {
        "2023-12-31.csv": HEAD + before,
        "2024-01-01.csv": HEAD + early,
        "2024-01-02.csv": HEAD + "".join(odd),
        "2024-01-04.csv": HEAD + late,
    }
    assert (done.rows[SECOND], done.rows.total(), done.unread) == (3, 6, 2)
    assert done.without_rows(tiny.lake.data) == []
    assert tiny.lake.storage.list("attempts") == []
    with pytest.raises(
        PermanentError, match=r"2023-12-31.csv: expected no file of that day, found one; remove"
    ):
        cut.cut([two], tiny.settings)


@pytest.mark.spark
def test_lines_of_json_are_cut(shop, tmp_path):
    tiny, path = shop("jsonl"), tmp_path / "all.jsonl"
    row = '{{"user": {0}, "item": 1, "at": "{1}", "paid": 1.50}}'
    rows = [row.format(1, "2024-01-05 10:00"), "", row.format(2, "2024-01-01"), '{"user": 3']
    path.write_text("\n".join(rows), encoding="utf-8")
    done = cut.cut([path], tiny.settings)
    folder = Path(tiny.raw("events/x").parent)
    assert (folder / "2024-01-01.jsonl").read_text(encoding="utf-8") == f"{rows[2]}\n{rows[3]}\n"
    assert (folder / "2024-01-05.jsonl").read_text(encoding="utf-8") == f"{rows[0]}\n"
    assert (done.rows.total(), done.unread) == (3, 1)


def test_days_without_rows_are_told(tiny_with, tmp_path, capsys):
    data, calendar = tiny_with(tmp_path).lake.data, tmp_path / "closed.txt"
    done = cut.Cut(Counter({dt.date(2023, 12, 31): 1, SECOND: 1, dt.date(2024, 1, 6): 2}), unread=1)
    cut.show(done, data)
    cut.show(done, data, calendar)
    told = " ".join(capsys.readouterr().out.split())
    assert "4 rows of 3 days, 2023-12-31 to 2024-01-06 first_day is 2024-01-01: what is before" in told
    assert "1 rows without a readable stamp lie with the row before them" in told
    assert "3 days between have no rows: as raw.closed_days: [2024-01-01, 2024-01-04, 2024-01-05]" in told
    assert calendar.read_text() == "2024-01-01\n2024-01-04\n2024-01-05\n"


@pytest.mark.spark
def test_a_file_with_another_head_is_refused_and_nothing_is_written(shop, tmp_path):
    tiny, one, two = shop(), tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text(HEAD + line(1, "2024-01-01"))
    two.write_text(HEAD.replace("basket,store", "store,basket") + line(1, "2024-01-01"))
    with pytest.raises(FileFault, match=r"two.csv: expected the head of the file before it, .* cut it alone"):
        cut.cut([one, two], tiny.settings)
    assert not tiny.raw("events/2024-01-01.csv").exists()


def test_what_cannot_be_cut_is_refused_by_name(tiny_with, tmp_path):
    settings, path = tiny_with(tmp_path, format="json").settings, tmp_path / "all"
    with pytest.raises(FileFault, match=r"/all: expected a file, found none there"):
        cut.cut([path], settings)
    path.write_bytes(b"")
    with pytest.raises(FileFault, match=r"all: expected rows of text, .* found the format json; cut it by"):
        cut.cut([path], settings)


def test_a_file_without_a_needed_column_is_refused_before_spark(tiny_with, tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("user,item\n1,2\n")
    with pytest.raises(
        FileFault, match=r"all.csv: expected the columns at, item, user.*, then cut it again$"
    ):
        cut.cut([path], tiny_with(tmp_path, format="csv").settings)


def test_a_day_of_several_files_is_refused(tiny_with, tmp_path):
    tiny = tiny_with(tmp_path, format="csv")
    toml = Path(tiny.settings.dataset)
    toml.write_text(toml.read_text().replace("{partition}.csv", "{partition}/*.csv"))
    with pytest.raises(ConfigError, match=r"raw.files: expected one file a day for what is cut"):
        cut.cut([tmp_path / "all.csv"], tiny.settings)
