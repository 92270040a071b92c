"""Batches made in one pass are those made without loops, to the bit, however the images lie in memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from caffe_compat.data import one_pass
from caffe_compat.data.one_pass import Stored
from caffe_compat.data.transform import Draws, Transform
from tests.kernels.switch import needs_loops

IMAGES = np.random.RandomState(4).randint(0, 256, (6, 9, 21, 3)).astype(np.uint8)
PLANES = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
DRAWS = Draws(np.array([1, 0, 0, 1, 1, 0], bool), np.random.RandomState(5).rand(6, 2))


def locked(images: np.ndarray) -> np.ndarray:
    images = images.copy()
    images.flags.writeable = False
    return images


LAYOUTS = {
    "pixels": IMAGES,
    "planes": PLANES.transpose(0, 2, 3, 1),
    "every other": np.repeat(IMAGES, 2, 0)[::2],
    "backwards": IMAGES[::-1].copy()[::-1],
    "not to be written": locked(IMAGES),
    "rows of a larger array": np.pad(IMAGES, ((0, 0), (0, 2), (0, 4), (0, 0)))[:, :9, :21],
    "floats": IMAGES.astype(np.float32),
    "one channel of three": IMAGES[..., 1:2],
    "one plane of three": PLANES[:, 1:2].transpose(0, 2, 3, 1),
}


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mean", ["none", "values", "image"])
def test_any_layout_gives_the_windows_of_plain_numpy(layout, mean):
    images = LAYOUTS[layout]
    shape = images.shape[1:]
    taken = {"none": None, "values": np.float32([104.3]), "image": np.random.RandomState(6).rand(*shape).astype("f4")}
    made = Transform("d", True, 0.3, taken[mean], crop=7, mirror=True)
    target = np.full((6, 7, 7, shape[2]), np.nan, np.float32)
    alone = target.copy()
    made.stack(images, DRAWS, target)
    corners = made.corners(shape, DRAWS)
    for index, (top, left) in enumerate(corners):
        made.place(images[index], DRAWS, index, alone[index])
        values = (images[index] - (np.float32(0) if taken[mean] is None else taken[mean])) * np.float32(0.3)
        wanted = values[top : top + 7, left : left + 7]
        np.testing.assert_array_equal(target[index], wanted[:, ::-1] if DRAWS.flips[index] else wanted)
    np.testing.assert_array_equal(alone, target)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("crop", [0, 37])
def test_a_batch_larger_than_caches_and_rows_longer_than_a_loop_takes_are_the_same(crop):
    """A loop takes rows of 16384 bytes at most; the second image's have two more."""
    for width in (90, 5462):
        images = np.random.RandomState(7).randint(0, 256, (3, 40, width, 3)).astype(np.uint8)
        made = Transform("d", False, 0.3, np.float32([7, 80, 90]), crop)
        target = np.full((3, *made.output_shape(images.shape[1:], "")), np.nan, np.float32)
        alone, draws = target.copy(), made.draw(3, 0)
        made.stack(images, draws, target, large=True)
        values = (images - np.float32([7, 80, 90])) * np.float32(0.3)
        top, left = (1, (width - 37) // 2) if crop else (0, 0)
        wanted = values[:, top : top + target.shape[1], left : left + target.shape[2]]
        np.testing.assert_array_equal(target, wanted)
        for index, image in enumerate(images):
            made.place(image, draws, index, alone[index], large=True)
        np.testing.assert_array_equal(alone, wanted)


@needs_loops
def test_loops_read_arrays_whose_rows_follow_one_another(monkeypatch):
    pytest.importorskip("numba")
    readable = {name for name, images in LAYOUTS.items() if Stored.of(images) is not None}
    assert readable == {*LAYOUTS} - {"rows of a larger array", "floats", "one channel of three"}
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    assert all(Stored.of(images) is None for images in LAYOUTS.values())


@needs_loops
@pytest.mark.parametrize("size, worth", [(64, False), (128, True)])
def test_one_image_is_made_by_a_loop_where_that_is_faster(size, worth, monkeypatch):
    pytest.importorskip("numba")
    asked = []
    monkeypatch.setattr(one_pass, "compiled", lambda *asking: asked.append(asking))
    made, image = Transform("d", False, mean=np.float32([1])), np.zeros((size, size, 3), np.uint8)
    made.place(image, made.draw(1, 0), 0, np.zeros(image.shape, np.float32))
    assert bool(asked) == worth


@needs_loops
def test_numba_is_loaded_once_that_is_worth_its_while():
    code = """if True:
        import sys
        from caffe_compat.data.one_pass import compiled
        found = [compiled("pixels", values) is not None for values in (1 << 27, 1 << 27, 1, 0)]
        print(found, compiled("records") is not None, "numba" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[0] == "[False, False, True, True] True True"


@needs_loops
def test_where_numba_is_loaded_anyway_loops_are_used_at_once(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(one_pass, "_without", [0])
    assert one_pass.compiled("pixels") is not None
