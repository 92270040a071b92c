"""Loops that follow one another, run in one call."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from caffe_compat.kernels.kernel import Call, kernel, next_part, put_down, team, words_at

__all__ = ["Following", "put_down", "team"]
_BYTES, _INT = ir.IntType(8).as_pointer(), ir.IntType(32)


@intrinsic
def _do(typing_context: Any, address: Any, words: Any) -> Any:
    """Call the loop at `address` with its words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loop = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), [_BYTES]).as_pointer())
        builder.call(loop, [builder.inttoptr(arguments[1], _BYTES)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _do_together(typing_context: Any, openmp: Any, address: Any, words: Any, threads: Any) -> Any:
    """Have GOMP_parallel, which lies at `openmp`, call the loop on so many threads."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        openmp, address, words, threads = arguments
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, _INT, _INT])
        given = [builder.inttoptr(address, _BYTES), builder.inttoptr(words, _BYTES), builder.trunc(threads, _INT)]
        builder.call(builder.inttoptr(openmp, kind.as_pointer()), [*given, ir.Constant(_INT, 0)])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@kernel
def _follow(q: Any) -> None:
    """Words: calls, three words each (loop, its words, threads); how many they are; GOMP_parallel, or 0."""
    calls, part = words_at(q[2]), next_part(q)
    while part < q[1]:
        for call in range(q[3]):
            loop, words, threads = calls[3 * call], calls[3 * call + 1], calls[3 * call + 2]
            words_at(words)[0] = 0
            if threads > 1:
                _do_together(q[4], loop, words, threads)
            else:
                _do(loop, words)
        part = next_part(q)


class Following:
    """What `put_down` has put down, one after the other, as often as it is called; not by two threads at once.

    The words of its calls may be changed in between; what they are the addresses of must live as long as this.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self._table = array("q")
        for loop, words, threads in calls:
            self._table.extend((loop.address, words.buffer_info()[0], threads))
        together: Any = team()
        openmp = 0 if together is None else ctypes.cast(together, ctypes.c_void_p).value
        if not openmp and any(threads > 1 for _, _, threads in calls):
            raise ValueError("loops of several threads follow one another only where torch has a team of GNU's OpenMP")
        self._openmp = openmp or 0

    def __call__(self) -> None:
        _follow.run(array("q", (0, 1, self._table.buffer_info()[0], len(self.calls), self._openmp)), 1)
