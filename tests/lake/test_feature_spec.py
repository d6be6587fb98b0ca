import math
import re
from pathlib import Path

import pytest

from lake.feature_spec import DAYS, DERIVED, FEATURES, LINES, PAIRS, SUMS, WINDOWS, Derived, Feature, within
from lake.sections import FeaturesSection

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"
KEYS = set(FeaturesSection.model_fields)
DECAYED = {"slow", "fast", "trip"}
OF_DAYS = {"age"} | DECAYED


def row(feature: Feature | Derived) -> str:
    meaning = re.sub(r"\{(\w+)\}", r"`\1`", feature.meaning)
    return f"| `{feature.name}` | {'none' if math.isnan(feature.absent) else '0'} | {meaning} |"


@pytest.mark.parametrize("table", FEATURES)
def test_the_page_lists_each_feature_as_the_specification_has_it(table):
    rows = "\n".join(map(row, FEATURES[table]))
    assert (
        f"\n`{table}`:\n\n| feature | without a row | meaning |\n| --- | --- | --- |\n{rows}\n\n"
        in PAGE.read_text()
    )


def test_the_page_lists_what_the_ranker_sees_beside_the_tables():
    rows = "\n".join(map(row, DERIVED))
    assert f"\n\n| feature | without a row | meaning |\n| --- | --- | --- |\n{rows}\n\n" in PAGE.read_text()


@pytest.mark.parametrize("table", LINES)
def test_a_formula_names_keys_of_the_section_and_each_line_is_there_once(table):
    names = [line.name for line in LINES[table]]
    assert len(names) == len(set(names))
    texts = [line.formula for line in LINES[table]] + [feature.meaning for feature in FEATURES[table]]
    assert {key for text in texts for key in re.findall(r"\{(\w+)\}", text)} <= KEYS | OF_DAYS
    assert not [text for text in texts if "$" in text]


def test_what_pairs_are_asked_for_they_have():
    """A formula over pairs names lines over days of a user and an item."""
    of_pairs = {line.name for line in LINES["user_item_features"] if line.over == DAYS} | {"as_of"}
    asked = [line.formula for lines in LINES.values() for line in lines if line.over == PAIRS]
    words = {word for formula in asked for word in re.findall(r"[a-z_]+(?![a-z_(0-9])", formula)}
    assert words - {"as", "cast", "decimal", "true"} <= of_pairs


def test_a_decayed_feature_names_its_half_life():
    decayed = [line for lines in LINES.values() for line in lines if line.half_life]
    assert {line.half_life for line in decayed} == DECAYED
    assert all(f"{{{line.half_life}_half_life}}" in line.meaning for line in decayed)


def test_a_windowed_feature_names_its_window():
    windowed = {
        (window, feature.name): feature
        for window in WINDOWS
        for features in FEATURES.values()
        for feature in features
        if feature.name.endswith(f"_{window}")
    }
    assert len({name for _, name in windowed}) == 10
    assert within("users", "medium") in {name for _, name in windowed}
    assert all(f"{{{window}_days}}" in feature.meaning for (window, _), feature in windowed.items())
    assert all(line.over != SUMS for line in windowed.values())
