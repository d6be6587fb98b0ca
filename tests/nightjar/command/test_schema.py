"""config/nightjar.schema.json says what the models say, and takes the TOMLs that they take."""

import datetime as dt
import json
import tomllib

import jsonschema
import pytest
from typer.testing import CliRunner

from lake.dataset import CONFIG_DIR
from nightjar.command import schema
from nightjar.command.cli import app

SCHEMA = json.loads(schema.text())
SHIPPED = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
TOMLS = sorted(CONFIG_DIR.parent.glob("[!.]*/**/*.toml"))


def _faults(text):
    values = json.loads(json.dumps(tomllib.loads(text), default=dt.date.isoformat))  # as taplo hands dates on
    found = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).iter_errors(values)
    return [f"{fault.json_path}: {fault.message}" for fault in found]


def test_the_file_is_up_to_date_and_is_what_the_command_prints():
    stored = schema.FILE.read_text(encoding="utf-8")
    assert stored == schema.text(), "it is not what the settings say: `make docs` writes it anew"
    assert CliRunner().invoke(app, ["schema"]).output == stored


def test_it_is_a_schema_of_draft_7_without_words_that_toml_or_the_draft_lack():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert '"type": "null"' not in schema.text()
    assert '"form":' not in schema.text()


@pytest.mark.parametrize("path", TOMLS, ids=lambda path: str(path.relative_to(CONFIG_DIR.parent)))
def test_every_toml_of_a_data_set_fits(path):
    assert _faults(path.read_text(encoding="utf-8")) == []


def test_the_shipped_one_is_among_them_and_names_the_schema():
    assert CONFIG_DIR / "complete_journey.toml" in TOMLS
    named = SHIPPED.splitlines()[0].removeprefix("#:schema ")
    assert (CONFIG_DIR / named).resolve() == schema.FILE


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("late_days", "late_day", "'late_day' was unexpected"),
        ('id_type = "int64"', 'id_type = "int32"', "$.id_type: 'int32' is not one of"),
        ("first_day = 2017-01-01", 'first_day = "tomorrow"', "'tomorrow' is not a 'date'"),
        ('labels = ["purchase"]', "labels = []", "$.events.labels: [] should be non-empty"),
        ("eta = 0.06", 'eta = "0.06"', "$.ranker.eta: '0.06' is not of type 'number'"),
        ('user_id = "household_id"\n', "", "'user_id' is a required property"),
    ],
)
def test_it_finds_what_is_wrong(old, new, told):
    assert old in SHIPPED
    assert told in "; ".join(_faults(SHIPPED.replace(old, new)))


def test_of_a_comparison_each_key_may_be_left_out():
    compare = '[compare]\nrows = { action = "off" }\nusers = { tolerance = 2.0 }\n'
    assert _faults(SHIPPED + compare) == []


def test_a_key_without_a_value_is_left_out_and_never_null():
    assert SCHEMA["$defs"]["RawSection"]["properties"]["ready"]["type"] == "string"
    assert SCHEMA["properties"]["last_day"]["format"] == "date"
    assert "default" not in SCHEMA["properties"]["last_day"]
