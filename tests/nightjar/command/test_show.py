"""What `nightjar show` and `nightjar releases` print of texts that people and shops wrote."""

import re
from types import SimpleNamespace

import pytest

from nightjar import console as consoles
from nightjar.command import show
from nightjar.console import console
from nightjar_reader.answers import CatalogueItem, Recommendations
from nightjar_reader.format import LedgerEntry, LedgerRelease, Manifest

RELEASE = "2017-09-30-0123456789ab"
TEXTS = ["prices of [/dairy] wrong", "[inc-12] prices wrong", "[b]x", ":fire: sale", "back\\", "\\[x]"]


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr(console, "_width", 400)


def printed(what, *args):
    with console.capture() as shown:
        found = what(*args)
        if found is not None:
            console.print(found)
    return re.sub(r"\s+", " ", shown.get())


def entry(reason, actor="someone"):
    releases = (LedgerRelease(RELEASE, "0" * 64, 1),)
    return LedgerEntry(3, "rollback", releases, "2017-09-30", actor, reason, "2017-10-01T02:00:00Z")


@pytest.mark.parametrize("text", TEXTS)
def test_a_reason_is_shown_as_it_was_given(text):
    """A reason with `[/dairy]` ended `nightjar releases` for ever, `[inc-12]` was left out of it."""
    said = printed(show._ledger, [entry(text, actor=text)])
    assert said.count(text) == 2


class Shop:
    """A reader whose texts are all alike."""

    release_id = RELEASE

    def __init__(self, text):
        self.text = text

    def for_user(self, user):
        return Recommendations(user, (self.text,), (0.5,), 0, RELEASE)

    def catalogue(self, items):
        return {item: CatalogueItem(item, self.text, self.text) for item in items}


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_names_are_shown_as_they_are(monkeypatch, text):
    monkeypatch.setattr(show, "Reader", lambda _: Shop(text))
    said = printed(show.print_list, SimpleNamespace(releases=""), text, 5)
    assert said.count(text) == 4


def manifest(metrics, *warnings):
    return Manifest("2017-09-30", "c", None, None, {}, (), {}, metrics, (), None, warnings, {})


def test_a_warning_is_shown_as_it_is():
    reader = SimpleNamespace(manifest=manifest({}, *TEXTS), release_id=RELEASE)
    said = printed(show.print_release, reader)
    assert all(f"warning: {text}" in said for text in TEXTS)


OURS = {"value": 0.25, "low": 0.2, "high": 0.3}


@pytest.mark.parametrize(
    ("metrics", "shown"),
    [
        ({"ndcg@10": 0.3}, ["ndcg@10: 0.3"]),
        ({"x": {"ndcg": 0.3}, "y": {"ndcg": OURS}}, ["x │ 0.3000", "y │ 0.2500 [0.2000, 0.3000]"]),
        ({"x": {"ndcg": {"value": 0.3}, "auc": 1}}, ["x │ 0.3000"]),
        ({"x": {"ndcg": None}, "[/b]": {"map": "high"}, "z": None}, ["x │", "[/b] │", "z: None"]),
        ({"x": []}, ["x: []"]),
    ],
)
def test_metrics_of_another_shape_end_nothing(metrics, shown):
    """A raw TypeError or KeyError ended the page, which had not come to its end."""
    said = printed(show._metrics, metrics)
    assert all(text in said for text in shown)


def test_the_best_model_comes_first():
    said = printed(show._metrics, {"a": {}, "b": {"ndcg": OURS}, "c": {"ndcg": OURS | {"value": 0.5}}})
    assert re.findall(r" ([abc]) │", said) == ["c", "b", "a"]


def test_settings_are_shown_as_they_are():
    """A folder `[/x]` in NIGHTJAR_LAKE ended `nightjar up`."""
    settings = SimpleNamespace(redacted=lambda: {"lake": "file:///data/[/x]/[lake]"})
    assert "lake=file:///data/[/x]/[lake]" in printed(consoles.print_settings, settings)
