"""A day's profile: the numbers by which it is compared with the days before."""

from dataclasses import dataclass
from typing import Final

QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
"""Of the numbers above 0, exact, with linear interpolation between neighbours."""
MOST_SEGMENTS: Final = 1000
"""How many segments a profile names, so that it stays small: those with the most rows, then by name."""
NO_SEGMENT: Final = "(none)"
OTHER_SEGMENTS: Final = "(others)"


@dataclass(frozen=True)
class Values:
    """How a column of amounts or quantities is spread.

    Attributes
    ----------
    count
        The rows with a value above 0.
    quantiles
        Their `QUANTILES`, in the column's unit; none where `count` is 0.
    """

    count: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Profile:
    """The clean rows of a day in numbers; a part is None where the data set does not map its column.

    Attributes
    ----------
    rows, users, items
        Clean rows, and the distinct users and items in them.
    busiest
        The rows of the user with the most.
    event_types, segments
        Rows of each.
    known
        Rows whose item is in the catalogue as of the day; None without a catalogue.
    """

    rows: int
    users: int
    items: int
    busiest: int
    event_types: dict[str, int] | None = None
    segments: dict[str, int] | None = None
    amounts: Values | None = None
    quantities: Values | None = None
    known: int | None = None
