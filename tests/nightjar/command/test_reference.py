"""docs/settings.md says what the models say, and leaves nothing out."""

import re
from pathlib import Path

import pytest
from pydantic import Field

from lake import kinds
from lake.dataset import Dataset
from lake.settings import Places
from lake.toml import models_in
from nightjar.command import reference

CHECKOUT = Path(__file__).resolve().parents[3]
MODELS = [*reference.places_of(Dataset), *reference.GROUPS]


def test_the_page_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), (
        "docs/settings.md is not what the settings say: `make docs` writes it anew"
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_a_meaning(model):
    silent = [key for key, field in model.model_fields.items() if not (field.description or models_in(field))]
    assert (silent, bool(model.__dict__["__doc__"])) == ([], True)


def test_every_variable_of_the_code_is_on_the_page():
    packages = ("lake", "nightjar", "nightjar_reader", "dags", "plugins")
    sources = [
        path.read_text(encoding="utf-8") for name in packages for path in (CHECKOUT / name).rglob("*.py")
    ]
    used = set(re.findall(r"\bNIGHTJAR_[A-Z_]*[A-Z]\b", "".join(sources)))
    assert len(used) > 5
    assert used <= set(re.findall(r"NIGHTJAR_\w+", reference.page()))


def test_places_follow_as_the_page_says(tmp_path, monkeypatch):
    for name in ("LAKE", "RAW", "RELEASES", "MLFLOW_URI"):
        monkeypatch.delenv(f"NIGHTJAR_{name}", raising=False)
    places = Places(home=tmp_path)
    for name in ("lake", "raw", "releases", "mlflow_uri"):
        said = Places.model_fields[name].json_schema_extra["follows"].strip("`")
        assert said.replace("<home>", str(tmp_path)).replace("<lake>", places.lake) == getattr(places, name)


class Inner(kinds.Section):
    """Within."""

    size: int = Field(default=1, ge=1, le=2000)
    """How large."""


class Outer(kinds.Section):
    """Around it."""

    inner: Inner
    share: float = Field(gt=0, le=1)
    """How much."""
    colours: kinds.Sequence[kinds.Text] = ("red", "blue")
    """Which."""
    more: dict[str, float] | None = None
    """What else."""


def test_keys_become_lines():
    lines = reference._section(Outer, ["outer"]).splitlines()
    assert lines[:3] == ["### `[outer]`", "", "Around it."]
    assert lines[6:] == [
        "| `share` | number | **needed** | above 0, up to 1 | How much. |",
        '| `colours` | list of texts | `["red", "blue"]` | no blank at its ends | Which. |',
        "| `more` | table of numbers |  |  | What else. |",
    ]
    assert "| `size` | whole number | `1` | 1 to 2,000 | How large. |" in reference._section(
        Inner, ["outer.inner"]
    )


def test_a_table_in_two_sections_has_its_defaults_and_two_in_one_have_those_above():
    apart, beside = (reference._section(Inner, ["outer.a", other]) for other in ("other.a", "outer.b"))
    assert apart.startswith("### `[outer.a]`, `[other.a]`\n")
    assert "| `size` | whole number | `1` |" in apart
    assert beside.startswith("### `[outer.a]`, `b`\n")
    assert "| `size` | whole number | as above |" in beside
