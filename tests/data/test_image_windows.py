"""Windows: which are drawn, and bad window files; layers/caffe/test_data.py checks their pixels against Caffe."""

import numpy as np
import pytest

from caffe_compat.data.image_windows import Sampling, Window, WindowBatches, read_window_file
from caffe_compat.data.images import encode_image, resize_image
from caffe_compat.data.transform import Transform
from tests.data.refusals import error_of

FILE = """# 0
{folder}/a.png
3 20 30
3
1 0.9 0 0 9 9
2 0.6 10 5 29 14
5 0.2 3 3 8 19
# 1
{folder}/b.png
3
20
30
1
4 0.1 0 0 29 19
"""


@pytest.fixture
def windows(tmp_path):
    for name, value in (("a", 50), ("b", 200)):
        (tmp_path / f"{name}.png").write_bytes(encode_image(np.full((20, 30, 3), value, np.uint8), "png"))
    (tmp_path / "windows.txt").write_text(FILE.format(folder=tmp_path))
    return read_window_file(tmp_path / "windows.txt")


def test_a_fixed_part_of_each_batch_is_foreground_and_background_has_label_zero(windows):
    batches = WindowBatches(windows, "", Sampling(16, fg_fraction=0.25), Transform("w", True, crop=7), seed=1)
    seen = [batches.read(index) for index in range(6)]
    for images, labels in seen:
        assert images.shape == (16, 3, 7, 7)
        assert labels[:12].tolist() == [0] * 12 and set(labels[12:]) <= {1, 2}
        assert set(images[:12].ravel()) <= {50, 200} and set(images[12:].ravel()) == {50}
    assert {label for _, labels in seen for label in labels} == {0, 1, 2}
    assert {value for images, _ in seen for value in images[:12].ravel()} == {50, 200}


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("mean", ["none", "one value", "values", "image"])
@pytest.mark.parametrize("pad", [0, 3])
def test_a_window_is_resized_turned_and_the_mean_taken_off_as_it_is(tmp_path, mean, pad):
    """Where context reaches past the image, here past its left and upper edge, what lies outside stays 0."""
    chance = np.random.RandomState(2)
    image = chance.randint(0, 256, (24, 30, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode_image(image, "png"))
    values = {"none": None, "one value": np.float32([7]), "values": np.float32([1, 20, 150])}
    taken = values[mean] if mean in values else chance.rand(17, 17, 3).astype(np.float32) * 200
    transform = Transform("w", True, 0.3, taken, crop=13, mirror=True)
    window = Window(str(tmp_path / "a.png"), 1, 0.9, (0, 0, 13, 13))
    batches = WindowBatches([window], "", Sampling(12, fg_fraction=1.0, context_pad=pad), transform)
    cut = 0 if taken is None else (taken[2:15, 2:15] if mean == "image" else np.broadcast_to(taken, (13, 13, 3)))
    seen = set()
    for read in range(3):
        for found in batches.read(read)[0].transpose(0, 2, 3, 1):
            for flip in (False, True):
                wanted = np.zeros((13, 13, 3), np.float32)
                high, size = (21, 10) if pad else (14, 13)  # the box with its context, and what that takes of 13
                pixels = resize_image(image[:high, :high], size, size)[:, :: -1 if flip else 1]
                top, left = 13 - size, 0 if flip else 13 - size
                part = (slice(top, top + size), slice(left, left + size))
                wanted[part] = (pixels - np.float32(cut if taken is None else cut[part])) * np.float32(0.3)
                if np.array_equal(found, wanted):
                    seen.add(flip)
                    break
            else:
                raise AssertionError(found)
    assert seen == {False, True}


@pytest.mark.parametrize("mean", [np.zeros((12, 13, 3)), np.zeros((13, 13, 1)), np.zeros(2)])
def test_a_mean_that_does_not_fit_the_windows_is_refused(windows, mean):
    transform = Transform("w", True, mean=mean.astype(np.float32), crop=13)
    message = error_of(WindowBatches, windows, "", Sampling(4), transform)
    assert message.startswith("layer 'w': ") and "windows need a mean of 3 channels" in message


def test_windows_between_the_thresholds_are_not_drawn(windows):
    batches = WindowBatches(windows, "", Sampling(8, 0.7, 0.15, 0.5), Transform("w", True, crop=4))
    images, labels = batches.read(0)
    assert labels.tolist() == [0] * 4 + [1] * 4 and set(images[:4].ravel()) == {200}


def test_thresholds_and_the_foreground_part_are_compared_in_float32_as_in_caffe(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_image(np.full((20, 30, 3), 50, np.uint8), "png"))
    boxes = "7 0.6 0 0 9 9\n3 0.3 0 0 9 9\n5 0.1 0 0 4 4\n"  # 0.3 is not below 0.3, so 3 is in neither group
    (tmp_path / "windows.txt").write_text(f"# 0\n{tmp_path}/a.png\n3 20 30\n3\n{boxes}")
    thresholds = Sampling(10, *map(float, np.float32([0.6, 0.3, 0.7])))  # as a net's message has them
    batches = WindowBatches(read_window_file(tmp_path / "windows.txt"), "", thresholds, Transform("w", True, crop=4))
    assert batches.read(0)[1].tolist() == [0] * 3 + [7] * 7
    assert [window.label for window in batches._background] == [5]


def test_a_batch_is_the_same_each_time_it_is_read(windows):
    batches = WindowBatches(windows, "", Sampling(8), Transform("w", True, crop=4, mirror=True), seed=5)
    for first, second in zip(batches.read(3), batches.read(3), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "names no windows"),
        ("0\nimage.png\n", "'0' where '# image_index' should stand"),
        ("# 0\nimage.png\n3 4 5\n2\n1 0.5 0 0 1 1\n", "the file ends early"),
        ("# 0\nimage.png\n3 4 5\n1\n1 0.5 0 0 one 1\n", "invalid literal"),
    ],
)
def test_bad_window_files_are_refused(tmp_path, text, wanted):
    (tmp_path / "windows.txt").write_text(text)
    message = error_of(read_window_file, tmp_path / "windows.txt")
    assert message.startswith(f"{tmp_path}/windows.txt: ") and wanted in message


def test_no_window_of_a_kind_that_is_wanted(windows):
    message = error_of(WindowBatches, windows, "", Sampling(8, 0.99, 0.5), Transform("w", True, crop=4))
    assert message == "layer 'w': no foreground windows; change fg_threshold or bg_threshold"


def test_context_that_leaves_no_window(windows):
    message = error_of(WindowBatches, windows, "", Sampling(8, context_pad=4), Transform("w", True, crop=8))
    assert message == "layer 'w': crop_size 8 must be above 0 and twice context_pad 4"


def test_a_window_outside_its_image_is_named(windows, tmp_path):
    (tmp_path / "a.png").write_bytes(encode_image(np.zeros((20, 20, 3), np.uint8), "png"))
    batches = WindowBatches(windows[:2], "", Sampling(4, fg_fraction=1.0), Transform("w", True, crop=4))
    assert "window (10, 5, 29, 14) does not lie in the image" in error_of(lambda: [batches.read(n) for n in range(9)])
