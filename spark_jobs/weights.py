"""Decayed weights as scaled integers, so that their sums depend on no order of rows.

The weight of an event in a day's features is ``event weight * .5 ** ((age + 1) / half life)``, age
being whole days. It is looked up as a long, ``round(scale(half life) * weight)``; sums of longs are
exact. The weights of one user and item fit into a long whatever the history: `scale` gives way to
longer half-lives, so that at the largest weight they are less than 2**59 together.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as fn

from lake.errors import ConfigError
from lake.kinds import LARGEST_WEIGHT, LARGEST_WEIGHT_BITS
from lake.schemas import EVENT_TYPE

SUM_BITS: Final = 59
"""Below the 63 of a long, so that sums over 10**12 pairs fit into the 30 digits of theirs."""
NO_WEIGHT: Final = "events.weights has no weight for event type "


def scale(half_life: int) -> int:
    """The factor by which weights of a half-life become integers, a power of two.

    Those of all ages are ``1 / (2 ** (1 / half life) - 1)`` together, which is less than 1.5 half-lives.
    """
    bits = SUM_BITS - LARGEST_WEIGHT_BITS - (3 * half_life // 2).bit_length()
    return 1 << min(36, bits)


def decay_table(event_weight: float, half_life: int) -> list[int]:
    """Scaled weights of one event by its age in whole days.

    Parameters
    ----------
    event_weight
        The weight of the event type, at least 0 and at most `LARGEST_WEIGHT`.
    half_life
        Days after which a weight has halved, at least 1.

    Returns
    -------
    list of int
        The weight at age 0, 1, ...; every age beyond the end weighs 0.

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
    table: list[int] = []
    while weight := round(scale(half_life) * event_weight * 0.5 ** ((len(table) + 1) / half_life)):
        table.append(weight)
    return table


def decay_tables(event_weights: Sequence[float], half_life: int) -> list[list[int]]:
    """One `decay_table` for each event weight, in the order given."""
    return [decay_table(weight, half_life) for weight in event_weights]


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
