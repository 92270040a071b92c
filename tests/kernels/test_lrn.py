"""The loops of LRN alone, against sums over each value's neighbours in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.kernels.switch import needs_loops

pytestmark = needs_loops

SHAPES = [(2, 3, 2, 17), (1, 1, 5, 32), (1, 4, 4, 16)]  # batch, height, width, channels
ALPHA, BETA = 0.3, 0.75
Index = tuple[int, ...]


def values(shape: Index, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def neighbours(shape: Index, at: Index, half: int, within: bool) -> Iterator[Index]:
    for step in np.ndindex(*((2 * half + 1,) * (2 if within else 1))):
        near = list(at)
        for axis, one in zip((1, 2) if within else (3,), step, strict=True):
            near[axis] += one - half
        if all(0 <= place < size for place, size in zip(near, shape, strict=True)):
            yield tuple(near)


def plain(x: np.ndarray, dy: np.ndarray, half: int, k: float, within: bool) -> tuple[np.ndarray, np.ndarray]:
    """x s^-b, and dy s^-b - 2 b share x sum(dy x s^(-b - 1)), with s = k + share sum(x^2)."""
    x, dy, share = x.astype(float), dy.astype(float), ALPHA / (2 * half + 1) ** (2 if within else 1)
    near = {at: list(neighbours(x.shape, at, half, within)) for at in np.ndindex(*x.shape)}
    s, below = np.empty_like(x), np.empty_like(x)
    for at, others in near.items():
        s[at] = k + share * sum(x[other] ** 2 for other in others)
    for at, others in near.items():
        spread = sum(dy[other] * x[other] * s[other] ** (-BETA - 1) for other in others)
        below[at] = dy[at] * s[at] ** -BETA - 2 * BETA * share * x[at] * spread
    return x * s**-BETA, below


@pytest.mark.parametrize("number, half, threads", [(0, 2, 1), (0, 16, 2), (1, 0, 2), (1, 1, 1), (2, 15, 1)])
def test_across_channels(number, half, threads, placed):
    from caffe_compat.kernels import lrn

    shape = SHAPES[number]
    pixels, channels = int(np.prod(shape[:3])), shape[3]
    x, dy = values(shape), values(shape, 1)
    bottom, above, top, below = map(placed, (x, dy, np.zeros_like(x), np.full_like(x, np.nan)))
    words = pixels, channels, half, ALPHA / (2 * half + 1), 1.5
    lrn.across(1, bottom, top, *words, channels, threads=threads)
    memory = placed(np.zeros((lrn.across.parts(threads), channels), np.float32))
    lrn.across_back(1, bottom, above, below, memory, *words, threads=threads)
    wanted, gradient = plain(x, dy, half, 1.5, within=False)
    np.testing.assert_allclose(top, wanted, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(below, gradient, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("number, half, threads", [(0, 1, 1), (0, 2, 2), (1, 4, 2), (1, 1, 1), (2, 0, 2), (2, 1, 1)])
def test_within_a_channel(number, half, threads, placed):
    from caffe_compat.kernels import lrn

    shape = SHAPES[number]
    x, dy = values(shape), values(shape, 1)
    bottom, above, top, below = map(placed, (x, dy, np.zeros_like(x), np.full_like(x, np.nan)))
    words = *shape, half, ALPHA / (2 * half + 1) ** 2
    lrn.within(1, bottom, top, *words, threads=threads)
    memory = placed(np.zeros((lrn.within.parts(threads), *shape[1:]), np.float32))
    lrn.within_back(1, bottom, above, below, memory, *words, threads=threads)
    wanted, gradient = plain(x, dy, half, 1.0, within=True)
    np.testing.assert_allclose(top, wanted, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(below, gradient, rtol=1e-5, atol=2e-6)


def test_tops_may_be_some_channels_of_others(placed):
    from caffe_compat.kernels import lrn

    x = values(SHAPES[0])
    wide = placed(np.full((*x.shape[:3], 22), 99, np.float32))
    lrn.across(1, placed(x), wide[..., 4:21], 12, 17, 2, ALPHA / 5, 1.0, 22)
    assert (wide[..., :4] == 99).all() and (wide[..., 21:] == 99).all()
    np.testing.assert_allclose(wide[..., 4:21], plain(x, x, 2, 1.0, within=False)[0], rtol=2e-6, atol=1e-7)
