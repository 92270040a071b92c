"""Windows that loops cut, turn and take a mean from are those of plain numpy, and no byte beside them is read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.switch import needs_loops

pytestmark = needs_loops

SIZES = [
    ((9, 8), (5, 6)),
    ((20, 19), (17, 16)),
    ((40, 50), (33, 35)),
    ((6, 16), (6, 16)),
    ((3, 70), (2, 37)),
    ((3, 1400), (2, 1390)),
]
SCALE = 0.017


def planes(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def plan_of(addresses: np.ndarray, corners: np.ndarray, flips: np.ndarray) -> np.ndarray:
    return np.column_stack([addresses, corners, flips]).astype(np.int64)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("image, window", SIZES)
@pytest.mark.parametrize("whole_mean", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_windows_are_those_of_numpy_and_nothing_else_is_written(channels, planar, image, window, whole_mean, large):
    from caffe_compat.kernels import pixels

    chance, count = np.random.RandomState(channels), 7
    images = chance.randint(0, 256, (count, *image, channels)).astype(np.uint8)
    flips = chance.rand(count) < 0.5
    corners = np.stack([chance.randint(0, big - small + 1, count) for big, small in zip(image, window, strict=True)], 1)
    mean = (chance.rand(*image, channels) if whole_mean else np.tile(chance.rand(channels), (*image, 1))).astype("f4")
    both = np.stack([mean, mean[:, ::-1]]) if whole_mean else mean[0, : window[1]].copy()
    steps = (mean[0].size, mean.size, image[1]) if whole_mean else (0, 0, 0)
    stored = planes(images) if planar else images
    order = np.array([3, 0, 6, 6, 2])
    plan = plan_of(stored.ctypes.data + order * images[0].size, corners[order], flips[order])
    target = np.full((len(order) + 2, *window, channels), np.nan, np.float32)
    where = (len(order), *window, channels, plan, int(planar), *image)
    pixels.transform(1, target[1:], *where, both, *steps, SCALE, int(large), threads=1)
    assert np.isnan(target[[0, -1]]).all()
    for found, number in zip(target[1:], order, strict=False):
        (top, left), turn = corners[number], -1 if flips[number] else 1
        values = (images[number] - mean) * np.float32(SCALE)
        wanted = values[top : top + window[0], left : left + window[1]][:, ::turn]
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(3, 5), (4, 16), (2, 37)])
def test_planes_are_put_together_where_they_belong(channels, size):
    from caffe_compat.kernels import pixels

    images = np.random.RandomState(3).randint(0, 256, (4, *size, channels)).astype(np.uint8)
    stored, which = planes(images), np.array([5, 1, 2, 4])
    target = np.zeros((7, *size, channels), np.uint8)
    addresses = stored.ctypes.data + np.arange(4) * images[0].size
    pixels.interleave(1, target, which, 4, addresses, *size, channels, threads=1)
    np.testing.assert_array_equal(target[which], images)
    assert not target[[0, 3, 6]].any()


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("large", [0, 1])
def test_nothing_beside_an_image_is_read(planar, channels, large, placed):
    from caffe_compat.kernels import pixels

    size = (5, 19)
    image = np.random.RandomState(1).randint(0, 256, (*size, channels)).astype(np.uint8)
    stored = placed(image.transpose(2, 0, 1) if planar else image)
    mean, found = placed(np.zeros(19 * channels, np.float32)), placed(np.empty((*size, channels), np.float32))
    for flip in (0, 1):
        plan = plan_of(np.array([stored.ctypes.data]), np.zeros((1, 2)), np.array([flip]))
        where = (1, *size, channels, plan, int(planar), *size)
        pixels.transform(1, found, *where, mean, 0, 0, 0, 1.0, large, threads=1)
        np.testing.assert_array_equal(found, image[:, ::-1] if flip else image)
