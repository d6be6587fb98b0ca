"""A data set: what its TOML in `config/` says, by the classes of its sections."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationInfo, create_model, field_validator, model_validator

from lake import toml
from lake.errors import ConfigError, PermanentError
from lake.id_forms import AS_WRITTEN
from lake.kinds import Day, Name, Section, Zone
from lake.partitions import UTC
from lake.raw_sections import CatalogueSection, EventsSection, RawSection
from lake.rule_sections import CompareSection, RulesSection
from lake.sections import (
    CandidatesSection,
    EvaluationSection,
    FeaturesSection,
    IndexSection,
    ListsSection,
    PromotionSection,
    RankerSection,
    RetrievalSection,
    TrainingSection,
)
from nightjar_reader.format import IdType

CONFIG_DIR = Path(__file__).resolve().parents[1] / "config"


class Configuration(Section):
    """Sections of a data set's TOML: all of them, or those that a stage reads."""

    def chosen(self, sections: Iterable[str]) -> dict[str, Any]:
        """The named sections as JSON values, without all others."""
        values = self.model_dump(mode="json")
        return {name: values[name] for name in sorted(sections)}


class Dataset(Configuration):
    """One data set, as its TOML says."""

    name: Name
    """Its name; the registered model is `nightjar-<name>`."""
    first_day: Day
    """Its first day; what landed before counts nowhere."""
    last_day: Day | None = None
    """Its last day, not before the first; without it the data go on."""
    id_type: IdType
    """What ids of users and items are."""
    zone: Zone = UTC
    """Where a day begins and ends: of files, of what a run as of it sees, of windows; and of the tick."""
    repeats: bool = True
    """Whether users may be recommended what they already had any event with."""
    raw: RawSection
    events: EventsSection
    catalogue: CatalogueSection | None = None
    rules: RulesSection = RulesSection()
    compare: CompareSection = CompareSection()
    features: FeaturesSection = FeaturesSection()
    retrieval: RetrievalSection = RetrievalSection()
    candidates: CandidatesSection = CandidatesSection()
    training: TrainingSection = TrainingSection()
    ranker: RankerSection = RankerSection()
    evaluation: EvaluationSection = EvaluationSection()
    promotion: PromotionSection = PromotionSection()
    lists: ListsSection = ListsSection()
    index: IndexSection = IndexSection()

    @model_validator(mode="before")
    @classmethod
    def _stamps_are_of_the_zone(cls, values: Any) -> Any:
        """Let stamps that name no zone be of the data set's, where the TOML says nothing else."""
        raw = values.get("raw") if isinstance(values, dict) else None
        if not isinstance(raw, dict) or "zone" not in values:
            return values
        return values | {"raw": {"timezone": values["zone"]} | raw}

    @field_validator("last_day")
    @classmethod
    def _not_before_the_first(cls, last: dt.date | None, info: ValidationInfo) -> dt.date | None:
        first = info.data.get("first_day")
        if last and first and last < first:
            raise ValueError(f"last_day is before first_day, {first}")
        return last

    @model_validator(mode="after")
    def _sections_agree(self) -> "Dataset":
        first, last = self.first_day, self.last_day or dt.date.max
        outside = [str(day) for day in self.raw.closed_days if not first <= day <= last]
        if outside:
            raise ValueError(f"raw.closed_days: expected days of the data set, found {', '.join(outside)}")
        forms = {"rules.user_ids": self.rules.user_ids, "rules.item_ids": self.rules.item_ids}
        formed = [name for name, form in forms.items() if form != AS_WRITTEN]
        if formed and self.id_type == "int64":
            raise ValueError(f"{formed[0]}: expected none, as id_type is int64: numbers have one form")
        lacking = [name for name in self.rules.net_by if not getattr(self.raw.columns, name)]
        if lacking:
            raise ValueError(
                f"rules.net_by: expected columns that raw.columns maps, found {', '.join(lacking)}"
            )
        if self.catalogue and self.catalogue.files == self.raw.files:
            raise ValueError(f"catalogue.files: expected others than raw.files, found {self.raw.files!r}")
        return self

    def require_day(self, day: dt.date, today: dt.date | None = None) -> dt.date:
        """Refuse a day that the data set does not have, or that is not over as of `today`.

        Raises
        ------
        PermanentError
            When it does not have that day; the message names its first and its last.
        """
        last = min(self.last_day or dt.date.max, today - dt.timedelta(days=1) if today else dt.date.max)
        if not self.first_day <= day <= last:
            end = "now on" if last == dt.date.max else last
            raise PermanentError(
                f"partition {day} is outside {self.name}: expected {self.first_day} to {end}"
            )
        return day


def digest_of(sections: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of sections as JSON values; the default zone is in no digest."""
    told = {name: value for name, value in sections.items() if (name, value) != ("zone", UTC)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def of_sections(sections: Mapping[str, Any]) -> Dataset:
    """A data set with these sections only; reading any other raises `AttributeError`.

    So a stage cannot read a section that its fingerprint does not cover.

    Raises
    ------
    ConfigError
        When a value cannot work here, such as a time zone that this machine does not know.
    """
    kind = _kind_of(tuple(sections))
    with toml.refusing("the configuration of a plan", kind):
        return cast(Dataset, kind.model_validate_json(json.dumps(sections)))


@cache
def _kind_of(sections: tuple[str, ...]) -> type[Configuration]:
    fields: dict[str, Any] = {
        name: (Dataset.model_fields[name].annotation, Dataset.model_fields[name]) for name in sections
    }
    return create_model("Sections", __base__=Configuration, **fields)


@cache
def read_dataset(name: str, unparsed: bool = False) -> Dataset:
    """Read a data set's TOML.

    Parameters
    ----------
    name
        A name in `config/`, or the path of a TOML file.
    unparsed
        Whether the expressions of its columns are taken as they are, for those who need none of them and
        have no time to load a parser.

    Raises
    ------
    ConfigError
        When there is no such file, or a field of it is wrong; the message names each field.
    """
    path = Path(name) if name.endswith(".toml") else CONFIG_DIR / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(
            f"NIGHTJAR_DATASET={name!r}: no file {path}; give a name in config/ or the path of a TOML"
        )
    return toml.read(path, Dataset, unparsed)
