"""The section `[compare]` of a data set: how a day is compared with the days before, and what follows."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lake.kinds import Section

Action = Literal["off", "warn", "stop"]


class Comparison(Section):
    """What one comparison does, and how far a day may be from the usual.

    Attributes
    ----------
    action
        ``stop`` refuses the day.
    tolerance
        What is always borne, however steady the history: a factor (either way), or a share.
    """

    action: Action = "warn"
    tolerance: float


class Factor(Comparison):
    """A number may be so many times the usual, or so many times less."""

    tolerance: float = Field(gt=1, le=1e6)


class Share(Comparison):
    """So large a part of the whole may differ."""

    tolerance: float = Field(gt=0, le=1)


class Compare(Section):
    """Each comparison of a day with the data set's own last days.

    Attributes
    ----------
    days
        How far back the history goes.
    stop_after
        Days of history from which on a comparison may stop; before, each only warns.
    min_rows
        Numbers of fewer rows than this say nothing.
    rows, users, items
        Clean rows, and distinct users and items in them.
    busiest_user
        The rows of the user with the most; fewer than usual is no fault.
    event_types
        The share of each event type.
    segments
        The share of rows that lie in other segments than usual.
    amounts, quantities
        Quantiles of those above 0, and the share of rows with one.
    amount_scale
        Quantiles of amounts again, for a wrong unit: ten times the usual is found for sure.
    known_items
        The share of rows whose item the catalogue has; more than usual is no fault.
    catalogue
        The share of the items of the catalogue before that a new one lacks.
    """

    days: int = Field(default=56, ge=14, le=366)
    stop_after: int = Field(default=14, ge=0, le=366)
    min_rows: int = Field(default=20, ge=1, le=10**12)
    rows: Factor = Factor(tolerance=1.5)
    users: Factor = Factor(tolerance=1.5)
    items: Factor = Factor(tolerance=1.5)
    busiest_user: Factor = Factor(tolerance=2.0)
    event_types: Factor = Factor(tolerance=2.0)
    segments: Share = Share(tolerance=0.05)
    amounts: Factor = Factor(tolerance=1.5)
    quantities: Factor = Factor(tolerance=2.5)
    amount_scale: Factor = Factor(action="stop", tolerance=5.0)
    known_items: Share = Share(tolerance=0.02)
    catalogue: Share = Share(action="stop", tolerance=0.1)

    @field_validator("*", mode="before")
    @classmethod
    def _keep_what_is_not_named(cls, value: Any, info: ValidationInfo) -> Any:
        """A comparison of which one key is given keeps the default of the other."""
        default = cls.model_fields[info.field_name or ""].default
        told = isinstance(default, Comparison) and isinstance(value, dict)
        return default.model_dump() | value if told else value

    @model_validator(mode="after")
    def _can_stop(self) -> "Compare":
        if 3 * self.stop_after > 2 * self.days:  # a week may have two closed days
            most = 2 * self.days // 3
            raise ValueError(f"stop_after is {self.stop_after}: expected at most two thirds of days, {most}")
        return self
