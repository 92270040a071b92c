"""Windows of many images at once are those that slicing gives, and whole batches those of image after image."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_compat.data import cuts, transform
from caffe_compat.data.cuts import MeanWindows, Windows, flipped
from caffe_compat.data.transform import Draws, Transform

IMAGES = np.random.RandomState(2).randint(0, 256, (9, 7, 10, 3)).astype(np.uint8)
MEAN = np.random.RandomState(3).rand(7, 10, 3).astype(np.float32) * 255
SIZE = (4, 5)


def drawn(count: int) -> Draws:
    chance = np.random.RandomState(5)
    return Draws(chance.rand(count) < 0.5, chance.rand(count, 2))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_windows_are_what_slicing_gives(kind: type) -> None:
    images, chance = IMAGES.astype(kind), np.random.RandomState(7)
    which, corners = chance.randint(0, 9, 6), np.stack([chance.randint(0, 4, 6), chance.randint(0, 6, 6)], 1)
    windows = Windows(images, which, corners, SIZE)
    for part in (slice(0, 6), slice(2, 5), slice(5, 9)):
        wanted = [images[n, r : r + 4, c : c + 5] for n, (r, c) in zip(which[part], corners[part], strict=True)]
        assert np.array_equal(windows[part], wanted)


def test_flips_exchange_left_and_right_of_those_alone() -> None:
    flips = np.array([True, False, True])
    wanted = [image[:, ::-1] if flip else image for image, flip in zip(IMAGES, flips, strict=False)]
    assert np.array_equal(flipped(IMAGES[:3].copy(), flips), wanted)


@pytest.mark.parametrize("bytes_of_table", [0, 1 << 20], ids=["cut anew", "from a table"])
def test_a_means_windows_lie_and_turn_as_those_of_the_images(
    bytes_of_table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "TABLE_BYTES", bytes_of_table)
    corners = np.array([(r, c) for r in range(4) for c in range(6)] * 2)
    flips = np.repeat([False, True], 24)
    wanted = [
        MEAN[r : r + 4, c : c + 5][:, ::-1] if flip else MEAN[r : r + 4, c : c + 5]
        for (r, c), flip in zip(corners, flips, strict=True)
    ]
    # with a window of the picture turned goes the mean of the same pixels, turned
    found = MeanWindows(MEAN, SIZE).at(corners, flips)
    for part in (slice(0, 48), slice(5, 30)):
        target = np.full((len(wanted[part]), *SIZE, 3), np.nan, np.float32)
        found.write(part, target)
        assert np.array_equal(target, wanted[part])


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("crop", [0, 4])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("mean", [None, np.float32([104, 117, 123]), MEAN], ids=["no mean", "channels", "image"])
@pytest.mark.parametrize("strip", [1, 1 << 17], ids=["strips", "whole"])
def test_a_batch_is_bit_for_bit_that_of_image_after_image(
    crop: int, mirror: bool, train: bool, mean: np.ndarray | None, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transform, "_STRIP", strip)
    made = Transform("d", train, 0.017, mean, crop, mirror)
    for which in (None, np.array([8, 0, 3, 3, 1])):
        taken = IMAGES if which is None else IMAGES[which]
        draws = drawn(len(taken)) if made.random else made.draw(len(taken), 1)
        draws = Draws(draws.flips & mirror, draws.places)
        target = np.full((len(taken), *made.output_shape(IMAGES.shape[1:], "")), np.nan, np.float32)
        wanted = target.copy()
        made.stack(IMAGES, draws, target, which)
        for index, image in enumerate(taken):
            made.place(image, draws, index, wanted[index])
        assert np.array_equal(target, wanted)
        corners = made.corners(IMAGES.shape[1:], draws)
        for found, image, (row, column), flip in zip(target, taken, corners, draws.flips, strict=True):
            values = (image - (np.float32(0) if mean is None else mean)) * np.float32(0.017)
            values = values[row : row + found.shape[0], column : column + found.shape[1]]
            assert np.array_equal(found, values[:, ::-1] if flip else values)
