"""Arrays that lie at one end of what this process may touch."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable

import numpy as np
import pytest

Placed = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(params=["behind a forbidden page", "before a forbidden page"])
def placed(request: pytest.FixtureRequest) -> Placed:
    """What copies an array to such a place: a loop that reads or writes a byte beside it would end the process."""
    page, is_before = mmap.PAGESIZE, request.param.startswith("before")
    forbid = ctypes.CDLL(None).mprotect
    forbid.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def place(array: np.ndarray) -> np.ndarray:
        pages = -(-array.nbytes // page) or 1
        memory = np.frombuffer(mmap.mmap(-1, (pages + 2) * page), np.uint8)
        start = (pages + 1) * page - array.nbytes if is_before else page
        found = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        found[...] = array
        for beside in (memory.ctypes.data, memory.ctypes.data + (pages + 1) * page):
            assert forbid(beside, page, 0) == 0  # until the array is freed, and its pages with it
        return found

    return place
