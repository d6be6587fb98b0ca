import dataclasses
import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender import retrieval
from training import sets
from training.labels import distinct, truth
from training.metrics import ideal
from training.set_files import RankingSet

DAY = dt.date(2017, 9, 23)
STAMP = dt.datetime(2017, 9, 25, tzinfo=dt.UTC)


def test_mix_is_what_it_was():
    """The negatives of every training set depend on these numbers."""
    users, items = np.array([1, 1, 2], np.uint64), np.array([10, 11, 10], np.uint64)
    found = sets.mix(users, items)
    assert found.tolist() == [reference(1, 10), reference(1, 11), reference(2, 10)]


def reference(user: int, item: int) -> int:
    def finalise(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    return finalise((finalise(user) + item) % 2**64)


def test_bits_of_ids():
    assert sets.id_bits(pa.array([0, 5, -1])).tolist() == [0, 5, 2**64 - 1]
    texts = sets.id_bits(pa.array(["a", "b", "a"]))
    assert texts[0] == texts[2] != texts[1]


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 2**40)), max_size=40),
    negatives=st.integers(1, 5),
)
def test_choose_takes_all_positives_and_the_lowest_negatives(rows, negatives):
    rows = sorted(rows, key=lambda row: row[0])
    users = np.array([user for user, _, _ in rows], np.int32)
    positive = np.array([label for _, label, _ in rows], bool)
    rank = np.arange(len(rows), dtype=np.uint64)[::-1].copy()
    chosen = set(sets.choose(users, positive, rank, negatives).tolist())
    for user in set(users.tolist()):
        mine = [at for at in range(len(rows)) if users[at] == user]
        true = {at for at in mine if positive[at]}
        false = sorted((at for at in mine if not positive[at]), key=lambda at: rank[at])
        assert chosen & set(mine) == (true | set(false[:negatives]) if true else set())


@dataclasses.dataclass
class Made:
    """What a set's file holds."""

    parts: list[RankingSet]
    users: int
    taken: int
    rows: int
    positives: int


def make(make_as_of, make_events, data, pairs, bought, threads=1, most=100, chosen=lambda as_of: as_of):
    small = data.model_copy(
        update={
            "retrieval": data.retrieval.model_copy(update={"factors": 4, "iterations": 2}),
            "training": data.training.model_copy(update={"negatives": 5, "max_users": most}),
        }
    )
    as_of = chosen(make_as_of(pairs))
    events = make_events([(user, item, STAMP) for user, item in bought])
    true = truth(distinct(events, DAY, dt.date(2017, 9, 30), small), as_of, small)
    fitted = retrieval.fit(as_of.small, as_of.weights(), small.retrieval, threads)
    with tempfile.TemporaryDirectory() as folder:
        made = sets.build(as_of, fitted, true, small, threads, Path(folder) / "set.arrow")
        whole = Made(list(made.parts()), made.users, made.taken, made.rows, made.positives)
    return as_of.small, true, whole


def test_a_set_has_positives_and_negatives_of_users_with_a_hit(make_as_of, make_events, data, random_pairs):
    mine = [item for user, item in random_pairs if user == 7][:2]
    bought = [(7, mine[0]), (7, mine[1]), (7, 999), (8, 998)]
    view, truth, made = make(make_as_of, make_events, data, random_pairs, bought)
    [found] = made.parts
    assert (made.users, made.taken, made.rows, made.positives) == (2, 2, 7, 2)
    assert set(found.groups.tolist()) == {view.users.codes(pa.array([7]))[0]}
    assert found.labels.sum() == 2
    assert len(found.labels) == 2 + 5
    assert truth.counts[found.groups[0]] == 3
    assert np.allclose(found.weights, 1 / ideal(3, 10))


