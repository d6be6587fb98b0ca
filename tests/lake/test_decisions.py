import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import decisions
from lake.decisions import Champion, Condition, Decision, Failure, Outcome
from lake.errors import PermanentError
from lake.records import Draft, Record, Records
from lake.storage import LocalStorage

FIRST = dt.date(2017, 1, 1)
FEATURES = Record("features", "2024-01-01", "a", "committed", 1, "c", sequence=1)
NIGHTS = st.dates(dt.date(2017, 1, 1), dt.date(2017, 12, 31))
WORDS = st.text(max_size=5)
SCORES = st.floats(0, 1)
CONDITIONS = st.builds(Condition, WORDS, st.booleans(), SCORES, SCORES)
SOUND = st.builds(
    Decision,
    outcome=st.sampled_from([outcome for outcome in Outcome if outcome != Outcome.FAILED]),
    bundle_id=st.sampled_from(["a" * 64, "b" * 64]),
    bundle_as_of=NIGHTS,
    booster_as_of=st.none() | NIGHTS,
    baseline=st.sampled_from([None, "als", "popularity"]),
    reasons=st.lists(WORDS, max_size=2).map(tuple),
    checks=st.lists(CONDITIONS, max_size=2).map(tuple),
    champion=st.none() | st.builds(Champion, st.just("c" * 64), NIGHTS, NIGHTS),
    metrics=st.dictionaries(WORDS, st.fixed_dictionaries({"ndcg": st.fixed_dictionaries({"value": SCORES})})),
    evaluation=st.none() | st.fixed_dictionaries({"churn": SCORES}),
    notes=st.lists(WORDS, max_size=2).map(tuple),
)


@pytest.fixture
def records(tmp_path):
    return Records(LocalStorage(tmp_path))


def draft(day, decision):
    told = decisions.details(decision)
    return Draft("train", str(day), "a" * 16, decision.outcome, 1, "c" * 64, details=told)


def decide(records, day, outcome, **told):
    day_of_booster = {"bundle_as_of": day, "booster_as_of": day, "bundle_id": f"{day} {outcome}"}
    decision = Decision(Outcome(outcome), **({} if outcome == "failed" else day_of_booster | told))
    return records.commit(draft(day, decision), records.latest("train", day))


@given(decision=SOUND)
def test_a_decision_is_read_from_its_record_as_it_was_written(tmp_path_factory, decision):
    records = Records(LocalStorage(tmp_path_factory.mktemp("lake")))
    records.commit(draft(FIRST, decision), 0)
    again = Records(records._storage).current("train", FIRST)
    assert decisions.decision_of(again) == decision


def test_of_a_failed_night_its_record_says_what_failed_and_nothing_else(records):
    failed = Decision(Outcome.FAILED, failure=Failure("ingest", "OSError"))
    assert decisions.details(failed) == {
        "bundle_id": None,
        "baseline": None,
        "failure": {"stage": "ingest", "error": "OSError"},
    }
    assert decisions.decision_of(records.commit(draft(FIRST, failed), 0)) == failed


def test_an_outcome_that_is_none_is_refused_by_name():
    record = Record("train", str(FIRST), "a", "improved", 1, "c", sequence=3)
    with pytest.raises(PermanentError, match="train record 3 of 2017-01-01: expected an outcome of promoted"):
        decisions.decision_of(record)


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        (
            {"champion": {"bundle_id": "c", "as_of": 1506729600, "booster_as_of": "2017-01-01"}},
            "champion.as_of",
        ),
        ({"checks": [{"name": "a", "passed": 1, "found": 1.0, "bound": 2.0}]}, "checks.0.passed"),
        ({"metrics": {"als": 3}}, "metrics.als"),
        ({"reasons": "abc"}, "reasons"),
    ],
)
def test_a_damaged_detail_is_refused_by_name(details, problem):
    """It was taken for another value, or ended in an error that named no record."""
    record = Record("train", str(FIRST), "a", "kept", 1, "c", details=details, sequence=3)
    with pytest.raises(PermanentError, match=f"train record 3 of 2017-01-01: details.{problem}: .*, found "):
        decisions.decision_of(record)


def test_a_metric_that_is_no_number_is_not_recorded_as_nothing(records):
    metrics = {"als": {"ndcg": {"value": float("nan")}}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        decide(records, FIRST, "kept", metrics=metrics)


def test_champion_and_serving_skip_what_failed_and_look_no_further_than_d(records):
    one, two, three, four = (FIRST + dt.timedelta(days=n) for n in range(4))
    for day, outcome in ((one, "promoted"), (two, "kept"), (three, "failed"), (four, "baseline")):
        decide(records, day, outcome, booster_as_of=one)
    assert decisions.champion(records, one) is None
    assert decisions.champion(records, two) == Champion(f"{one} promoted", one, one)
    assert decisions.champion(records, four + dt.timedelta(days=1)) == Champion(f"{two} kept", two, one)
    assert decisions.serving(records, three).outcome == "kept"
    assert decisions.serving(records, four).outcome == "baseline"


def test_a_failed_retry_does_not_hide_the_sound_decision_of_its_day(records):
    decide(records, FIRST, "promoted")
    decide(records, FIRST, "failed")
    assert decisions.serving(records, FIRST).outcome == "promoted"


def test_a_damaged_decision_that_nobody_needs_stops_no_lists(records, tmp_path):
    """Every later night read all decisions, and ended at one that a newer had replaced."""
    two = FIRST + dt.timedelta(days=1)
    for day, outcome in ((FIRST, "baseline"), (FIRST, "promoted"), (two, "kept")):
        decide(records, day, outcome)
    for number in ("000000000001", "000000000002"):
        (tmp_path / f"records/train/{FIRST}/{number}.json").write_bytes(b"")
    again = Records(LocalStorage(tmp_path))
    assert decisions.serving(again, two).outcome == "kept"
    assert decisions.champion(again, two + dt.timedelta(days=1)).as_of == two
    with pytest.raises(PermanentError, match="000000000002"):
        decisions.serving(again, FIRST)


def test_a_damaged_decision_that_a_newer_of_its_day_replaced_stops_no_lists(records, tmp_path):
    decide(records, FIRST, "baseline")
    decide(records, FIRST, "promoted")
    (tmp_path / f"records/train/{FIRST}/000000000001.json").write_bytes(b"")
    assert decisions.serving(Records(LocalStorage(tmp_path)), FIRST).outcome == "promoted"


@pytest.mark.parametrize(
    "change", [{"outcome": Outcome.KEPT}, {"baseline": "als"}, {"bundle_id": "other"}], ids=str
)
def test_what_lists_follow_is_another_where_outcome_baseline_or_bundle_is(change):
    def of(decision):
        return decisions.bundle_input(Record(**dataclasses.asdict(draft(FIRST, decision))), FEATURES).digest

    decision = Decision(Outcome.BASELINE, "popularity", bundle_id="b", bundle_as_of=FIRST)
    assert of(dataclasses.replace(decision, **change)) != of(decision)


@pytest.mark.parametrize("change", [{"version": 2}, {"config_digest": "other"}], ids=str)
def test_what_lists_follow_is_another_where_the_features_are(change):
    """A booster of other features is not used, and lists by it and without it had one fingerprint."""
    record = Record(
        **dataclasses.asdict(draft(FIRST, Decision(Outcome.PROMOTED, bundle_id="b", bundle_as_of=FIRST)))
    )
    other = dataclasses.replace(FEATURES, **change)
    assert decisions.bundle_input(record, FEATURES).digest != decisions.bundle_input(record, other).digest
