import datetime as dt
import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lake.errors import ConfigError, PermanentError
from lake.settings import Settings
from nightjar.command import land as land_module
from nightjar.command.land import land

FIRST, LAST = dt.date(2017, 12, 24), dt.date(2017, 12, 26)


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("land"))
    return settings, land(settings, FIRST, LAST, households=50)


def _raw(settings: Settings) -> Path:
    return Path(settings.raw.removeprefix("file://"))


def test_one_file_a_day_and_none_of_the_closed_one(landed):
    settings, told = landed
    names = sorted(path.name for path in (_raw(settings) / "transactions").iterdir())
    assert names == ["2017-12-24.parquet", "2017-12-26.parquet"]
    tables = [pq.read_table(_raw(settings) / "transactions" / name) for name in names]
    assert (told.new, told.kept, told.rows) == (3, 0, sum(map(len, tables)))
    for name, table in zip(names, tables, strict=True):
        stamps = table["transaction_timestamp"].to_pylist()
        assert {f"{stamp.date()}.parquet" for stamp in stamps} == {name}
    assert table.schema.field("sales_value").type == "double"
    assert "retail_disc" in table.column_names


def test_the_sample_is_of_whole_households_and_deterministic(landed, tmp_path):
    settings, _ = landed
    again = Settings(home=tmp_path)
    land(again, FIRST, LAST, households=50)
    files = [path.relative_to(_raw(settings)) for path in _raw(settings).rglob("*.parquet")]
    assert len(files) == 3
    assert all((_raw(settings) / file).read_bytes() == (_raw(again) / file).read_bytes() for file in files)


def test_the_sample_is_of_the_households_with_the_lowest_digests(tmp_path):
    settings = Settings(home=tmp_path)
    land(settings, FIRST, LAST, households=40)
    files = (_raw(settings) / "transactions").iterdir()
    kept = {household for file in files for household in pq.read_table(file)["household_id"].to_pylist()}
    every = pq.read_table(land_module._source() / "transactions.parquet")["household_id"].unique().to_pylist()
    by_digest = sorted(every, key=lambda household: hashlib.sha256(str(household).encode()).hexdigest())
    assert kept
    assert kept <= set(by_digest[:40])


def test_landing_again_leaves_what_is_there(landed):
    settings, _ = landed
    path = _raw(settings) / "transactions" / "2017-12-24.parquet"
    before = path.stat().st_mtime_ns
    told = land(settings, FIRST, LAST, households=50)
    assert (told.new, told.kept) == (0, 3)
    assert path.stat().st_mtime_ns == before


def test_the_catalogue_says_what_the_products_are(landed):
    table = pq.read_table(_raw(landed[0]) / "catalogue" / "2017-01-01.parquet")
    products = {row["product_id"]: row for row in table.to_pylist()}
    assert len(products) == len(table) == 92_331
    assert products[25671]["name"] == "ICE - CRUSHED/CUBED, 22 LB"
    assert (products[25671]["category"], products[25671]["brand"]) == ("GROCERY", "National")
    assert products[26081]["name"] == "MISCELLANEOUS"
    assert products[26081]["subcategory"] is None
    assert table["name"].null_count == 0


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (LAST, FIRST, "landing from 2017-12-26 to 2017-12-24 has no day: give the earlier day first"),
        (dt.date(9999, 12, 31), None, "9999-12-31 is outside complete_journey: expected 2017-01-01 to 2018"),
        (None, dt.date(2016, 12, 31), "2016-12-31 is outside complete_journey"),
        (dt.date(2016, 12, 31), FIRST, "2016-12-31 is outside complete_journey"),
    ],
)
def test_days_that_there_are_not_are_refused(tmp_path, first, last, message):
    """Nothing was landed but the catalogue, and all was said to be well."""
    settings = Settings(home=tmp_path)
    with pytest.raises(PermanentError, match=message):
        land(settings, first, last, households=1)
    assert not _raw(settings).exists()


def test_another_data_set_is_not_written_over(tiny):
    with pytest.raises(ConfigError, match="data set 'tiny' is not the demo's"):
        land(tiny.settings)


def test_days_of_another_zone_are_not_made_of_those_of_utc(demo_toml, tmp_path):
    toml = demo_toml(tmp_path)
    toml.write_text(f'zone = "Europe/Berlin"\n{toml.read_text(encoding="utf-8")}', encoding="utf-8")
    with pytest.raises(
        ConfigError, match="zone: expected UTC, whose days `land` writes, found 'Europe/Berlin'"
    ):
        land(Settings(home=tmp_path, dataset=str(toml)))
