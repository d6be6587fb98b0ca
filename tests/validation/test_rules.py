from types import SimpleNamespace

from lake.raw_sections import EventsSection, RawSection
from lake.rule_sections import ExcludeSection, RulesSection
from validation.rules import LAG, expectations_of, item_rules, row_rules

EVENTS = EventsSection(default="buy", weights={"buy": 1.0, "it's": 0.5}, labels=("buy",))
COLUMNS = {"user_id": "u", "item_id": "i", "event_ts": "t"}


def _data(id_type="int64", events=EVENTS, late_days=0, columns=(), **rules):
    raw = RawSection(files="{partition}", format="csv", late_days=late_days, columns=COLUMNS | dict(columns))
    return SimpleNamespace(id_type=id_type, zone="UTC", raw=raw, events=events, rules=RulesSection(**rules))


def _rules(**changes):
    return {rule.name: rule for rule in row_rules(_data(**changes))}


def test_rules_about_numbers_only_where_there_are_numbers():
    plain = _rules()
    assert list(plain) == [
        "malformed",
        "user_id_missing",
        "user_id_sentinel",
        "user_id_unreadable",
        "item_id_missing",
        "item_id_sentinel",
        "item_id_unreadable",
        "event_ts_missing",
        "event_ts_unreadable",
        "event_ts_outside_day",
        "event_type_unknown",
    ]
    for column, raw in (("quantity", "q"), ("amount", "a")):
        more = set(_rules(columns={column: raw})) - set(plain)
        kinds = ("missing", "unreadable", "negative", "out_of_bounds", "rounded")
        assert more == {f"{column}_{kind}" for kind in kinds}


def test_only_labels_have_to_have_numbers():
    """All events had to: a log whose views have no amount was refused every day."""
    rules = _rules(columns={"quantity": "q", "amount": "a"})
    assert rules["amount_missing"].bad == "words.amount IS NULL AND event_type IN ('buy')"
    assert rules["quantity_missing"].bad == "words.quantity IS NULL AND event_type IN ('buy')"
    assert rules["amount_missing"].expectation == rules["amount_unreadable"].expectation
    assert rules["amount_missing"].expectation.where == {"event_type": ("buy",)}
    assert rules["event_ts_missing"].expectation.where == {}


def test_text_ids_have_rules_of_their_own():
    more = set(_rules(id_type="string")) - set(_rules())
    assert more == {
        f"{column}_{kind}"
        for column in ("user_id", "item_id")
        for kind in ("out_of_bounds", "written_as_float")
    }
    assert "user_id_written_as_float" not in _rules(id_type="string", float_ids="keep")


def test_settings_say_what_counts_as_a_fault():
    numbers = {"quantity": "q", "amount": "a"}
    by_default, strict = (
        _rules(columns=numbers),
        _rules(columns=numbers, returns="fault", rounding="quarantine"),
    )
    assert (by_default["amount_negative"].kind, strict["amount_negative"].kind) == ("return", "bad")
    assert (by_default["quantity_rounded"].kind, strict["quantity_rounded"].kind) == ("rounded", "bad")
    ignoring = _rules(events=EVENTS.model_copy(update={"ignore": ("remove",)}))
    assert (ignoring["event_type_ignored"].kind, ignoring["event_type_ignored"].alone) == ("ignored", True)


def test_what_is_left_out_is_judged_by_nothing_else():
    exclude = ExcludeSection(items=("POST", "it's"), items_file=("fee",), user_patterns=(r"qa\.[0-9]*", "x"))
    rules = _rules(id_type="string", exclude=exclude)
    names = list(rules)
    assert names[:3] == ["malformed", "user_id_excluded", "item_id_excluded"]
    item, user = rules["item_id_excluded"], rules["user_id_excluded"]
    assert {(rule.kind, rule.alone, rule.expectation) for rule in (item, user)} == {("excluded", True, None)}
    listed = "IN ('POST', 'it\\'s', 'fee')"
    assert item.bad == f"words.item_id {listed} OR CAST(item_id AS STRING) {listed}"
    assert r"words.user_id RLIKE '(?s)\\A(?:qa\\.[0-9]*|x)\\z'" in user.bad
    assert [rule.name for rule in item_rules(_data(exclude=exclude))][:2] == ["malformed", "item_id_excluded"]


def test_what_is_staged_is_asked_once_for_each_bound():
    names = [e.name for e in expectations_of(row_rules(_data(columns={"quantity": "q", "amount": "a"})))]
    assert names == [
        "user_id_present",
        "item_id_present",
        "event_ts_present",
        "days_late_in_bounds",
        "event_type_known",
        "quantity_present",
        "quantity_in_bounds",
        "amount_present",
        "amount_in_bounds",
    ]


def test_a_catalogue_has_the_rules_of_an_item():
    names = [rule.name for rule in item_rules(_data())]
    assert names == ["malformed", "item_id_missing", "item_id_sentinel", "item_id_unreadable"]


def test_the_window_reaches_back_as_far_as_rows_may_be_late():
    rule = _rules(late_days=2)["event_ts_outside_day"]
    assert "date_sub(landed, 2)" in rule.bad
    assert rule.expectation.arguments == {"column": LAG, "min_value": 0, "max_value": 2}


def test_names_of_event_types_are_literals():
    assert _rules()["event_type_unknown"].bad == "event_type NOT IN ('buy', 'it\\'s')"


def test_no_sentinels_at_all_are_no_error():
    assert "NOT IN ('')" in _rules(sentinels=())["user_id_unreadable"].bad
