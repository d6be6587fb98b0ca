"""Which files a sample is, and of which day."""

import datetime as dt

import pytest

from lake.dataset import Dataset
from lake.errors import ConfigError, PermanentError
from nightjar.rawfiles import samples

DAY, NEXT, TODAY = dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 2, 1)


def _data(files="events/dt={partition}/hour={hour}/*.json", **raw):
    columns = {"user_id": "u", "item_id": "i", "event_ts": "t"}
    return Dataset.model_validate(
        {
            "name": "s",
            "first_day": DAY,
            "id_type": "string",
            "raw": {"files": files, "format": "jsonl", "columns": columns, **raw},
            "events": {"default": "view", "weights": {"view": 1.0}, "labels": ["view"]},
            "rules": {"min_rows": 5, "max_rows": 9},
        }
    )


def _put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


HOURS = [f"events/dt={day}/hour={hour}/a.json" for day in (DAY, NEXT) for hour in ("03", "04")]


def test_of_the_raw_files_the_newest_day_is_taken_that_the_data_set_has(tmp_path):
    _put(tmp_path, *HOURS, "events/dt=2031-01-01/hour=03/a.json", "events/dt=2023-01-01/hour=03/a.json")
    raw = tmp_path.as_uri()
    assert samples.of_raw(raw, _data(), None, TODAY).day == NEXT
    assert samples.of_raw(raw, _data(), DAY, TODAY).day == DAY
    with pytest.raises(PermanentError, match="2024-01-01 to 2024-01-31, found 6 files, such as events"):
        samples.of_raw(raw, _data("events/{partition}.json"), None, TODAY)
    with pytest.raises(PermanentError, match="found no file; put a day there"):
        samples.of_raw(raw, _data("others/{partition}.json"), None, TODAY)


@pytest.mark.parametrize("inside", ["", "events", f"events/dt={NEXT}"])
def test_a_folder_that_holds_a_day_as_the_template_says_is_that_day(tmp_path, inside):
    _put(tmp_path / "my shop", *HOURS)
    sample = samples.of_place(f"{tmp_path}/my shop/{inside}", _data(), None)
    assert (sample.root, sample.day) == ((tmp_path / "my shop").as_uri(), NEXT)
    assert (sample.is_day, sample.any_day) == (True, False)
    assert sample.data == _data()


def test_a_part_of_a_day_is_a_piece_of_it(tmp_path):
    _put(tmp_path, *HOURS)
    sample = samples.of_place(f"{tmp_path}/events/dt={DAY}/hour=03", _data(ready="{partition}/_OK"), None)
    assert (sample.day, sample.is_day, sample.any_day) == (DAY, False, False)
    assert (sample.data.raw.files, sample.data.raw.ready, sample.data.rules.min_rows) == ("a.json", None, 0)


def test_files_of_no_day_may_be_of_any_and_a_day_that_is_given_holds(tmp_path):
    _put(tmp_path, "x/a.json", "x/b.json", "x/_SUCCESS", "x/.a.json.crc")
    sample = samples.of_place(str(tmp_path / "x"), _data(), None)
    assert (sample.data.raw.files, sample.day, sample.any_day) == ("*", DAY, True)
    sample = samples.of_place(str(tmp_path / "x" / "b.json"), _data(), NEXT)
    assert (sample.data.raw.files, sample.day, sample.any_day) == ("b.json", NEXT, False)
    assert samples.of_place(str(tmp_path), _data(), None).data.raw.files == "*/*"


def test_what_is_no_sample_is_refused(tmp_path):
    _put(tmp_path, "a.json", "x/b.json", "y/_SUCCESS")
    with pytest.raises(PermanentError, match="in folders of one depth, found 2 files, such as a.json"):
        samples.of_place(str(tmp_path), _data(), None)
    for place in ("y", "nowhere"):
        with pytest.raises(PermanentError, match=f"{place}: expected a file, or a folder with files"):
            samples.of_place(str(tmp_path / place), _data(), None)
    with pytest.raises(ConfigError, match="expected a folder"):
        samples.of_place("http://shop/a.json", _data(), None)
