"""Kinds of values that settings have; those of places and of raw files have modules of their own.

The bounds are wider than any use. A value beyond them cannot work, or overflows something later.
"""

import datetime as dt
import zoneinfo
from collections.abc import Hashable
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
)

from lake.toml import near

T = TypeVar("T", bound=Hashable)

SECOND = dt.timedelta(seconds=1)


class Section(BaseModel):
    """Part of the settings: strictly typed, without unknown keys, immutable."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


def _no_repeats(values: tuple[T, ...]) -> tuple[T, ...]:
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"expected each value once, {', '.join(repeated)} is repeated")
    return values


def _zone(name: str) -> str:
    """Accept a name that Python, Java and Spark all read, and in the same way."""
    known = {zone for zone in zoneinfo.available_timezones() if "/" in zone} | {"UTC"}
    if name not in known:
        raise ValueError(
            f"expected UTC, or a name of the tz database such as Europe/Berlin{near(name, known)}, "
            "or Etc/GMT-2 for a fixed offset of +2 hours"
        )
    return name


def _count_seconds(value: Any) -> Any:
    return value / SECOND if isinstance(value, dt.timedelta) else value


def form(text: str) -> Any:
    """What a value looks like, for its line in docs/settings.md."""
    return Field(json_schema_extra={"form": text})


def _whole_seconds(at_least: int) -> GetPydanticSchema:
    """The schema of a timedelta that is given, and dumped, in whole seconds."""
    seconds = Annotated[
        int,
        Ge(at_least),
        Le(366 * 86_400),
        BeforeValidator(_count_seconds),
        AfterValidator(SECOND.__mul__),
        PlainSerializer(lambda duration: duration // SECOND, return_type=int),
    ]
    return GetPydanticSchema(lambda _, make_schema: make_schema(seconds))


Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$"), form("no blank at its ends")]
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64),
    form("small letters, digits, `-` and `_`, at most 64"),
]
Zone = Annotated[
    str,
    AfterValidator(_zone),
    form(
        "`UTC`, or a name of the tz database with a slash (`Europe/Berlin`), which Python and Java both "
        "know; a fixed offset of +2 hours is `Etc/GMT-2`"
    ),
]
Seed = Annotated[int, Ge(0), Le(2**31 - 1)]
"""What numpy, implicit, XGBoost and Annoy (whose binding has a signed C int) all take."""
Share = Annotated[float, Gt(0), Le(1)]
FIRST_DAY, LAST_DAY = dt.date(1970, 1, 1), dt.date(2199, 12, 31)
Day = Annotated[dt.date, Ge(FIRST_DAY), Le(LAST_DAY), form(f"{FIRST_DAY} to {LAST_DAY}")]
"""Days whose neighbours and microseconds every engine can hold."""
Trees = Annotated[int, Ge(1), Le(10_000)]
Count = Annotated[int, Ge(1), Le(100_000)]
Duration = Annotated[dt.timedelta, _whole_seconds(at_least=0)]
PositiveDuration = Annotated[dt.timedelta, _whole_seconds(at_least=1)]
Sequence = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_no_repeats)]
"""A TOML array; its values are as strict as others."""
