"""Decayed weights as whole numbers, which no order of rows and no cut of the history changes.

The weight of an event in a day's features is ``event weight * .5 ** ((D + 1 - day) / half life)``. Time is
cut into *periods* of a half-life, counted from day 0. In units of its own period an event weighs
``event weight * 2 ** (days since the period began / half life)``; a period later it weighs half. So a sum is

    floor(sum over events of weights(...) * .5 ** periods since)

Each event comes in as a whole number. A sum that was rounded down may be taken up as one event of a
later period: as floor((floor(x) + n) / 2) is floor((x + n) / 2) for a whole number n, the floor of all is the
same. `decayed` adds up what is behind the point too, so that events may come in any order.

The sum of one user and item fits into a long whatever the history: `scale` gives way to longer half-lives,
so that at the largest weight it is less than 2**59.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as fn

from lake.errors import ConfigError
from lake.raw_kinds import LARGEST_WEIGHT, LARGEST_WEIGHT_BITS
from lake.schemas import EVENT_TYPE

SUM_BITS: Final = 59
"""Below the 63 of a long, so that sums over 10**12 pairs fit into the 30 digits of theirs."""
LIMB_BITS: Final = 31
NO_WEIGHT: Final = "events.weights has no weight for event type "


def scale(half_life: int) -> int:
    """The factor by which weights of a half-life become integers, a power of two.

    With an event each day the weights are ``2 / (1 - .5 ** (1 / half life))`` together at the end of a
    period, which is at most 4 half-lives.
    """
    bits = SUM_BITS - LARGEST_WEIGHT_BITS - (4 * half_life).bit_length()
    return 1 << min(36, bits)


def weights(event_weight: float, half_life: int) -> list[int]:
    """Scaled weights of an event by the days since its period began, in units of that period.

    Parameters
    ----------
    event_weight
        The weight of the event type, at least 0 and at most `LARGEST_WEIGHT`.
    half_life
        Days after which a weight has halved, at least 1.

    Returns
    -------
    list of int
        One for each day of a period, ascending.

    Raises
    ------
    ConfigError
        When the weight is negative, not finite, or so large that sums could overflow.
    """
    if not 0 <= event_weight <= LARGEST_WEIGHT:
        raise ConfigError(
            f"events.weights: expected weights between 0 and {LARGEST_WEIGHT:,.0f}, found {event_weight}; "
            "divide all weights by one number"
        )
    return [round(scale(half_life) * event_weight * 2.0 ** (day / half_life)) for day in range(half_life)]


def decayed(weight: str, periods: str, most: int) -> str:
    """SQL of the floor of ``sum(weight * .5 ** periods)``, exactly.

    Each product is cut into its whole part and *limbs* of `LIMB_BITS` binary digits after the point. A long
    holds the sum of a limb over 2**32 rows. The carry goes from the last limb to the first.

    Parameters
    ----------
    weight
        A column of longs, at least 0.
    periods
        A column of integers, at least 0.
    most
        The largest of these.
    """
    carry = "0"
    for last_bit in reversed(range(LIMB_BITS, most + LIMB_BITS, LIMB_BITS)):
        limb = f"sum({_shifted(weight, f'{periods} - {last_bit}')} & {(1 << LIMB_BITS) - 1})"
        carry = f"shiftright({limb} + {carry}, {LIMB_BITS})"
    return f"sum({_shifted(weight, periods)}) + {carry}"


def _shifted(value: str, by: str) -> str:
    """SQL of a long halved so many times, or doubled. Java's shifts take the last 6 bits of their count."""
    return f"if({by} < 0, shiftleft({value}, least(63, -({by}))), shiftright({value}, least(63, {by})))"


def unit(as_of: dt.date, half_life: int) -> float:
    """What 1 of a sum in units of the period of the day after `as_of` weighs in that day's features."""
    day = (as_of + dt.timedelta(days=1)).toordinal()
    return float(0.5 ** (day % half_life / half_life)) / scale(half_life)


def level(weights: Mapping[str, float], levels: Sequence[float]) -> Column:
    """The index of a row's weight in `levels`. A row whose event type has no weight raises an error."""
    index = fn.raise_error(fn.concat(fn.lit(NO_WEIGHT), fn.col(EVENT_TYPE)))
    for kind, weight in weights.items():
        index = fn.when(fn.col(EVENT_TYPE) == kind, fn.lit(levels.index(weight))).otherwise(index)
    return index.cast("int")


@contextmanager
def weights_required() -> Iterator[None]:
    """Turn the error about an event type without a weight into one that says what to do."""
    try:
        yield
    except Exception as error:
        unknown = re.search(re.escape(NO_WEIGHT) + r"(.+?)(?: SQLSTATE| *$)", str(error), re.MULTILINE)
        if unknown is None:
            raise
        raise ConfigError(
            f"{NO_WEIGHT}{unknown[1]}, which committed days have; give it one, name it in events.ignore, "
            "or bootstrap these days again"
        ) from error
