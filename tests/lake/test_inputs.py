import datetime as dt

import pytest

from lake import decisions, inputs
from lake.dataset import read_dataset
from lake.records import STAGES, Draft, Input, Records, TableContent, config_digest
from lake.schemas import FEATURES
from lake.sections import Training
from lake.storage import LocalStorage

DATA = read_dataset("complete_journey")
FIRST = dt.date(2017, 1, 1)


@pytest.fixture
def records(tmp_path):
    return Records(LocalStorage(tmp_path))


def commit(records, stage, day, digests, made_from=(), outcome="committed", **details):
    draft = Draft(
        stage=stage,
        partition=day.isoformat(),
        attempt="a" * 16,
        outcome=outcome,
        version=STAGES[stage].version,
        config_digest=config_digest(stage, DATA),
        inputs=tuple(made_from),
        tables={name: TableContent((), 0, digest) for name, digest in digests.items()},
        details=details,
    )
    return records.commit(draft, records.latest(stage, day))


def ingest(records, day, digest="x", catalogue=None):
    tables = {"interactions": digest, "quarantine": "q"} | ({"catalogue": catalogue} if catalogue else {})
    return commit(records, "ingest", day, tables, [Input(f"{day}.parquet", digest)])


def build(records, day, digest="f"):
    read = inputs.feature_inputs(records.all_current("ingest", day), day)
    return commit(records, "features", day, dict.fromkeys(FEATURES, digest), read)


def decide(records, day, outcome, **details):
    features = records.current("features", day)
    return commit(records, "train", day, {}, inputs.train_inputs(records, features, DATA), outcome, **details)


def days(count):
    return [FIRST + dt.timedelta(days=n) for n in range(count)]


def test_features_read_the_days_up_to_d_and_the_newest_catalogue_by_then(records):
    one, two, three = days(3)
    ingest(records, one, "1", catalogue="old")
    ingest(records, two, "2", catalogue="new")
    ingest(records, three, "3", catalogue="tomorrow")
    read = inputs.feature_inputs(records.all_current("ingest", three), two)
    assert [(i.name, i.digest) for i in read] == [
        ("interactions", "1"),
        ("interactions", "2"),
        ("catalogue", "new"),
    ]


def test_features_never_read_the_quarantine(records):
    ingest(records, FIRST)
    assert {i.name for i in inputs.feature_inputs(records.all_current("ingest", FIRST), FIRST)} == {
        "interactions"
    }


def test_snapshots_are_weeks_before_d_and_not_before_the_first_day():
    got = inputs.snapshot_days(dt.date(2017, 9, 30), DATA)
    assert [str(day) for day in got] == ["2017-08-26", "2017-09-02", "2017-09-09", "2017-09-16", "2017-09-23"]
    assert inputs.snapshot_days(FIRST + dt.timedelta(days=14), DATA) == [FIRST, FIRST + dt.timedelta(days=7)]


@pytest.mark.parametrize(
    ("label_days", "days_before"), [(3, [15, 12, 9, 6, 3]), (14, [70, 56, 42, 28, 14]), (28, [84, 56, 28])]
)
def test_snapshots_lie_as_far_apart_as_labels_are_looked_for(label_days, days_before):
    chosen = DATA.model_copy(update={"training": Training(label_days=label_days)})
    d = FIRST + dt.timedelta(days=100)
    got = inputs.snapshot_days(d, chosen)
    assert [(d - day).days for day in got] == days_before


def test_a_changed_day_makes_features_stale_and_the_stages_after_it_once_they_ran_again(records):
    for day in days(8):
        ingest(records, day, "x", catalogue="c" if day == FIRST else None)
    last = days(8)[-1]
    build(records, FIRST)
    build(records, last)
    decide(records, last, "untested", bundle_id="b")
    made = inputs.precompute_inputs(records.current("features", last), decisions.serving(records, last))
    commit(records, "precompute", last, {}, made)

    def fresh():
        return {
            stage: inputs.is_fresh(stage, records, last, DATA)
            for stage in ("features", "train", "precompute")
        }

    assert fresh() == {"features": True, "train": True, "precompute": True}
    ingest(records, last, "changed")
    assert fresh() == {"features": False, "train": True, "precompute": True}
    build(records, last, "g")
    assert fresh() == {"features": True, "train": False, "precompute": False}


def test_a_day_mended_to_the_same_content_changes_nothing_after_it(records):
    ingest(records, FIRST, "x")
    build(records, FIRST)
    ingest(records, FIRST, "y")
    ingest(records, FIRST, "x")
    assert inputs.is_fresh("features", records, FIRST, DATA)


def test_training_reads_labels_through_the_pins_of_its_features(records):
    for day in days(8):
        ingest(records, day, f"d{day.day}", catalogue="c" if day == FIRST else None)
    last = days(8)[-1]
    build(records, FIRST)
    features = build(records, last)
    ingest(records, last, "re-ingested later")
    read = inputs.train_inputs(records, features, DATA)
    labels = [i for i in read if i.name == "interactions"]
    assert [i.digest for i in labels] == [f"d{day.day}" for day in days(8)[1:]]
    assert {i.partition for i in read if i.name == "user_features"} == {str(FIRST), str(last)}
    assert [i.digest for i in read if i.name == "catalogue"] == ["c"]
