"""The sum of two blobs with the ReLU behind it, and the gradient that comes back through both."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.kernels.kernel import floats_at, kernel, next_part
from caffe_compat.kernels.vectors import LANES, larger, load, spread, store, where_at_most


@kernel
def rectified_sum(q: Any) -> None:
    """max(first + second, 0), NaN where that is NaN. Words: first, second, their size (whole vectors), the top."""
    first, second, vectors, top = floats_at(q[2]), floats_at(q[3]), q[4] // LANES, floats_at(q[5])
    zero, parts, part = spread(np.float32(0)), q[1], next_part(q)
    while part < parts:
        for at in range(part * vectors // parts * LANES, (part + 1) * vectors // parts * LANES, LANES):
            store(top, at, larger(zero, load(first, at) + load(second, at)))
        part = next_part(q)


@kernel
def masked_gradient(q: Any) -> None:
    """The gradient, plus another part of it where there is one, and 0 where the top is 0; in its own memory.

    Words: gradient, its size (whole vectors), the top, the other part or 0.
    """
    gradient, vectors, top, other = floats_at(q[2]), q[3] // LANES, floats_at(q[4]), floats_at(q[5])
    zero, parts, part = spread(np.float32(0)), q[1], next_part(q)
    while part < parts:
        for at in range(part * vectors // parts * LANES, (part + 1) * vectors // parts * LANES, LANES):
            values = load(gradient, at)
            if q[5]:
                values = values + load(other, at)
            store(gradient, at, where_at_most(load(top, at), zero, zero, values))
        part = next_part(q)
