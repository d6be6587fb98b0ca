"""A sample of MovieLens in the layouts of its three generations, each one file over all days.

    python tests/samples/movielens.py FOLDER

`ratings.dat` and `movies.dat` are those of `config/movielens_1m.toml`, `u.data` and `u.item` of
`config/movielens_100k.toml`, `ratings.csv` and `movies.csv` of `config/movielens.toml`. The ratings are
the same but for their days. Nobody rates a movie twice, and on some days nobody rates.
"""

import csv
import datetime as dt
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crowd import Crowd

DAYS = 24
CROWD = Crowd(items=160, active=0.3, picks=4.0)
QUIET = (5, 12)  # the days, from 0, on which nobody rates
FIRST_100K, FIRST_1M, FIRST = dt.date(1997, 9, 20), dt.date(2000, 4, 25), dt.date(2015, 1, 1)
GENRES = ("Animation|Children's|Comedy", "Drama|Romance", "Action|Sci-Fi", "Horror|Thriller")
FLAGS = 19  # genres of u.item, each a column
TITLES = ("Misérables, Les", 'Story of "Us", The', "Léon: The Professional", "Heat")


@dataclass(frozen=True)
class Rating:
    """A row: who gave which movie how many stars, and when, in seconds from the first midnight."""

    user: int
    movie: int
    stars: int
    second: int


def ratings() -> list[Rating]:
    """All ratings, in the order of their time."""
    return list(_ratings())


def _ratings() -> Iterator[Rating]:
    seen: set[tuple[int, int]] = set()
    for day in range(DAYS):
        for visit in CROWD.visits(FIRST + dt.timedelta(days=day)):
            rated = [pick for pick in visit.picks if (visit.person, pick) not in seen and day not in QUIET]
            seen.update((visit.person, pick) for pick in rated)
            for place, pick in enumerate(rated):
                stars = 5 - place % 2 if CROWD.topic(pick) == CROWD.topic(visit.person) else 1 + place % 3
                yield Rating(visit.person + 1, pick + 1, stars, day * 86_400 + visit.second + place)


def planted(first: dt.date) -> dict[dt.date, Counter[str]]:
    """Of each day with ratings how many rows there are of each kind; all are clean."""
    days = Counter(rating.second // 86_400 for rating in ratings())
    return {first + dt.timedelta(days=day): Counter(clean=rows) for day, rows in days.items()}


def write(folder: Path) -> None:
    """Write all files; the same bytes each time."""
    by_user = sorted(ratings(), key=lambda rating: (rating.user, rating.movie))
    movies = range(1, CROWD.items + 1)
    _put(folder / "ratings.dat", map("::".join, _rows(by_user, FIRST_1M)), "latin-1")
    _put(
        folder / "movies.dat", (f"{movie}::{_title(movie)}::{_genres(movie)}" for movie in movies), "latin-1"
    )
    shuffled = sorted(by_user, key=lambda rating: (rating.second * 7919) % 10_007)
    _put(folder / "u.data", map("\t".join, _rows(shuffled, FIRST_100K)), "latin-1")
    _put(folder / "u.item", ("|".join(_item(movie)) for movie in movies), "latin-1")
    head = ["userId", "movieId", "rating", "timestamp"]
    halves = ([user, movie, f"{stars}.0", at] for user, movie, stars, at in _rows(by_user, FIRST))
    _put(folder / "ratings.csv", _csv([head, *halves]), "utf-8")
    titles = ([str(movie), _title(movie), _genres(movie)] for movie in movies)
    _put(folder / "movies.csv", _csv([["movieId", "title", "genres"], *titles]), "utf-8")


def _rows(rated: Iterable[Rating], first: dt.date) -> Iterator[list[str]]:
    """The values of ratings, their stamps in seconds since 1970."""
    midnight = int(dt.datetime.combine(first, dt.time(), dt.UTC).timestamp())
    for rating in rated:
        yield [str(rating.user), str(rating.movie), str(rating.stars), str(midnight + rating.second)]


def _title(movie: int) -> str:
    return f"{TITLES[movie % len(TITLES)]} {movie} ({1950 + movie % 50})"


def _genres(movie: int) -> str:
    return GENRES[CROWD.topic(movie - 1)]


def _item(movie: int) -> list[str]:
    flags = ["1" if place == CROWD.topic(movie - 1) else "0" for place in range(FLAGS)]
    return [str(movie), _title(movie), "01-Jan-1995", "", f"http://us.imdb.com/M/title-exact?{movie}", *flags]


def _csv(rows: Iterable[Sequence[str]]) -> list[str]:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().splitlines()


def _put(path: Path, lines: Iterable[str], encoding: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding, newline="")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
