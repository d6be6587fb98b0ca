from pathlib import Path

import numpy as np

from topn import Compiler, simd
from topn.simd import ROWS, WIDTH, products, reached, trailing_zeros

jit = Compiler(Path(__file__), Path(simd.__file__)).jit


@jit
def multiply(panel, items, codes, at, out, row):
    products(panel, items, codes, at, out, row)


@jit
def lanes(scores, row, cuts):
    hits = np.zeros(WIDTH, np.bool_)
    bits = reached(scores, row, cuts)
    while bits:
        hits[trailing_zeros(bits)] = True
        bits &= bits - 1
    return hits


def whole(*shape):
    """Small integers, so that sums are exact in any order."""
    return np.random.default_rng(0).integers(-9, 10, shape).astype(np.float32)


def test_products_are_those_of_the_items_from_a_place_on():
    for factors in (1, 2, 64, 67):
        panel, items = whole(factors, WIDTH), whole(40, factors)
        codes = np.random.default_rng(1).permutation(40).astype(np.int32)
        out = np.full((ROWS + 2, WIDTH), 7, np.float32)
        multiply(panel, items, codes, 3, out, 1)
        assert out[1:-1].tolist() == (items[codes[3 : 3 + ROWS]] @ panel).tolist()
        assert (out[[0, -1]] == 7).all()


def test_reached_has_a_bit_for_each_lane():
    scores, cuts = whole(3, WIDTH), whole(5, WIDTH)[4]
    cuts[:2] = np.inf, -np.inf
    assert lanes(scores, 1, cuts).tolist() == (scores[1] >= cuts).tolist()
