"""A crowd with tastes, which visits day by day: what the samples of all layouts are drawn from.

Each topic has as many items, and is the only one that some of the people care for: four picks of five are
of a person's own topic. So lists can be seen to be right. Each day is drawn by itself, from the seed and
the date.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

OPENS, CLOSES = 9 * 3600, 15 * 3600  # seconds of a day
OWN_SHARE = 0.8  # of picks that are of the person's own topic


@dataclass(frozen=True)
class Visit:
    """What one person picked at one time.

    Attributes
    ----------
    person, picks
        Numbers from 0; no pick twice.
    second
        Of the day.
    """

    person: int
    second: int
    picks: tuple[int, ...]


@dataclass(frozen=True)
class Crowd:
    """People and items, each of one topic by its number.

    Attributes
    ----------
    active
        The share of the people that comes on a day.
    picks
        How many picks a visit has on average.
    """

    people: int = 140
    items: int = 80
    topics: int = 4
    active: float = 0.35
    picks: float = 3.0
    seed: int = 7

    def topic(self, number: int) -> int:
        """The topic of a person or an item."""
        return number % self.topics

    def visits(self, day: dt.date) -> Iterator[Visit]:
        """The visits of a day, in the order of their time."""
        random = np.random.default_rng([self.seed, day.toordinal()])
        people = np.flatnonzero(random.random(self.people) < self.active)
        seconds = random.integers(OPENS, CLOSES, len(people))
        for place in np.argsort(seconds, kind="stable"):
            person = int(people[place])
            yield Visit(person, int(seconds[place]), self._picks(person, random))

    def _picks(self, person: int, random: np.random.Generator) -> tuple[int, ...]:
        """Items of the own topic or of any, the first ones more often."""
        count = 1 + random.poisson(self.picks - 1)
        ranks = (self.items // self.topics * random.random(count) ** 2).astype(int)
        topics = np.where(
            random.random(count) < OWN_SHARE, self.topic(person), random.integers(0, self.topics, count)
        )
        return tuple(dict.fromkeys((ranks * self.topics + topics).tolist()))
