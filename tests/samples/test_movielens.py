"""The examples of MovieLens on samples of their layouts: one file over all days, cut, and taken in."""

import datetime as dt

import movielens
import pytest
from movielens import CROWD, DAYS, FIRST, FIRST_1M, FIRST_100K, QUIET

from lake import tables
from lake.partitions import ONE_DAY
from nightjar.stages import night

pytestmark = [pytest.mark.example, pytest.mark.spark]

NIGHT = FIRST_1M + (DAYS - 1) * ONE_DAY


def _with_catalogue(made, source, name):
    target = made.raw / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (made.raw / source).rename(target)


@pytest.fixture(scope="module")
def million(example):
    """Lists of MovieLens 1M; days without ratings are closed."""
    made = example("movielens_1m", closed=[FIRST_1M + day * ONE_DAY for day in QUIET])
    movielens.write(made.raw)
    made.cut("ratings.dat")
    _with_catalogue(made, "movies.dat", f"catalogue/{FIRST_1M}.dat")
    return made, made.make_lists(NIGHT)


def test_every_row_is_counted_as_what_it_is(million):
    made, _ = million
    made.require_counts(movielens.planted(FIRST_1M))
    assert {made.record(FIRST_1M + day * ONE_DAY).outcome for day in QUIET} == {"closed"}


def test_nobody_is_shown_what_was_rated_already(million):
    _, reader = million
    rated = {(rating.user, rating.movie) for rating in movielens.ratings()}
    shown = {(user, item) for user in reader.users() for item in reader.for_user(user).items}
    assert len(shown) > 1000
    assert shown & rated == set()


def test_lists_are_of_the_own_taste_as_far_as_it_goes(million):
    """A list of ten has 2.5 of one's own topic by chance."""
    _, reader = million
    own = [
        CROWD.topic(item - 1) == CROWD.topic(user - 1)
        for user in reader.users()
        for item in reader.for_user(user).items[:10]
    ]
    assert sum(own) > 0.5 * len(own)


def test_titles_keep_their_accents(million):
    _, reader = million
    assert reader.catalogue([2])[2].name.startswith("Léon: The Professional")


@pytest.mark.parametrize(
    ("name", "source", "catalogue", "target", "first"),
    [
        ("movielens_100k", "u.data", "u.item", "catalogue/1997-09-20.item", FIRST_100K),
        ("movielens", "ratings.csv", "movies.csv", "catalogue/2015-01-01.csv", FIRST),
    ],
)
def test_the_other_layouts_hold_the_same(million, example, name, source, catalogue, target, first):
    made, (others, _) = example(name), million
    movielens.write(made.raw)
    made.cut(source)
    _with_catalogue(made, catalogue, target)
    night.run_bootstrap(first, first + ONE_DAY, made.settings)
    for day in range(2):
        assert _rows(made, first, day) == _rows(others, FIRST_1M, day)
    assert _titles(made, first) == _titles(others, FIRST_1M)


def _rows(made, first, day):
    """Of a day who rated what, and how long after midnight."""
    content = made.record(first + day * ONE_DAY).tables["interactions"]
    midnight = dt.datetime.combine(first + day * ONE_DAY, dt.time(), dt.UTC)
    rows = tables.read(made.lake.storage, "interactions", "int64", content.files).to_pylist()
    return sorted((row["user_id"], row["item_id"], row["event_ts"] - midnight) for row in rows)


def _titles(made, first):
    content = made.record(first).tables["catalogue"]
    items = tables.read(made.lake.storage, "catalogue", "int64", content.files).to_pylist()
    return {item["item_id"]: item["name"] for item in items}
