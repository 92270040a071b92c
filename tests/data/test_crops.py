"""What a classifier's net sees, against plain loops over the rules of pycaffe's io.py and classifier.py."""

from pathlib import Path

import numpy as np
import pytest

from caffe_compat.data.crops import Preprocessing, list_images, read_labels, read_mean_planes
from caffe_compat.proto.binary import write_blob
from tests.data.refusals import error_of

RANDOM = np.random.RandomState(0)
IMAGE = RANDOM.randint(0, 256, (9, 12, 3)).astype(np.uint8)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each pixel from the four around its centre; beyond the border the border's own."""
    made = np.zeros((height, width, image.shape[2]))
    for row in range(height):
        for column in range(width):
            y = np.clip((row + 0.5) * image.shape[0] / height - 0.5, 0, image.shape[0] - 1)
            x = np.clip((column + 0.5) * image.shape[1] / width - 0.5, 0, image.shape[1] - 1)
            for near_y in {int(y), min(int(y) + 1, image.shape[0] - 1)}:
                for near_x in {int(x), min(int(x) + 1, image.shape[1] - 1)}:
                    share = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                    made[row, column] += share * image[near_y, near_x]
    return made


def test_by_default_the_image_is_stretched_to_what_the_net_takes() -> None:
    crops = Preprocessing().crops(IMAGE, 5, 7, "")
    assert crops.shape == (1, 3, 5, 7) and crops.dtype == np.float32
    np.testing.assert_allclose(crops[0], bilinear(IMAGE, 5, 7).transpose(2, 0, 1), atol=1e-3)  # float32 of up to 255


def test_one_size_is_the_shorter_side_and_two_are_height_and_width() -> None:
    for size, (height, width) in ((18, (18, 24)), ((6, 15), (6, 15))):
        crops = Preprocessing(size).crops(IMAGE, 6, 7, "")
        left, top = (width - 7) // 2, (height - 6) // 2
        wanted = bilinear(IMAGE, height, width)[top : top + 6, left : left + 7]
        np.testing.assert_allclose(crops[0], wanted.transpose(2, 0, 1), atol=1e-3)


def test_the_mean_is_of_the_nets_channels_and_comes_before_the_scale() -> None:
    mean = np.array([3, 20, 100], np.float32)
    crops = Preprocessing(mean=mean, scale=0.5, rgb=True).crops(IMAGE, 9, 12, "")
    for channel in range(3):
        wanted = (IMAGE[:, :, 2 - channel].astype(float) - mean[channel]) * 0.5
        np.testing.assert_array_equal(crops[0, channel], wanted)


def test_ten_crops_are_four_corners_and_the_centre_and_their_mirror_images() -> None:
    mean = RANDOM.random_sample((3, 4, 5)).astype(np.float32)
    crops = Preprocessing((9, 12), mean=mean, oversample=True).crops(IMAGE, 4, 5, "")
    corners = [(0, 0), (0, 7), (5, 0), (5, 7), (2, 3)]  # the centre: 9 / 2 - 4 / 2 and 12 / 2 - 5 / 2, rounded down
    assert crops.shape == (10, 3, 4, 5)
    for number, (top, left) in enumerate(corners):
        for channel in range(3):
            for row in range(4):
                for column in range(5):
                    pixel = float(IMAGE[top + row, left + column, channel])
                    mirrored = float(IMAGE[top + row, left + 4 - column, channel])
                    where = channel, row, column
                    assert crops[number][where] == pytest.approx(pixel - mean[where], abs=1e-4)
                    assert crops[5 + number][where] == pytest.approx(mirrored - mean[where], abs=1e-4)


def test_a_mean_image_is_resized_to_what_the_net_takes() -> None:
    mean = RANDOM.random_sample((3, 8, 8)).astype(np.float32) * 255
    crops = Preprocessing(mean=mean).crops(IMAGE, 4, 4, "")
    wanted = bilinear(IMAGE, 4, 4) - bilinear(mean.transpose(1, 2, 0), 4, 4)
    np.testing.assert_allclose(crops[0], wanted.transpose(2, 0, 1), atol=1e-3)


def test_grey_images_keep_their_one_channel() -> None:
    crops = Preprocessing(size=18, mean=np.array([7], np.float32), oversample=True).crops(IMAGE[:, :, :1], 5, 5, "")
    assert crops.shape == (10, 1, 5, 5)


def test_means_come_from_binaryproto_and_npy_files(tmp_path: Path) -> None:
    mean = RANDOM.random_sample((3, 4, 5)).astype(np.float32)
    write_blob(tmp_path / "mean.binaryproto", mean[None])
    np.save(tmp_path / "mean.npy", mean.astype(np.float64))
    for name in ("mean.binaryproto", "mean.npy"):
        np.testing.assert_array_equal(read_mean_planes(tmp_path / name), mean)


def test_messages_say_what_does_not_fit(tmp_path: Path) -> None:
    crop = Preprocessing(size=6).crops
    assert error_of(crop, IMAGE, 7, 7, "cat.png") == (
        "cat.png: is 6x8 once resized, the net takes 7x7; give a larger size"
    )
    two = Preprocessing(mean=np.zeros(2, np.float32)).crops
    assert error_of(two, IMAGE, 4, 4, "") == "the mean has 2 channels, the net takes 3"
    (tmp_path / "mean.npy").write_bytes(b"no array")
    assert "mean.npy: cannot be read as a .npy file" in error_of(read_mean_planes, tmp_path / "mean.npy")
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    assert "flat.npy: holds float64 (4, 4); a mean is" in error_of(read_mean_planes, tmp_path / "flat.npy")


def test_folders_stand_for_the_images_in_them_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (folder / name).touch()
    assert list_images([folder / "b.PNG", folder]) == [folder / "b.PNG", folder / "a.jpg", folder / "b.PNG"]
    assert error_of(list_images, [tmp_path / "gone.png"]) == f"{tmp_path}/gone.png: no such image or folder"
    assert error_of(list_images, [tmp_path]).startswith(f"{tmp_path}: no images in this folder; looked for .bmp")


def test_labels_are_one_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n0 tench, Tinca tinca\r\nn1 naïve\n\n", "utf-8")
    assert read_labels(tmp_path / "words.txt") == ["n0 tench, Tinca tinca", "n1 naïve"]
    (tmp_path / "words.bin").write_bytes(b"\xff\xfe\x00")
    assert "words.bin: is no text" in error_of(read_labels, tmp_path / "words.bin")
    assert "gone.txt: cannot be read: No such file" in error_of(read_labels, tmp_path / "gone.txt")
