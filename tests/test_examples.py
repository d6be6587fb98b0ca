"""The examples in docstrings and on pages give what they say."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGES = ("topn",)
OTHERS = ("recommender.candidates", "training.metrics")
PAGES = ("topn.md",)
MODULES = [
    module.name
    for package in map(importlib.import_module, PACKAGES)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]
METRICS = [
    f"training.metrics.{name}"
    for name, value in inspect.getmembers(importlib.import_module("training.metrics"), inspect.isfunction)
    if value.__module__ == "training.metrics" and not name.startswith("_")
]
PUBLIC = ["topn.exact.top_n", "topn.vectors.dots", "recommender.candidates.mix", *METRICS]


@pytest.mark.parametrize("name", [*MODULES, *OTHERS])
def test_of_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", PAGES)
def test_of_pages(name):
    """All of a page in one go, as who reads it would type it."""
    blocks = re.findall(r"^```pycon\n(.*?)^```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_one(name):
    tests = doctest.DocTestFinder().find(importlib.import_module(name.rpartition(".")[0]))
    assert [len(one.examples) > 0 for one in tests if one.name == name] == [True]
