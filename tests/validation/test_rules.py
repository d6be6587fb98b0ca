from lake.settings import Events, Raw
from validation.rules import LAG, row_rules

EVENTS = Events(default="buy", weights={"buy": 1.0, "it's": 0.5}, labels=("buy",))
COLUMNS = {"user_id": "u", "item_id": "i", "event_ts": "t"}


def _rules(late_days=0, **columns):
    raw = Raw(files="{partition}", format="csv", late_days=late_days, columns=COLUMNS | columns)
    return {rule.name: rule for rule in row_rules(raw, EVENTS)}


def test_rules_about_numbers_only_where_there_are_numbers():
    assert list(_rules()) == [
        "user_id_missing",
        "item_id_missing",
        "event_ts_missing",
        "event_ts_outside_day",
        "event_type_unknown",
    ]
    assert set(_rules(quantity="q")) - set(_rules()) == {"quantity_not_finite", "quantity_negative"}
    assert set(_rules(amount="a")) - set(_rules()) == {"amount_not_finite", "amount_negative"}


def test_every_rule_has_an_expectation_of_its_own():
    rules = _rules(quantity="q", amount="a").values()
    assert len({rule.expectation.name for rule in rules}) == len(rules) == 9


def test_the_window_reaches_back_as_far_as_rows_may_be_late():
    rule = _rules(late_days=2)["event_ts_outside_day"]
    assert "date_sub(landed, 2)" in rule.bad
    assert rule.expectation.arguments == {"column": LAG, "min_value": 0, "max_value": 2}


def test_names_of_event_types_are_literals():
    assert _rules()["event_type_unknown"].bad == "event_type NOT IN ('buy', 'it\\'s')"
