"""Vector instructions that numba does not write by itself, as LLVM code for its functions.

LLVM turns the vectors into those of the processor. Their shape is chosen so that the sums of one
`products` stay in its registers.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending, types
from numba.cpython.unsafe import numbers

Lowering: TypeAlias = tuple[Any, Callable[..., Any]]

intrinsic: Callable[[Callable[..., Any]], Any] = extending.intrinsic
trailing_zeros: Any = numbers.trailing_zeros


def _has_avx512() -> bool:
    try:
        return bool(llvm.get_host_cpu_features().get("avx512f"))
    except RuntimeError:  # LLVM cannot tell on this platform
        return False


# 24 sums of 16 floats leave 8 of the 32 registers of AVX-512 to the factors,
# 12 of 8 floats leave 4 of the 16 of AVX2.
LANES, ROWS = (16, 8) if _has_avx512() else (8, 4)
VECTORS = 3
WIDTH = LANES * VECTORS

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZEROS = ir.Constant(_VECTOR, [0.0] * LANES)


@intrinsic
def products(_: Any, panel: Any, items: Any, codes: Any, at: Any, out: Any, row: Any) -> Lowering:
    """Multiply a panel of users by the items ``codes[at : at + ROWS]``.

    Parameters
    ----------
    panel
        float32 ``[f, WIDTH]``, a user in each column.
    items
        float32 ``[items, f]``.
    codes
        int32: the codes of items, in the order in which users meet them.
    out, row
        float32 ``[rows, WIDTH]``, for the products, from this row on.
    """

    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        users, items, codes, out = _arrays(context, builder, signature, arguments)
        factors = builder.extract_value(items.shape, 1)
        rows = [_row(builder, items.data, codes.data, arguments[3], r, factors) for r in range(ROWS)]
        sums = _sums(builder, users.data, rows, factors)
        to = builder.gep(out.data, [builder.mul(arguments[5], _LONG(WIDTH))])
        for at, total in enumerate(sums):
            builder.store(total, _vector(builder, to, _LONG(at * LANES)), align=4)
        return context.get_dummy_value()

    return types.void(panel, items, codes, at, out, row), lower


def _arrays(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[Any]:
    return [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, arguments, strict=True)
        if isinstance(kind, types.Array)
    ]


def _row(builder: ir.IRBuilder, items: Any, codes: Any, at: Any, r: int, factors: Any) -> Any:
    code = builder.load(builder.gep(codes, [builder.add(at, _LONG(r))]))
    return builder.gep(items, [builder.mul(builder.sext(code, _LONG), factors)])


def _sums(builder: ir.IRBuilder, users: Any, rows: list[Any], factors: Any) -> list[Any]:
    """The loop over the factors, which multiplies every row's factor by every vector of users."""
    start, loop, end = builder.block, builder.append_basic_block("factor"), builder.append_basic_block("end")
    builder.branch(loop)
    builder.position_at_end(loop)
    factor = builder.phi(_LONG)
    sums = [builder.phi(_VECTOR) for _ in range(ROWS * VECTORS)]
    column = builder.gep(users, [builder.mul(factor, _LONG(WIDTH))])
    parts = [_load(builder, column, _LONG(v * LANES)) for v in range(VECTORS)]
    weights = [_everywhere(builder, builder.load(builder.gep(row, [factor]))) for row in rows]
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = builder.module.declare_intrinsic(f"llvm.fmuladd.v{LANES}f32", (), kind)
    following = [
        builder.call(multiply_add, [weight, part, sums[r * VECTORS + v]])
        for r, weight in enumerate(weights)
        for v, part in enumerate(parts)
    ]
    next_factor = builder.add(factor, _LONG(1))
    for phi, zero, later in zip(
        [factor, *sums], [_LONG(0)] + [_ZEROS] * len(sums), [next_factor, *following], strict=True
    ):
        phi.add_incoming(zero, start)
        phi.add_incoming(later, loop)
    builder.cbranch(builder.icmp_signed("<", next_factor, factors), loop, end)
    builder.position_at_end(end)
    return following


@intrinsic
def reached(_: Any, scores: Any, row: Any, cuts: Any) -> Lowering:
    """Which of ``scores[row, lane]`` are at least ``cuts[lane]``: bit `lane` of an int64."""

    def lower(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        scores, cuts = _arrays(context, builder, signature, arguments)
        row_scores = builder.gep(scores.data, [builder.mul(arguments[1], _LONG(WIDTH))])
        mask: Any = _LONG(0)
        for lane in range(0, WIDTH, LANES):
            score, cut = (_load(builder, base, _LONG(lane)) for base in (row_scores, cuts.data))
            bits = builder.bitcast(builder.fcmp_ordered(">=", score, cut), ir.IntType(LANES))
            mask = builder.or_(mask, builder.shl(builder.zext(bits, _LONG), _LONG(lane)))
        return mask

    return types.int64(scores, row, cuts), lower


def _load(builder: ir.IRBuilder, base: Any, at: Any) -> Any:
    return builder.load(_vector(builder, base, at), align=4)


def _vector(builder: ir.IRBuilder, base: Any, at: Any) -> Any:
    return builder.bitcast(builder.gep(base, [at]), _VECTOR.as_pointer())


def _everywhere(builder: ir.IRBuilder, value: Any) -> Any:
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, _INT(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))
