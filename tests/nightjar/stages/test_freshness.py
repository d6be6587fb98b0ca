import datetime as dt
from dataclasses import replace

import pytest

from lake.dataset import Dataset, read_dataset
from lake.errors import PermanentError
from lake.feature_spec import FEATURES
from lake.lake import Lake
from lake.records import Draft, Input, TableContent
from lake.sections import FeaturesSection, PromotionSection, TrainingSection
from nightjar.stages import attempt as attempts
from nightjar.stages.features import Features, snapshot_days
from nightjar.stages.ingest import Ingest
from nightjar.stages.precompute import Precompute
from nightjar.stages.train import Train, train_inputs

DATA = read_dataset("complete_journey")
FIRST = dt.date(2017, 1, 1)
STAGES = {stage.NAME: stage for stage in (Ingest(), Features(), Train(), Precompute())}


@pytest.fixture
def lake(tmp_path):
    uri = tmp_path.as_uri()
    return Lake(uri, f"{uri}/raw", f"{uri}/releases", "sqlite://", DATA)


def commit(lake, stage, day, digests, made_from=(), outcome="committed", **details):
    draft = Draft(
        stage=stage,
        partition=day.isoformat(),
        attempt="a" * 16,
        outcome=outcome,
        version=STAGES[stage].VERSION,
        config_digest=STAGES[stage].config_digest(lake),
        inputs=tuple(made_from),
        tables={name: TableContent((), 0, digest) for name, digest in digests.items()},
        details=details,
    )
    return lake.records.commit(draft, lake.records.latest(stage, day))


def ingest(lake, day, digest="x", catalogue=None):
    tables = {"interactions": digest, "quarantine": "q"} | ({"catalogue": catalogue} if catalogue else {})
    return commit(lake, "ingest", day, tables, [Input(f"{day}.parquet", digest)])


def build(lake, day, digest="f"):
    return commit(lake, "features", day, dict.fromkeys(FEATURES, digest), Features().reads(lake, day))


def decide(lake, day, outcome, **details):
    return commit(lake, "train", day, {}, Train().reads(lake, day), outcome, **details)


def days(count):
    return [FIRST + dt.timedelta(days=n) for n in range(count)]


def test_features_read_the_days_up_to_d_and_the_newest_catalogue_by_then(lake):
    one, two, three = days(3)
    ingest(lake, one, "1", catalogue="old")
    ingest(lake, two, "2", catalogue="new")
    ingest(lake, three, "3", catalogue="tomorrow")
    read = Features().reads(lake, two)
    assert [(i.name, i.digest) for i in read] == [
        ("interactions", "1"),
        ("interactions", "2"),
        ("catalogue", "new"),
    ]


def test_features_never_read_the_quarantine(lake):
    ingest(lake, FIRST)
    assert {pin.name for pin in Features().reads(lake, FIRST)} == {"interactions"}


def test_snapshots_are_weeks_before_d_and_not_before_the_first_day():
    got = snapshot_days(dt.date(2017, 9, 30), DATA)
    assert [str(day) for day in got] == ["2017-08-26", "2017-09-02", "2017-09-09", "2017-09-16", "2017-09-23"]
    assert snapshot_days(FIRST + dt.timedelta(days=14), DATA) == [FIRST, FIRST + dt.timedelta(days=7)]


@pytest.mark.parametrize("label_days", range(1, 29))
def test_snapshots_lie_as_far_apart_as_labels_are_looked_for(label_days):
    chosen = DATA.model_copy(update={"training": TrainingSection(label_days=label_days)})
    d = FIRST + dt.timedelta(days=100)
    days_before = [(d - day).days for day in snapshot_days(d, chosen)]
    assert days_before == [label_days * back for back in (5, 4, 3, 2, 1) if label_days * back <= 100]


@pytest.fixture
def last(lake):
    """A day whose stages have run, with a snapshot a week before it."""
    for day in days(8):
        ingest(lake, day, "x", catalogue="c" if day == FIRST else None)
    last = days(8)[-1]
    build(lake, FIRST)
    build(lake, last)
    decide(lake, last, "untested", bundle_id="b")
    commit(lake, "precompute", last, {}, Precompute().reads(lake, last))
    return last


