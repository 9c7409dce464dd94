# mypy: ignore-errors
"""Sixteen-lane SIMD values and raw memory for Numba.

All memory is reached through addresses (int64), so compiled code holds no array object, no reference count and
no allocation.  ``<16 x float>`` is legal LLVM IR on every target and always has the same lane order::

    lane      0 ........ 3 4 ........ 7 8 ....... 11 12 ...... 15
    AVX-512   [                     one zmm                      ]
    AVX2      [        ymm 0           ][         ymm 1          ]
    NEON      [   q0     ][    q1      ][     q2     ][   q3     ]

so sums over 16 lanes followed by a halving tree have the same bits everywhere.  LLVM never contracts or
reorders floating point on its own; no fast-math flag is set anywhere.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, models, register_model

I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
F32 = ir.FloatType()
LANES = 16
VECTOR_F32 = ir.VectorType(F32, LANES)
VECTOR_I32 = ir.VectorType(I32, LANES)
VECTOR_I8 = ir.VectorType(I8, LANES)


class _Vector(types.Type):
    """A Numba type that is one LLVM vector."""

    def __init__(self, name, llvm_type):
        """Remember the LLVM type; Numba tells types apart by ``name``."""
        self.llvm_type = llvm_type
        super().__init__(name=name)


f32x16 = _Vector("f32x16", VECTOR_F32)
i32x16 = _Vector("i32x16", VECTOR_I32)
f32x4 = _Vector("f32x4", ir.VectorType(F32, 4))
i16x64 = _Vector("i16x64", ir.VectorType(I16, 64))


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    """Vectors travel through Numba code as plain LLVM values."""

    def __init__(self, manager, numba_type):
        """Use the vector's own LLVM type."""
        super().__init__(manager, numba_type, numba_type.llvm_type)


def _operator(function, numba_type, method):
    """Give ``numba_type`` a Python operator that is one LLVM instruction."""

    class Template(ConcreteTemplate):
        cases = (signature(numba_type, numba_type, numba_type),)

    infer_global(function)(Template)
    lower_builtin(function, numba_type, numba_type)(lambda context, b, sig, args: getattr(b, method)(*args))


for _function, _method in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _operator(_function, f32x16, _method)
for _function, _method in ((operator.add, "add"), (operator.sub, "sub")):
    _operator(_function, i32x16, _method)
_operator(operator.add, i16x64, "add")


def _define(result, arguments, emit):
    """Make an intrinsic of type ``arguments -> result`` from ``emit(builder, *llvm_values)``."""
    kind = types.void if result is None else result

    def codegen(context, builder, sig, values):
        value = emit(builder, *values)
        return context.get_dummy_value() if result is None else value

    answer = kind(*arguments), codegen
    shapes = {
        0: lambda t: answer,
        1: lambda t, a: answer,
        2: lambda t, a, b: answer,
        3: lambda t, a, b, c: answer,
        4: lambda t, a, b, c, d: answer,
        5: lambda t, a, b, c, d, e: answer,
        7: lambda t, a, b, c, d, e, f, g: answer,
    }
    return intrinsic(shapes[len(arguments)])


# ---- small LLVM helpers -------------------------------------------------------------------------------------


def splat(builder, value, vector_type):
    """Broadcast a scalar to every lane."""
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(first, undefined, zeros)


