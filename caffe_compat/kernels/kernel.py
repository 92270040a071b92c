"""What a compiled loop is, and how it runs on the threads that torch has.

A loop is a function of one argument, the address of its arguments: 64-bit words, of which `floats`, `bytes_`, `words`
and `number` make arrays and numbers again. Its work falls into parts, which the threads take one after the other with
`next_part`; no result may depend on who takes which. torch's own team of threads does the work where torch uses GNU's
OpenMP (Linux): a second team would fight it for the same cores. Elsewhere threads of Python do, for the loops hold no
lock of the interpreter.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import struct
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

_log = logging.getLogger(__name__)


def _stamp(folder: Path) -> str:
    """Names what all modules there say: a loop's machine code has parts of others, at which Numba does not look.

    There are none in an archive, or where compiled files are all there is.
    """
    modules = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()[:12]


def _forget_stale(folder: Path, stamp: str) -> None:
    """Remove machine code that was made of other modules."""
    for path in (folder / "__pycache__").glob("*.nb[ic]"):
        if stamp not in path.name:
            with suppress(OSError):  # gone, or not ours to remove
                path.unlink()


_STAMP = _stamp(Path(__file__).parent)
_forget_stale(Path(__file__).parent, _STAMP)
COMPILED = {"nogil": True, "error_model": "numpy"}  # of functions that a loop calls; kept as a part of it
_LEAST = 1 << 14  # values that a second thread of a team is woken for
_LEAST_ALONE = 1 << 18  # and a second thread of Python
_PARTS = 4  # for each thread, so that one that comes late leaves the others work
_WORDS = types.CPointer(types.int64)
_made: list[Any] = []  # machine code, kept for as long as the process lives
_NUMBER, _INTEGER = struct.Struct("d"), struct.Struct("q")


class Kernel:
    """A loop that Python can call with a size of work, and arrays, tensors and numbers in the order of its words.

    It is compiled, or taken from the cache of an earlier process, when it is first called.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        function.__qualname__ += f"-{_STAMP}"  # Numba names the files of its cache after it

    @functools.cached_property
    def _compiled(self) -> Any:
        try:
            made = self._compile(cache=True)
        except Exception as error:  # of what Numba reads and writes: a damaged file, one of another user, a full disk
            made = self._compile(cache=False)
            if not isinstance(error, OSError):
                with suppress(Exception):  # no folder, perhaps
                    FunctionCache(self.function).flush()  # so that the next process does not stumble over it
            _tell_once(f"{type(error).__name__}: {error}")
        _made.append(made)  # two threads may be here at once, and the address of either be used
        return made

    def _compile(self, cache: bool) -> Any:
        return numba.cfunc(types.void(_WORDS), nopython=True, cache=cache, error_model="numpy")(self.function)

    @functools.cached_property
    def address(self) -> int:
        """Of the machine code, which lives as long as this."""
        return int(self._compiled.address)

    @functools.cached_property
    def _call(self) -> Callable[[int], None]:
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)

    def __call__(self, work: int, *arguments: Any, threads: int | None = None) -> None:
        """`work` is about how many values are computed; `threads` is torch's number of them unless it is given.

        Arrays (of numpy or of the module array) and tensors must be contiguous in the order that the loop expects, and
        stay alive; nothing is checked.
        """
        openmp = team()
        if threads is None:
            threads = _threads() if work >= 2 * (_LEAST if openmp else _LEAST_ALONE) else 1
        own = [each if type(each) is int else _word(each) for each in arguments]
        self.run(array("q", [0, self.parts(threads), *own]), threads)

    @staticmethod
    def parts(threads: int) -> int:
        """Into how many parts work falls for so many threads."""
        return threads * _PARTS if threads > 1 else 1

    def run(self, words: array[int], threads: int) -> None:
        """The same for the words themselves: 0, `parts(threads)`, and the arguments; the first is changed."""
        if (calls := getattr(_put_down, "calls", None)) is not None:
            calls.append((self, words, threads))
            return
        (address, _), openmp = words.buffer_info(), team()
        if threads == 1:
            self._call(address)
        elif openmp is not None:
            openmp(self.address, address, threads, 0)
        else:
            list(_pool(threads, os.getpid()).map(self._call, [address] * threads))


@functools.cache
def _tell_once(reason: str) -> None:
    _log.info(
        "machine code of loops cannot be kept, so that each process makes it anew, for seconds: %s; "
        "NUMBA_CACHE_DIR names a folder for it",
        reason,
    )


_put_down = threading.local()
Call = tuple[Kernel, "array[int]", int]  # a loop, its words, and how many threads do it


@contextmanager
def put_down() -> Iterator[list[Call]]:
    """Within this block loops that this thread calls do not run, but are put down in the list."""
    calls: list[Call] = []
    _put_down.calls = calls
    try:
        yield calls
    finally:
        _put_down.calls = None


def kernel(function: Callable[..., None]) -> Kernel:
    """Decorator: make the function a loop."""
    return Kernel(function)


def most_parts() -> int:
    """Parts that a loop may have now, for memory of their own."""
    return _threads() * _PARTS


def _word(argument: Any) -> int:
    if isinstance(argument, (float, np.floating)):
        bits: int = _INTEGER.unpack(_NUMBER.pack(argument))[0]
        return bits
    if isinstance(argument, np.ndarray):
        return argument.ctypes.data
    if isinstance(argument, array):
        return argument.buffer_info()[0]
    address = getattr(argument, "data_ptr", None)
    return int(argument if address is None else address())


def _threads() -> int:
    torch = sys.modules.get("torch")
    return 1 if torch is None else int(torch.get_num_threads())


def team() -> Callable[[int, int, int, int], None] | None:
    """GOMP_parallel(function, data, threads, flags) of the OpenMP that torch brings; None where it has another."""
    torch = sys.modules.get("torch")
    return None if torch is None else _team_of(torch)  # loops of data may run before torch is loaded


@functools.cache
def _team_of(torch: ModuleType) -> Callable[[int, int, int, int], None] | None:
    folder = Path(str(torch.__file__)).parent
    found = [*folder.glob("lib/libgomp*.so*"), *folder.parent.glob("torch.libs/libgomp*.so*")]
    if len(found) != 1:
        return None
    run = ctypes.CDLL(str(found[0])).GOMP_parallel
    run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    call: Callable[[int, int, int, int], None] = run
    return call


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of Python; of their own for each process, for a fork has none of those of its parent."""
    return ThreadPoolExecutor(threads, thread_name_prefix="loops")


def _pointer_to(kind: Any) -> Any:
    @intrinsic
    def pointer(typing_context: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    return pointer


floats_at = _pointer_to(types.float32)
bytes_at = _pointer_to(types.uint8)
doubles_at = _pointer_to(types.float64)
words_at = _pointer_to(types.int64)


@intrinsic
def number(typing_context: Any, word: Any) -> Any:
    """The float64 that a word holds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@intrinsic
def fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c of one type, rounded once where the processor does so, as torch's own loops then do."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        function = builder.module.declare_intrinsic("llvm.fmuladd", (kind,), ir.FunctionType(kind, (kind,) * 3))
        return builder.call(function, arguments)

    return a(a, a, a), generate


@intrinsic
def next_part(typing_context: Any, words: Any) -> Any:
    """The part to do next; there is none where it is words[1] or more."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", arguments[0], one, "monotonic")

    return types.int64(_WORDS), generate
