"""Vector instructions that numba does not write by itself, as LLVM code for its functions.

LLVM turns the vectors into those of the processor that numba compiles for. Their shape, a `Tile`, follows
from that processor's registers alone, never from a measurement.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending, types
from numba.core.registry import cpu_target
from numba.cpython.unsafe import numbers

Lowering: TypeAlias = tuple[Any, Callable[..., Any]]
Target: TypeAlias = tuple[str, str, str]
"""Triple, processor and features, as LLVM names them."""
Step: TypeAlias = Callable[[Any, list[Any]], list[Any]]
"""From how often a loop has been through, and its values, to its next values."""

intrinsic: Callable[[Callable[..., Any]], Any] = extending.intrinsic
trailing_zeros: Any = numbers.trailing_zeros


class Tile(NamedTuple):
    """The shape of a product whose sums stay in registers.

    Attributes
    ----------
    lanes
        How many floats a vector has; each is of another user.
    vectors
        How many vectors of users are multiplied at a time.
    rows
        By how many items.
    """

    lanes: int
    vectors: int
    rows: int

    @property
    def width(self) -> int:
        """How many users."""
        return self.lanes * self.vectors


# By how LLVM names the registers. 24 sums leave 8 of the 32 registers of AVX-512 to the factors, 12 leave 4
# of the 16 of AVX2. For Arm's NEON, with 32, LLVM fetches the factors of all rows at once: 18 leave room for
# them. Others may have 16 and need one for a product that is not added yet.
TILES = {"zmm": Tile(16, 3, 8), "ymm": Tile(8, 3, 4), ".4s": Tile(4, 3, 6)}
OTHER = Tile(4, 3, 3)


def tile_for(target: Target) -> Tile:
    """The tile for a processor, by the registers in which LLVM adds vectors for it."""
    vector = ir.VectorType(ir.FloatType(), max(tile.lanes for tile in TILES.values()))
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [vector.as_pointer()]), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    value = builder.load(function.args[0], align=4)
    builder.store(builder.fadd(value, value), function.args[0], align=4)
    builder.ret_void()
    code = assembly(module, target)
    return next((tile for name, tile in TILES.items() if name in code), OTHER)


def assembly(module: ir.Module, target: Target) -> str:
    """What LLVM makes of a module for a processor."""
    triple, processor, features = target
    machine = llvm.Target.from_triple(triple).create_target_machine(processor, features, opt=3)
    optimised = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(optimised, passes)
    return str(machine.emit_assembly(optimised))


# The processor of this machine, unless NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name another.
TILE = tile_for(cpu_target.target_context.codegen().magic_tuple())
ROWS, WIDTH = TILE.rows, TILE.width

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)


class Code:
    """What is written for one tile; every value is of LLVM.

    Parameters
    ----------
    builder
        At the place where the code is to be.
    """

    def __init__(self, builder: ir.IRBuilder, tile: Tile) -> None:
        self._builder, self._tile = builder, tile
        self._floats, self._counts = (ir.VectorType(kind, tile.lanes) for kind in (_FLOAT, _INT))

    def row(self, base: Any, row: Any, width: Any) -> Any:
        """Where a row of an array begins."""
        return self._builder.gep(base, [self._builder.mul(row, width)])

    def rows_from(self, first: Any) -> list[Any]:
        """The numbers of the rows of a tile."""
        return [self._builder.add(first, _LONG(r)) for r in range(self._tile.rows)]

    def panel_row(self, base: Any, row: Any) -> list[Any]:
        """The vectors of a row ``[width]``."""
        start = self.row(base, row, _LONG(self._tile.width))
        return [self._builder.load(self._vector(start, v), align=4) for v in range(self._tile.vectors)]

    def store_row(self, vectors: list[Any], base: Any, row: Any) -> None:
        """Write the vectors of a row ``[width]``."""
        start = self.row(base, row, _LONG(self._tile.width))
        for v, vector in enumerate(vectors):
            self._builder.store(vector, self._vector(start, v), align=4)

    def _vector(self, start: Any, v: int) -> Any:
        at = self._builder.gep(start, [_LONG(v * self._tile.lanes)])
        kind = self._floats if start.type.pointee == _FLOAT else self._counts
        return self._builder.bitcast(at, kind.as_pointer())

    def products(self, panel: Any, items: list[Any], factors: Any) -> list[list[Any]]:
        """The products of each item with all vectors of a panel ``[factors, width]``."""
        kind = ir.FunctionType(self._floats, [self._floats] * 3)
        name = f"llvm.fmuladd.v{self._tile.lanes}f32"
        multiply_add = self._builder.module.declare_intrinsic(name, (), kind)

        def add(factor: Any, sums: list[Any]) -> list[Any]:
            users = self.panel_row(panel, factor)
            weights = [self._everywhere(self._builder.gep(item, [factor])) for item in items]
            pairs = zip(product(weights, users), sums, strict=True)
            return [self._builder.call(multiply_add, [*pair, total]) for pair, total in pairs]

        vectors = self._tile.vectors
        sums = self._loop(factors, [self._floats([0.0] * self._tile.lanes)] * (vectors * len(items)), add)
        return [sums[at : at + vectors] for at in range(0, len(sums), vectors)]

    def _everywhere(self, at: Any) -> Any:
        nothing = self._floats(ir.Undefined)
        first = self._builder.insert_element(nothing, self._builder.load(at), _INT(0))
        return self._builder.shuffle_vector(first, nothing, self._counts([0] * self._tile.lanes))

    def bits(self, scores: list[Any], cuts: list[Any]) -> Any:
        """An integer with a bit for each lane: whether its score is at least its cut."""
        bits: Any = _LONG(0)
        for v, hits in enumerate(self._hits(scores, cuts)):
            found = self._builder.zext(self._builder.bitcast(hits, ir.IntType(self._tile.lanes)), _LONG)
            bits = self._builder.or_(bits, self._builder.shl(found, _LONG(v * self._tile.lanes)))
        return bits

    def _hits(self, scores: list[Any], cuts: list[Any]) -> list[Any]:
        return [self._builder.fcmp_ordered(">=", *pair) for pair in zip(scores, cuts, strict=True)]

    def counts(self, scores: Any, rows: Any, cuts: list[Any]) -> list[Any]:
        """For each lane how many scores of ``[rows, width]`` are at least its cut."""

        def count(row: Any, counts: list[Any]) -> list[Any]:
            hits = self._hits(self.panel_row(scores, row), cuts)
            pairs = zip(counts, hits, strict=True)
            return [self._builder.sub(n, self._builder.sext(hit, self._counts)) for n, hit in pairs]

        return self._loop(rows, [self._counts([0] * self._tile.lanes)] * self._tile.vectors, count)

    def _loop(self, count: Any, values: list[Any], step: Step) -> list[Any]:
        """Change the values by `step` so many times, at least once."""
        builder = self._builder
        start, loop, end = builder.block, *(builder.append_basic_block(name) for name in ("loop", "end"))
        builder.branch(loop)
        builder.position_at_end(loop)
        before = [_LONG(0), *values]
        at, *carried = [builder.phi(value.type) for value in before]
        after = [builder.add(at, _LONG(1)), *step(at, carried)]
        for phi, first, later in zip([at, *carried], before, after, strict=True):
            phi.add_incoming(first, start)
            phi.add_incoming(later, loop)
        self._keep_rolled(builder.cbranch(builder.icmp_signed("<", after[0], count), loop, end))
        builder.position_at_end(end)
        return after[1:]

    def _keep_rolled(self, branch: Any) -> None:
        """Forbid LLVM to unroll a loop: for Zen 3 it would, and move the sums from register to register."""
        hint = self._builder.module.add_metadata(["llvm.loop.unroll.disable"])
        loop = self._builder.module.add_metadata([hint])
        loop.operands = (loop, hint)  # what names a loop begins with itself
        branch.set_metadata("llvm.loop", loop)


@intrinsic
def products(_: Any, panel: Any, items: Any, cuts: Any, row: Any, scores: Any, lanes: Any) -> Lowering:
    """Multiply a panel of users by the items of the rows from `row` to ``row + ROWS``.

    Parameters
    ----------
    panel
        float32 ``[f, WIDTH]``, a user in each column.
    items
        float32 ``[rows, f]``.
    cuts
        float32 ``[WIDTH]``.
    scores
        float32 ``[rows, WIDTH]``, for the products, in the same rows.
    lanes
        int64 ``[rows]``, for what `reached` says of them.
    """

    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        panel, items, cuts, scores, lanes = _arrays(context, builder, signature, arguments)
        code, factors = Code(builder, TILE), builder.extract_value(items.shape, 1)
        rows = code.rows_from(arguments[3])
        starts = [code.row(items.data, row, factors) for row in rows]
        found, limits = code.products(panel.data, starts, factors), code.panel_row(cuts.data, _LONG(0))
        for row, of_row in zip(rows, found, strict=True):
            code.store_row(of_row, scores.data, row)
            builder.store(code.bits(of_row, limits), builder.gep(lanes.data, [row]))
        return context.get_dummy_value()

    return types.void(panel, items, cuts, row, scores, lanes), lower


@intrinsic
def reached(_: Any, scores: Any, row: Any, cuts: Any) -> Lowering:
    """Which of ``scores[row, lane]`` are at least ``cuts[lane]``: bit `lane` of an int64."""

    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        scores, cuts = _arrays(context, builder, signature, arguments)
        code = Code(builder, TILE)
        return code.bits(code.panel_row(scores.data, arguments[1]), code.panel_row(cuts.data, _LONG(0)))

    return types.int64(scores, row, cuts), lower


@intrinsic
def counts_reaching(_: Any, scores: Any, cuts: Any, counts: Any) -> Lowering:
    """Count for each lane how many of ``scores[:, lane]`` are at least ``cuts[lane]``.

    Parameters
    ----------
    scores
        float32 ``[rows, WIDTH]``, a row at least.
    cuts
        float32 ``[WIDTH]``.
    counts
        int32 ``[WIDTH]``, for the result.
    """

    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        scores, cuts, counts = _arrays(context, builder, signature, arguments)
        code, rows = Code(builder, TILE), builder.extract_value(scores.shape, 0)
        found = code.counts(scores.data, rows, code.panel_row(cuts.data, _LONG(0)))
        code.store_row(found, counts.data, _LONG(0))
        return context.get_dummy_value()

    return types.void(scores, cuts, counts), lower


def _arrays(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[Any]:
    return [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, arguments, strict=True)
        if isinstance(kind, types.Array)
    ]