def shuffle(builder, a, b, lanes):
    """Pick ``lanes`` out of the concatenation of ``a`` and ``b``."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def pointer(builder, address, llvm_type):
    """Turn an int64 address into a typed pointer."""
    return builder.inttoptr(address, llvm_type.as_pointer())


def _load(llvm_type, align):
    def emit(builder, address):
        value = builder.load(pointer(builder, address, llvm_type))
        value.align = align
        return value

    return emit


def _store(llvm_type, align):
    def emit(builder, address, value):
        builder.store(value, pointer(builder, address, llvm_type)).align = align

    return emit


def _maximum(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _larger_size(builder, a, b):
    """Numbers that are not negative are ordered like their bits, and every CPU has an integer maximum."""
    a, b = builder.bitcast(a, VECTOR_I32), builder.bitcast(b, VECTOR_I32)
    return builder.bitcast(builder.select(builder.icmp_signed(">", a, b), a, b), VECTOR_F32)


def _add(builder, a, b):
    return builder.fadd(a, b)


def _halve(builder, vector, combine):
    """Lanes 0..n/2-1 combined with lanes n/2..n-1, again and again, down to one lane."""
    count = LANES
    while count > 1:
        count //= 2
        low = shuffle(builder, vector, vector, range(count))
        high = shuffle(builder, vector, vector, range(count, 2 * count))
        vector = combine(builder, low, high)
    return builder.extract_element(vector, I32(0))


def _halve_four(builder, a, b, c, d, combine):
    r"""The halving trees of four vectors at once; every lane meets the same partners as in ``_halve``.

    ::

        a: a0 .. a15                 ab: [a0+a8 .. a7+a15 | b0+b8 .. b7+b15]
        b: b0 .. b15     16 -> 8     cd: [c0+c8 .. c7+c15 | d0+d8 .. d7+d15]
        c, d                  8 -> 4     [a a a a | b b b b | c c c c | d d d d]
                              4 -> 2     lanes 0,1 + lanes 2,3 of each quarter
                              2 -> 1     lane 0 + lane 1 of each quarter
    """
    low, high = list(range(8)), list(range(8, 16))

    def pair(x, y):
        return combine(
            builder,
            shuffle(builder, x, y, low + [16 + k for k in low]),
            shuffle(builder, x, y, high + [16 + k for k in high]),
        )

    ab, cd = pair(a, b), pair(c, d)
    first = [0, 1, 2, 3, 8, 9, 10, 11]
    quarters = combine(
        builder,
        shuffle(builder, ab, cd, first + [16 + k for k in first]),
        shuffle(builder, ab, cd, [k + 4 for k in first] + [20 + k for k in first]),
    )
    left = [0, 1, 4, 5, 8, 9, 12, 13]
    pairs = combine(
        builder,
        shuffle(builder, quarters, quarters, left),
        shuffle(builder, quarters, quarters, [k + 2 for k in left]),
    )
    return combine(builder, shuffle(builder, pairs, pairs, [0, 2, 4, 6]), shuffle(builder, pairs, pairs, [1, 3, 5, 7]))


def _sum_int(builder, vector):
    """LLVM's own reduction: it is what lets the code generator make a product and a sum one instruction (pmaddwd)."""
    function_type = ir.FunctionType(I32, [VECTOR_I32])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.vector.reduce.add.v16i32"), [vector])


def _largest_int(builder, *vectors):
    first, *others = vectors
    for other in others:
        first = builder.select(builder.icmp_signed(">", first, other), first, other)
    function_type = ir.FunctionType(I32, [VECTOR_I32])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.vector.reduce.smax.v16i32"), [first])


def _keep(builder, vector, count, other):
    """Lanes below ``count`` from ``vector``, the rest from ``other``."""
    lane = ir.Constant(VECTOR_I32, list(range(LANES)))
    limit = splat(builder, builder.trunc(count, I32), VECTOR_I32)
    return builder.select(builder.icmp_signed("<", lane, limit), vector, other)


def _prefetch(builder, address, locality):
    name = "llvm.prefetch.p0"
    function_type = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    builder.call(function, [pointer(builder, address, I8), I32(0), I32(locality), I32(1)])


_F, _A = types.float32, types.int64

# ---- memory -------------------------------------------------------------------------------------------------

load_f32 = _define(_F, (_A,), _load(F32, 4))
store_f32 = _define(None, (_A, _F), _store(F32, 4))
load_i32 = _define(_A, (_A,), lambda b, p: b.sext(_load(I32, 4)(b, p), I64))
store_i32 = _define(None, (_A, _A), lambda b, p, v: _store(I32, 4)(b, p, b.trunc(v, I32)))
load_i64 = _define(_A, (_A,), _load(I64, 8))
store_i64 = _define(None, (_A, _A), _store(I64, 8))
load_u8 = _define(_A, (_A,), lambda b, p: b.zext(_load(I8, 1)(b, p), I64))
store_u8 = _define(None, (_A, _A), lambda b, p, v: _store(I8, 1)(b, p, b.trunc(v, I8)))
load_word = _define(_A, (_A,), _load(I64, 1))
load = _define(f32x16, (_A,), _load(VECTOR_F32, 4))
store = _define(None, (_A, f32x16), _store(VECTOR_F32, 4))
store4 = _define(None, (_A, f32x4), _store(ir.VectorType(F32, 4), 4))
load_int = _define(i32x16, (_A,), _load(VECTOR_I32, 4))
store_int = _define(None, (_A, i32x16), _store(VECTOR_I32, 4))
load_bytes = _define(i32x16, (_A,), lambda b, p: b.sext(_load(VECTOR_I8, 1)(b, p), VECTOR_I32))
store_bytes = _define(None, (_A, i32x16), lambda b, p, v: _store(VECTOR_I8, 1)(b, p, b.trunc(v, VECTOR_I8)))
load_bytes64 = _define(i16x64, (_A,), lambda b, p: b.sext(_load(ir.VectorType(I8, 64), 1)(b, p), i16x64.llvm_type))
prefetch = _define(None, (_A,), lambda b, p: _prefetch(b, p, 3))

