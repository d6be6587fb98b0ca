"""Which purchase a return takes from."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from spark_jobs import returns
from spark_jobs.returns import Settled, settle


def _row(number, quantity, amount):
    """A row of a key; one of negative numbers is a return."""
    numbers = [None if value is None else Decimal(str(value)) for value in (quantity, amount)]
    return number, any(value is not None and value < 0 for value in numbers), *numbers


def _settled(*rows):
    made = list(settle(_row(number, *numbers) for number, numbers in enumerate(rows)))
    gone = {one.place for one in made if one.gone}
    return gone, {one.place: (one.quantity, one.amount) for one in made if not one.gone}


def test_a_return_of_all_takes_the_purchase_with_it():
    assert _settled((2, 5), (-2, -5)) == ({0, 1}, {})


def test_a_return_of_a_part_leaves_the_rest():
    assert _settled((3, "7.50"), (-1, "-2.50")) == ({1}, {0: (2, Decimal("5.00"))})


def test_the_newest_purchase_that_is_large_enough_is_taken_from():
    assert _settled((5, 50), (9, 90), (1, 10), (-2, -20)) == ({3}, {1: (7, 70)})
    assert _settled((1, 10), (1, 10), (-1, -10)) == ({1, 2}, {})


def test_a_return_before_its_purchase_or_larger_than_any_stays():
    assert _settled((-1, -10), (1, 10)) == (set(), {})
    assert _settled((1, 10), (1, 10), (-2, -20)) == (set(), {})
    assert _settled((1, 10), (-1, -11)) == (set(), {})


def test_several_returns_may_take_from_one_purchase_until_nothing_is_left():
    rows = [(3, 9), (-1, -3), (-1, -3), (-1, -3), (-1, -3)]
    assert _settled(*rows) == ({0, 1, 2, 3}, {})


def test_money_alone_makes_a_purchase_cheaper_and_pieces_alone_smaller():
    assert _settled((1, 10), (0, -4)) == ({1}, {0: (1, 6)})
    assert _settled((1, 10), (0, -10)) == ({1}, {0: (1, 0)})
    assert _settled((2, 10), (-1, 0)) == ({1}, {0: (1, 10)})
    assert _settled((2, 10), (-2, -9)) == ({0, 1}, {})  # nothing is left but a fee
    assert _settled((1, 10), (1, -10)) == ({0, 1}, {})  # some write pieces of returns without a sign


def test_numbers_that_a_data_set_has_not_are_none():
    assert _settled((None, 10), (None, -4)) == ({1}, {0: (None, 6)})
    assert _settled((None, 10), (None, -10)) == ({0, 1}, {})
    assert _settled((4, None), (-4, None)) == ({0, 1}, {})


def test_a_return_looks_at_so_many_purchases_and_no_more(monkeypatch):
    """A million returns of one key, each too large, would take a night."""
    monkeypatch.setattr(returns, "_LOOKED_AT", 2)
    assert _settled((5, 5), (1, 1), (-2, -2)) == ({2}, {0: (3, 3)})
    assert _settled((5, 5), (1, 1), (1, 1), (-2, -2)) == (set(), {})


NUMBERS = st.tuples(st.integers(-5, 5), st.decimals(-9, 9, places=2))


@given(st.lists(NUMBERS, max_size=12))
def test_no_piece_is_lost_and_money_only_with_a_purchase_of_which_no_piece_is_left(rows):
    gone, left = _settled(*rows)
    marked = [(place, *_row(place, *numbers)[1:]) for place, numbers in enumerate(rows)]
    bought = {place: numbers for place, is_return, *numbers in marked if not is_return}
    taken = [numbers for place, is_return, *numbers in marked if is_return and place in gone]
    kept = [left.get(place, numbers) for place, numbers in bought.items() if place not in gone]
    lost = [sum(row[n] for row in bought.values()) - sum(row[n] for row in kept) for n in (0, 1)]
    assert lost[0] == sum(abs(row[0]) for row in taken)
    assert lost[1] >= sum(abs(row[1]) for row in taken)
    assert all(quantity >= 0 and amount >= 0 for quantity, amount in kept)


def test_a_settled_row_says_its_place():
    assert list(settle([_row(("a", 1), 1, 1), _row(("a", 2), -1, -1)])) == [
        Settled(("a", 2), True, None, None),
        Settled(("a", 1), True, None, None),
    ]