def test_negatives_do_not_depend_on_codes(make_view, make_events, data, random_pairs):
    """A user and an item more shift every code, and leave the others' rows as they are."""
    item = next(item for user, item in random_pairs if user == 7)
    one = sets.mix(np.array([7], np.uint64), np.array([item], np.uint64))
    more = random_pairs | {(0, 1): 0.01}
    for pairs in (random_pairs, more):
        view = make_view(pairs)
        users = view.users.codes(pa.array([7]))
        items = view.items.codes(pa.array([item]))
        assert sets.mix(sets._bits_of(view.users, users), sets._bits_of(view.items, items)) == one


@pytest.mark.parametrize(
    ("threads", "size", "blocks"), [(1, 1, 60), (1, 7, 9), (1, 100, 1), (2, 1, 60), (2, 100, 6)]
)
def test_blocks_and_threads_change_nothing(
    make_as_of, make_events, data, random_pairs, cut, threads, size, blocks
):
    bought = list(random_pairs)[::3]
    _, _, whole = make(make_as_of, make_events, data, random_pairs, bought, threads=1)
    chosen = lambda as_of: cut(as_of, size)  # noqa: E731
    _, _, made = make(make_as_of, make_events, data, random_pairs, bought, threads, chosen=chosen)
    assert len(made.parts) == blocks
    for field in dataclasses.fields(RankingSet):
        one, parts = whole.parts[0], made.parts
        joined = np.concatenate([getattr(part, field.name) for part in parts])
        assert getattr(one, field.name).tobytes() == joined.tobytes()


def test_no_more_users_are_taken_than_allowed_and_both_numbers_are_told(
    make_as_of, make_events, data, random_pairs
):
    """Without a bound the set of 200,000 users took more memory than there was."""
    bought = list(random_pairs)[::3]
    view, _, whole = make(make_as_of, make_events, data, random_pairs, bought)
    _, _, made = make(make_as_of, make_events, data, random_pairs, bought, most=20)
    assert (made.users, made.taken) == (60, 20)
    [part] = made.parts
    mine = np.isin(whole.parts[0].groups, part.groups)
    assert part.groups.tolist() == whole.parts[0].groups[mine].tolist()
    assert part.features.tobytes() == whole.parts[0].features[mine].tobytes()
    assert set(part.groups.tolist()) <= set(sets.sample(view, np.arange(60, dtype=np.int32), 20).tolist())


def test_the_sample_is_of_the_lowest_hashes_of_id_and_day(make_view, random_pairs):
    view = make_view(random_pairs)
    ids = view.users.values.to_pylist()
    lowest = sorted(ids, key=lambda user: reference(user, view.day.toordinal()))[:7]
    found = sets.sample(view, np.arange(60, dtype=np.int32), 7)
    assert view.users.take(found).to_pylist() == sorted(lowest)


def test_a_user_more_changes_the_sample_by_one_at_most(make_view, random_pairs):
    """Codes shift, ids do not."""
    views = [make_view(random_pairs), make_view(random_pairs | {(0, 100): 1.0})]
    samples = [
        set(view.users.take(sets.sample(view, np.arange(len(view.users), dtype=np.int32), 20)).to_pylist())
        for view in views
    ]
    assert len(samples[0] & samples[1]) >= 19


def test_another_day_takes_other_users(make_view, random_pairs):
    days = [make_view(random_pairs, DAY), make_view(random_pairs, DAY - dt.timedelta(days=7))]
    one, two = (sets.sample(view, np.arange(60, dtype=np.int32), 20).tolist() for view in days)
    assert one != two


def test_where_nobody_is_left_out_nothing_is_drawn(make_view, random_pairs):
    users = np.arange(60, dtype=np.int32)
    assert sets.sample(make_view(random_pairs), users, 60) is users


def test_users_without_a_hit_are_no_part(make_as_of, make_events, data, random_pairs):
    _, _, made = make(make_as_of, make_events, data, random_pairs, [(7, 999)])
    assert made == Made([], 1, 1, 0, 0)
