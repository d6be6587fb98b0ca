import re
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from topn import Compiler, simd
from topn.simd import ROWS, WIDTH, Tile, counts_reaching, products, reached, trailing_zeros

jit = Compiler(Path(__file__), Path(simd.__file__)).jit

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
WIDE, NARROW, OLD, NEON = Tile(16, 3, 8), Tile(8, 3, 4), Tile(4, 3, 3), Tile(4, 3, 6)
TARGETS = [
    pytest.param((X86, "znver4", ""), WIDE, r"vfmadd\w+.*%zmm", id="Zen 4"),
    pytest.param((X86, "skylake-avx512", ""), WIDE, r"vfmadd\w+.*%zmm", id="Skylake with AVX-512"),
    pytest.param((X86, "znver4", "-avx512f"), NARROW, r"vfmadd\w+.*%ymm", id="Zen 4 held to AVX2"),
    pytest.param((X86, "znver3", ""), NARROW, r"vfmadd\w+.*%ymm", id="Zen 3"),
    pytest.param((X86, "haswell", ""), NARROW, r"vfmadd\w+.*%ymm", id="Haswell"),
    pytest.param((X86, "nehalem", ""), OLD, r"addps\s+%xmm", id="Nehalem"),
    pytest.param((ARM, "generic", ""), NEON, r"fmla\s+v\d+\.4s", id="Arm"),
    pytest.param((ARM, "neoverse-n1", ""), NEON, r"fmla\s+v\d+\.4s", id="Neoverse N1"),
    pytest.param((ARM, "neoverse-v1", ""), NEON, r"fmla\s+v\d+\.4s", id="Neoverse V1, with SVE"),
]


@jit
def multiply(panel, items, cuts, row, scores, lanes):
    products(panel, items, cuts, row, scores, lanes)


@jit
def lanes_reached(scores, row, cuts):
    return reached(scores, row, cuts)


@jit
def count(scores, cuts, counts):
    counts_reaching(scores, cuts, counts)


@jit
def lanes_of(bits):
    hits = np.zeros(WIDTH, np.bool_)
    while bits:
        hits[trailing_zeros(bits)] = True
        bits &= bits - 1
    return hits


def whole(*shape):
    """Small integers, so that sums are exact in any order."""
    return np.random.default_rng(0).integers(-9, 10, shape).astype(np.float32)


@pytest.mark.parametrize("factors", [1, 2, 64, 67])
def test_products_are_those_of_the_items_from_a_row_on(factors):
    panel, items, cuts = whole(factors, WIDTH), whole(ROWS + 2, factors), whole(WIDTH)
    scores, lanes = np.full((ROWS + 2, WIDTH), 7, np.float32), np.full(ROWS + 2, -7)
    multiply(panel, items, cuts, 1, scores, lanes)
    assert scores[1:-1].tolist() == (items[1:-1] @ panel).tolist()
    assert [lanes_of(bits).tolist() for bits in lanes[1:-1]] == (scores[1:-1] >= cuts).tolist()
    assert (scores[[0, -1]] == 7).all()
    assert (lanes[[0, -1]] == -7).all()


def test_reached_has_a_bit_for_each_lane():
    scores, cuts = whole(3, WIDTH), whole(5, WIDTH)[4]
    cuts[:2] = np.inf, -np.inf
    assert lanes_of(lanes_reached(scores, 1, cuts)).tolist() == (scores[1] >= cuts).tolist()


@pytest.mark.parametrize("rows", [1, 50])
def test_scores_are_counted_lane_by_lane(rows):
    scores, cuts, counts = whole(rows, WIDTH), whole(WIDTH), np.full(WIDTH, 7, np.int32)
    scores[0, 0], scores[0, 1] = -np.inf, np.inf
    count(scores, cuts, counts)
    assert counts.tolist() == (scores >= cuts).sum(axis=0).tolist()


@pytest.fixture(scope="module", autouse=True)
def _all_processors():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def made_for(target, tile):
    """The machine code of `Code.products` for a processor, optimised as numba does it."""
    module, floats = ir.Module(), ir.FloatType().as_pointer()
    parts = [floats, floats, ir.IntType(64), floats]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parts), "multiply")
    panel, items, factors, scores = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    code = simd.Code(builder, tile)
    rows = code.rows_from(ir.IntType(64)(0))
    found = code.products(panel, [code.row(items, row, factors) for row in rows], factors)
    for row, of_row in zip(rows, found, strict=True):
        code.store_row(of_row, scores, row)
    builder.ret_void()
    return simd.assembly(module, target)


def skip_without(target):
    try:
        llvm.Target.from_triple(target[0])
    except RuntimeError:
        pytest.skip(f"this LLVM writes no code for {target[0]}")


@pytest.mark.parametrize(("target", "tile", "sum_"), TARGETS)
def test_the_sums_of_a_tile_stay_in_registers(target, tile, sum_):
    """Each is added to once in the loop. For Zen 3 LLVM unrolled it, which took twice the time."""
    skip_without(target)
    assert simd.tile_for(target) == tile
    code = made_for(target, tile)
    loop = re.search(r"^\.LBB0_1:(.*)\s\.LBB0_1$", code, re.DOTALL | re.MULTILINE)[1]
    assert len(re.findall(sum_, loop)) == tile.rows * tile.vectors
    assert not re.search(r"\bw?r?sp\b", loop)
