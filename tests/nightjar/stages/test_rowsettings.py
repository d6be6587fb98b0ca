import pytest

from lake.dataset import read_dataset
from lake.formats.dialect import CsvSection
from lake.rule_sections import ExcludeSection
from nightjar.stages.rowsettings import digest_of


@pytest.fixture
def data(tiny):
    return read_dataset(tiny.settings.dataset)


def changed(data, section, **values):
    return data.model_copy(update={section: getattr(data, section).model_copy(update=values)})


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("raw", {"timezone": "America/New_York"}),
        ("raw", {"late_days": 3}),
        ("raw", {"stamps": ("epoch_s",)}),
        ("raw", {"csv": CsvSection(nulls=("NULL",))}),
        ("raw", {"csv": CsvSection(decimal=",")}),
        ("raw", {"event_key": ("basket",)}),
        ("rules", {"returns": "net"}),
        ("rules", {"net_by": ("item_id", "context_id")}),
        ("rules", {"exclude": ExcludeSection(items=("POST",))}),
        ("rules", {"max_amount": 10.0}),
        ("rules", {"sentinels": ("nobody",)}),
        ("events", {"ignore": ("view",)}),
        ("events", {"labels": ("view",)}),  # they have to have an amount
        ("events", {"weights": {"purchase": 1.0, "gift": 1.0}}),
    ],
)
def test_what_decides_what_becomes_of_a_row_is_another_setting(data, section, values):
    assert digest_of(changed(data, section, **values)) != digest_of(data)


def test_another_zone_is_another_setting(data):
    assert digest_of(data.model_copy(update={"zone": "America/New_York"})) != digest_of(data)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("raw", {"files": "elsewhere/{partition}.parquet"}),
        ("raw", {"closed_days": (1,), "closed_weekdays": ("sunday",), "closed_calendar": (1,)}),
        ("raw", {"ready": "{partition}/_SUCCESS", "manifest": "{partition}/manifest.csv"}),
        ("raw", {"csv": CsvSection(delimiter=",")}),
        ("rules", {"min_rows": 7, "max_rows": 8, "max_bad_share": 0.5}),
        ("lists", {"length": 7}),
        ("training", {"snapshots": 1}),
    ],
)
def test_what_decides_whether_a_day_is_taken_is_not(data, section, values):
    """Every new closed day would make all days look stale."""
    assert digest_of(changed(data, section, **values)) == digest_of(data)