# ---- values -------------------------------------------------------------------------------------------------

broadcast = _define(f32x16, (_F,), lambda b, x: splat(b, x, VECTOR_F32))
zeros64 = _define(i16x64, (), lambda b: ir.Constant(i16x64.llvm_type, [0] * 64))
quarter64 = _define(
    i32x16,
    (i16x64, _A),
    lambda b, v, q: b.sext(
        b.select(
            b.icmp_signed("<", q, I64(2)),
            b.select(b.icmp_signed("==", q, I64(0)), shuffle(b, v, v, range(16)), shuffle(b, v, v, range(16, 32))),
            b.select(b.icmp_signed("==", q, I64(2)), shuffle(b, v, v, range(32, 48)), shuffle(b, v, v, range(48, 64))),
        ),
        VECTOR_I32,
    ),
)
zeros_int = _define(i32x16, (), lambda b: ir.Constant(VECTOR_I32, [0] * LANES))
multiply_int = _define(i32x16, (i32x16, i32x16), lambda b, x, y: b.mul(x, y))
to_float = _define(f32x16, (i32x16,), lambda b, v: b.sitofp(v, VECTOR_F32))
float_bits = _define(i32x16, (f32x16,), lambda b, v: b.bitcast(v, VECTOR_I32))
from_bits = _define(f32x16, (i32x16,), lambda b, v: b.bitcast(v, VECTOR_F32))
bits_to_f32 = _define(_F, (_A,), lambda b, v: b.bitcast(b.trunc(v, I32), F32))
shift_left_23 = _define(i32x16, (i32x16,), lambda b, v: b.shl(v, ir.Constant(VECTOR_I32, [23] * LANES)))
absolute = _define(
    f32x16,
    (f32x16,),
    lambda b, v: b.bitcast(b.and_(b.bitcast(v, VECTOR_I32), ir.Constant(VECTOR_I32, [0x7FFFFFFF] * LANES)), VECTOR_F32),
)
maximum = _define(f32x16, (f32x16, f32x16), _maximum)
larger_size = _define(f32x16, (f32x16, f32x16), _larger_size)
minimum = _define(f32x16, (f32x16, f32x16), lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y))
keep_lanes = _define(f32x16, (f32x16, _A, f32x16), _keep)

# ---- across lanes -------------------------------------------------------------------------------------------

sum_lanes = _define(_F, (f32x16,), lambda b, v: _halve(b, v, _add))
max_lanes = _define(_F, (f32x16,), lambda b, v: _halve(b, v, _maximum))
sum_four = _define(f32x4, (f32x16,) * 4, lambda b, w, x, y, z: _halve_four(b, w, x, y, z, _add))
broadcast_int = _define(i32x16, (_A,), lambda b, x: splat(b, b.trunc(x, I32), VECTOR_I32))
largest_int = _define(_A, (i32x16,) * 4, lambda b, *v: b.sext(_largest_int(b, *v), I64))
sum_int = _define(_A, (i32x16,), lambda b, v: b.sext(_sum_int(b, v), I64))
max_four = _define(f32x4, (f32x16,) * 4, lambda b, w, x, y, z: _halve_four(b, w, x, y, z, _maximum))


def _lane(number):
    return lambda b, v: b.extract_element(v, I32(number))


lane0, lane1, lane2, lane3 = (_define(_F, (f32x4,), _lane(k)) for k in range(4))


# ---- the micro-kernel of the CPU level, linked in by ``compiler`` -------------------------------------------


def _external(name, result, count):
    def emit(builder, *values):
        function_type = ir.FunctionType(result, [I64] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), values)

    return emit


tile_product = _define(None, (_A,) * 7, _external("demist_tile_product", ir.VoidType(), 7))
tile_begin = _define(None, (_A,), _external("demist_tile_begin", ir.VoidType(), 1))
tile_end = _define(None, (), _external("demist_tile_end", ir.VoidType(), 0))
tile_rows = _define(_A, (), _external("demist_tile_rows", I64, 0))
activation_offset = _define(_A, (), _external("demist_activation_offset", I64, 0))
activation_bytes = _define(_A, (), _external("demist_activation_bytes", I64, 0))
activation_ready = _define(None, (_A, _A), _external("demist_activation_ready", ir.VoidType(), 2))
side_by_side = _define(_A, (), _external("demist_side_by_side", I64, 0))
adapter_rows = _define(_A, (), _external("demist_adapter_rows", I64, 0))