OF_FEATURES = {"features", "train", "precompute"}
CHANGES = [
    ("features", "short_days", 6, OF_FEATURES),
    ("features", "medium_days", 27, OF_FEATURES),
    ("features", "long_days", 92, OF_FEATURES),
    ("features", "fast_half_life", 14, OF_FEATURES),
    ("features", "slow_half_life", 61, OF_FEATURES),
    ("features", "trip_half_life", 31, OF_FEATURES),
    ("features", "rebuy_days", 29, OF_FEATURES),
    ("features", "rebuy_shrink", 21, OF_FEATURES),
    ("features", "history_days", 365, OF_FEATURES),
    ("retrieval", "backend", "spark", {"train"}),
    ("retrieval", "damping", 3.0, {"train"}),
    ("retrieval", "bm25_k1", 1.3, {"train"}),
    ("retrieval", "bm25_b", 0.7, {"train"}),
    ("candidates", "popular_window", "short", {"train", "precompute"}),
    ("training", "label_days", 8, {"train"}),
    ("promotion", "champion_share", 1.0, {"train"}),
    ("promotion", "coverage_share", 0.4, {"train"}),
    ("promotion", "popularity_factor", 3.0, {"train"}),
    ("compare", "days", 57, set()),
]


@pytest.mark.parametrize(
    ("section", "key", "value", "stale"), CHANGES, ids=[f"{section}.{key}" for section, key, *_ in CHANGES]
)
def test_a_changed_key_makes_stale_the_stages_that_it_decides(lake, last, section, key, value, stale):
    """Constants of the code did this for nobody."""
    before = getattr(DATA, section)
    changed = before.model_copy(update={key: value})
    assert getattr(before, key) != value
    other = replace(lake, data=DATA.model_copy(update={section: changed}))
    assert {name for name in OF_FEATURES if not STAGES[name].is_fresh(other, last)} == stale


def test_another_zone_makes_stale_what_reads_days(lake, last):
    other = replace(lake, data=DATA.model_copy(update={"zone": "Europe/Berlin"}))
    assert {n for n in OF_FEATURES if not STAGES[n].is_fresh(other, last)} == {"features", "train"}
    assert "zone" in Ingest.SECTIONS


def test_all_keys_of_features_and_promotion_are_among_those():
    named = {(section, key) for section, key, *_ in CHANGES}
    fields = {"features": FeaturesSection.model_fields, "promotion": PromotionSection.model_fields}
    assert {(section, key) for section, keys in fields.items() for key in keys} <= named


def test_each_section_that_decides_something_is_read_by_a_stage():
    read = {section for stage in STAGES.values() for section in stage.SECTIONS}
    assert Dataset.model_fields.keys() - read == {"name", "first_day", "last_day", "compare"}


def test_a_changed_day_makes_features_stale_and_the_stages_after_it_once_they_ran_again(lake, last):
    def fresh():
        return {name: stage.is_fresh(lake, last) for name, stage in STAGES.items() if name != "ingest"}

    assert fresh() == {"features": True, "train": True, "precompute": True}
    ingest(lake, last, "changed")
    assert fresh() == {"features": False, "train": True, "precompute": True}
    build(lake, last, "g")
    assert fresh() == {"features": True, "train": False, "precompute": False}


def test_a_day_mended_to_the_same_content_changes_nothing_after_it(lake):
    ingest(lake, FIRST, "x")
    build(lake, FIRST)
    ingest(lake, FIRST, "y")
    ingest(lake, FIRST, "x")
    assert Features().is_fresh(lake, FIRST)


def test_training_reads_labels_through_the_pins_of_its_features(lake):
    for day in days(8):
        ingest(lake, day, f"d{day.day}", catalogue="c" if day == FIRST else None)
    last = days(8)[-1]
    build(lake, FIRST)
    features = build(lake, last)
    ingest(lake, last, "re-ingested later")
    read = train_inputs(lake, features)
    labels = [i for i in read if i.name == "interactions"]
    assert [i.digest for i in labels] == [f"d{day.day}" for day in days(8)[1:]]
    assert {i.partition for i in read if i.name == "user_features"} == {str(FIRST), str(last)}
    assert [i.digest for i in read if i.name == "catalogue"] == ["c"]


def test_a_stage_pins_nothing_that_it_does_not_declare(lake, monkeypatch):
    ingest(lake, FIRST)
    features = build(lake, FIRST)
    pin = Input("quarantine", "q", str(FIRST), 1)
    monkeypatch.setattr("nightjar.stages.train.train_inputs", lambda *_: (*features.inputs, pin))
    with pytest.raises(PermanentError, match="train of 2017-01-01 pins .'quarantine'."):
        attempts.begin(lake, Train(), [FIRST])
