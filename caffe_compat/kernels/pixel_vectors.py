"""Sixteen pixels of a stored image, uint8, at a time; addresses are numbers, and may be any.

LLVM makes no good vectors of its own of rows that are short, turned or in planes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from caffe_compat.kernels.vectors import LANES, fetch, vector

COLOUR = 3  # channels of pixels in colour
_INT = ir.IntType(32)
_BYTES = ir.VectorType(ir.IntType(8), LANES)


def _read(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _write(builder: Any, address: Any, vector: Any) -> None:
    builder.store(vector, builder.inttoptr(address, vector.type.as_pointer()), align=1)


def _shuffled(builder: Any, first: Any, second: Any, lanes: list[int]) -> Any:
    """Lanes of the first vector, and of the second (None: no matter what) beyond its length."""
    second = ir.Constant(first.type, ir.Undefined) if second is None else second
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_INT, len(lanes)), lanes))


@intrinsic
def as_floats(typing_context: Any, pixels: Any) -> Any:
    """The sixteen values at this address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.uitofp(_read(builder, arguments[0], _BYTES), ir.VectorType(ir.FloatType(), LANES))

    return vector(types.int64), generate


def _turning(channels: int) -> Any:
    @intrinsic
    def _turn(typing_context: Any, target: Any, pixels: Any) -> Any:
        """Sixteen pixels whose channels are together, the last one first."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = [channels * pixel + channel for pixel in reversed(range(LANES)) for channel in range(channels)]
            pixels = _read(builder, arguments[1], ir.VectorType(ir.IntType(8), len(lanes)))
            _write(builder, arguments[0], _shuffled(builder, pixels, None, lanes))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return _turn


turn, turn_grey = _turning(COLOUR), _turning(1)


def _merging(turned: bool) -> Any:
    @intrinsic
    def _merge(typing_context: Any, target: Any, plane: Any, step: Any) -> Any:
        """Sixteen pixels of three planes, each `step` bytes from the one before, into pixels of three channels."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target, first, step = arguments
            second = builder.add(first, step)
            planes = [_read(builder, place, _BYTES) for place in (first, second, builder.add(second, step))]
            both = _shuffled(builder, planes[0], planes[1], [*range(2 * LANES)])
            last = _shuffled(builder, planes[2], None, [*range(2 * LANES)])
            pixels = reversed(range(LANES)) if turned else range(LANES)
            lanes = [channel * LANES + pixel for pixel in pixels for channel in range(COLOUR)]
            _write(builder, target, _shuffled(builder, both, last, lanes))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return _merge


merge, merge_turned = _merging(False), _merging(True)


def _asking(writing: bool) -> Any:
    @intrinsic
    def _ask(typing_context: Any, address: Any) -> Any:
        """Have the line of memory at `address` brought into a cache; it need not be there."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            fetch(builder, arguments[0], 3 if writing else 2, writing)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return _ask


ask_for, ask_to_write = _asking(False), _asking(True)


def room(size: int) -> Any:
    """What gives a loop the address of so many bytes on its stack, whatever they hold."""

    @intrinsic
    def _place(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            with builder.goto_entry_block():  # cgutils.alloca_once fills it, one instruction for every few bytes
                place = builder.alloca(ir.ArrayType(ir.IntType(8), size))
            return builder.ptrtoint(place, ir.IntType(64))

        return types.int64(), generate

    return _place
