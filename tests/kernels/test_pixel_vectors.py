"""What loops of pixels are made of."""

from __future__ import annotations

import pytest

numba = pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels.pixel_vectors import room  # noqa: E402


def test_much_room_takes_no_more_instructions_than_little():
    def length(size):
        place = room(size)
        compiled = numba.njit(lambda: place())
        compiled()
        (machine_code,) = compiled.inspect_asm().values()
        return machine_code.count("\n")

    assert length(1 << 14) <= length(64) + 20  # the stack's pages are touched one by one
