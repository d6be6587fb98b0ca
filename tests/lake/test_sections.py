import pytest

from lake.dataset import CONFIG_DIR, read_dataset
from lake.errors import ConfigError
from nightjar.stages.features import Features
from nightjar.stages.ingest import Ingest
from nightjar.stages.precompute import Precompute
from nightjar.stages.train import Train


def _with(folder, section):
    text = (CONFIG_DIR / "complete_journey.toml").read_text(encoding="utf-8")
    path = folder / "compared.toml"
    path.write_text(f"{text}\n[compare]\n{section}\n", encoding="utf-8")
    return str(path)


def test_by_default_amounts_off_by_ten_and_a_lost_catalogue_stop_and_the_rest_warns():
    section = read_dataset("complete_journey").compare
    actions = {name: how["action"] for name, how in section.model_dump().items() if isinstance(how, dict)}
    assert len(actions) == 11
    assert {name for name, action in actions.items() if action == "stop"} == {"amount_scale", "catalogue"}
    assert set(actions.values()) == {"warn", "stop"}
    assert section.catalogue.tolerance == 0.1


def test_a_key_that_is_not_named_keeps_its_default(tmp_path):
    section = read_dataset(
        _with(tmp_path, "catalogue = { tolerance = 0.3 }\nrows = { action = 'off' }")
    ).compare
    assert (section.catalogue.action, section.catalogue.tolerance) == ("stop", 0.3)
    assert (section.rows.action, section.rows.tolerance) == ("off", 1.5)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("rows = { action = 'halt' }", r"compare\.rows\.action: expected 'off', 'warn' or 'stop'"),
        ("rows = { tolerance = 1 }", r"compare\.rows\.tolerance: .*greater than 1"),
        ("amounts = { tolerance = 0.5 }", r"compare\.amounts\.tolerance: .*greater than 1"),
        ("users = { tolerance = nan }", r"compare\.users\.tolerance: "),
        ("users = { tolerance = inf }", r"compare\.users\.tolerance: "),
        ("catalogue = { tolerance = 10 }", r"compare\.catalogue\.tolerance: .*less than or equal to 1"),
        ("segments = { tolerance = 0 }", r"compare\.segments\.tolerance: .*greater than 0"),
        ("items = { limit = 2 }", r"compare\.items\.limit: there is no such key"),
        ("items = 'warn'", r"compare\.items: .*Factor"),
        ("item = { tolerance = 2 }", r"compare\.item: .*did you mean items\?"),
        ("days = 7", r"compare\.days: .*greater than or equal to 14"),
        ("min_rows = 0", r"compare\.min_rows: .*greater than or equal to 1"),
        ("stop_after = 38", r"compare: .*stop_after is 38: expected at most two thirds of days, 37"),
        # With one closed day in each window it never stopped anything.
        (
            "days = 14\nstop_after = 14",
            r"stop_after is 14: expected at most two thirds of days, 9",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        read_dataset(_with(tmp_path, section))


def test_the_section_is_in_no_digest():
    stages = (Ingest, Features, Train, Precompute)
    assert all("compare" not in stage.SECTIONS for stage in stages)
