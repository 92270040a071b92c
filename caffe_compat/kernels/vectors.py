"""Sixteen floats as one value in a loop, which the compiler keeps in registers; processors with less do it in parts.

`load(pointer, index)` and `store(pointer, index, vector)` move them, `spread(number)` makes one, and + - * / work on
them lane by lane, each with one rounding.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
_FLOATS, _BYTES = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(8), LANES)
_NUMBER = ir.IntType(32)


class Vector(types.Type):  # type: ignore[misc]
    """The type of such a value."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{LANES}")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, _FLOATS)


vector = Vector()


def _operation(function: Any, instruction: str) -> None:
    class _OfVectors(AbstractTemplate):  # type: ignore[misc]
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            return signature(vector, *args) if args == (vector, vector) else None

    infer_global(function)(_OfVectors)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)

    lower_builtin(function, vector, vector)(lower)


for _function, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _operation(_function, _instruction)


def _address(builder: Any, pointer: Any, index: Any, of: Any = _FLOATS) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), of.as_pointer())


@intrinsic
def load(typing_context: Any, pointer: Any, index: Any) -> Any:
    """The sixteen values from pointer[index] on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_address(builder, *args), align=4)

    return vector(pointer, types.int64), generate


@intrinsic
def store(typing_context: Any, pointer: Any, index: Any, values: Any) -> Any:
    """Puts sixteen values from pointer[index] on."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _address(builder, *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), generate


@intrinsic
def store_past_caches(typing_context: Any, pointer: Any, index: Any, values: Any) -> Any:
    """`store` at a multiple of 64 bytes: what was there is not read, what is written stays in no cache.

    Others see it after `settle`.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        stored = builder.store(args[2], _address(builder, *args[:2]), align=4 * LANES)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), generate


@intrinsic
def settle(typing_context: Any) -> Any:
    """Let other threads see all that was stored."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def everywhere(builder: Any, value: Any) -> Any:
    """For intrinsics: a vector whose every lane is `value`."""
    lanes = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(_NUMBER, 0))
    places = ir.Constant(ir.VectorType(_NUMBER, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(lanes, ir.Undefined), places)


def lanes_where(builder: Any, comparison: str, number: Any) -> Any:
    """For intrinsics: a mask of the lanes whose number compares so with `number`."""
    numbers = ir.VectorType(_NUMBER, LANES)
    lanes = ir.Constant(numbers, [ir.Constant(_NUMBER, lane) for lane in range(LANES)])
    return builder.icmp_signed(comparison, lanes, everywhere(builder, builder.trunc(number, _NUMBER)))


def fetch(builder: Any, address: Any, near: int = 3, writes: bool = False) -> None:
    """For intrinsics: have the line at `address` brought into a cache, 3 being the nearest; it need not be there."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _NUMBER, _NUMBER, _NUMBER])
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    how = [ir.Constant(_NUMBER, flag) for flag in (int(writes), near, 1)]  # 1: data, not instructions
    builder.call(call, [builder.inttoptr(address, pointer), *how])


@intrinsic
def spread(typing_context: Any, value: Any) -> Any:
    """A number, rounded to float32, in every lane."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return everywhere(builder, args[0])

    return vector(types.float32), generate


@intrinsic
def multiply_add(typing_context: Any, first: Any, second: Any, third: Any) -> Any:
    """first second + third, rounded once where the processor does so."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        of = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, of, "llvm.fmuladd.v16f32"), args)

    return vector(vector, vector, vector), generate


@intrinsic
def total(typing_context: Any, values: Any) -> Any:
    """The sum of all lanes, halves added to halves."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        of = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _FLOATS])
        add = cgutils.get_or_insert_function(builder.module, of, "llvm.vector.reduce.fadd.v16f32")
        return builder.call(add, [ir.Constant(ir.FloatType(), -0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


@intrinsic
def larger(typing_context: Any, first: Any, second: Any) -> Any:
    """first where first > second, elsewhere second: second too where either is NaN."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return vector(vector, vector), generate


def _choice(comparison: str) -> Any:
    @intrinsic
    def where(typing_context: Any, first: Any, second: Any, yes: Any, no: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(comparison, *args[:2]), *args[2:])

        return vector(vector, vector, vector, vector), generate

    return where


# (first, second, yes, no): lanes of yes where first > second or first <= second, else of no, as where one is NaN
where_more, where_at_most = _choice(">"), _choice("<=")


@intrinsic
def square_root(typing_context: Any, values: Any) -> Any:
    """The square root of each."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        of = ir.FunctionType(_FLOATS, [_FLOATS])
        return builder.call(cgutils.get_or_insert_function(builder.module, of, "llvm.sqrt.v16f32"), args)

    return vector(vector), generate


@intrinsic
def load_between(typing_context: Any, pointer: Any, index: Any, first: Any, last: Any) -> Any:
    """As `load`, with zeros in the lanes before `first` and from `last` on, which are not read."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        inside = builder.and_(lanes_where(builder, ">=", args[2]), lanes_where(builder, "<", args[3]))
        of = ir.FunctionType(_FLOATS, [_FLOATS.as_pointer(), _NUMBER, inside.type, _FLOATS])
        read = cgutils.get_or_insert_function(builder.module, of, "llvm.masked.load.v16f32.p0")
        zeros = ir.Constant(_FLOATS, [0.0] * LANES)
        return builder.call(read, [_address(builder, *args[:2]), ir.Constant(_NUMBER, 4), inside, zeros])

    return vector(pointer, types.int64, types.int64, types.int64), generate


@intrinsic
def store_from(typing_context: Any, pointer: Any, index: Any, values: Any, first: Any) -> Any:
    """As `store`, but nothing for the lanes before `first`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        inside = lanes_where(builder, ">=", args[3])
        of = ir.FunctionType(ir.VoidType(), [_FLOATS, _FLOATS.as_pointer(), _NUMBER, inside.type])
        write = cgutils.get_or_insert_function(builder.module, of, "llvm.masked.store.v16f32.p0")
        builder.call(write, [args[2], _address(builder, *args[:2]), ir.Constant(_NUMBER, 4), inside])
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector, types.int64), generate


@intrinsic
def where_bytes(typing_context: Any, pointer: Any, index: Any, number: Any, yes: Any, no: Any) -> Any:
    """Lanes of yes where the byte of the sixteen from pointer[index] on is `number`, else of no."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = builder.load(_address(builder, args[0], args[1], _BYTES), align=1)
        wanted = everywhere(builder, builder.trunc(args[2], ir.IntType(8)))
        return builder.select(builder.icmp_unsigned("==", found, wanted), *args[3:])

    return vector(pointer, types.int64, types.int64, vector, vector), generate


@intrinsic
def store_bytes(typing_context: Any, pointer: Any, index: Any, values: Any) -> Any:
    """Puts sixteen numbers from 0 to 255 as bytes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        small = builder.trunc(builder.fptoui(args[2], ir.VectorType(_NUMBER, LANES)), _BYTES)
        builder.store(small, _address(builder, args[0], args[1], _BYTES), align=1)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), generate
