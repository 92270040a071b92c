"""Lists of image files: order, chance and bad lines."""

import numpy as np
import pytest

from caffe_compat.data.image_lists import ImageBatches, Loading, read_image_list
from caffe_compat.data.images import encode_image
from caffe_compat.data.transform import Transform
from caffe_compat.errors import DataError
from tests.data.refusals import error_of


@pytest.fixture
def entries(tmp_path):
    """Ten images of one grey value each, ten times their number, with the number as label."""
    for number in range(10):
        image = np.full((5, 4, 3), 10 * number, np.uint8)
        (tmp_path / f"image {number}.png").write_bytes(encode_image(image, "png"))
    (tmp_path / "list.txt").write_text("".join(f"image {number}.png {number}\n" for number in range(10)))
    return read_image_list(tmp_path / "list.txt")


def batches(entries, tmp_path, batch_size=4, **options):
    return ImageBatches(entries, Loading(f"{tmp_path}/"), batch_size, Transform("d", True), **options)


def labels(source, count):
    found = [source.read(index) for index in range(count)]
    for images, numbers in found:
        assert (images[:, :, 0, 0] == 10 * numbers[:, None]).all()
    return np.concatenate([numbers for _, numbers in found]).tolist()


def test_names_with_spaces_and_the_order_of_the_list_round_and_round(entries, tmp_path):
    assert entries[3] == ("image 3.png", 3)
    assert labels(batches(entries, tmp_path), 10) == [n % 10 for n in range(40)]


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_shuffle_shows_every_image_once_a_pass_in_a_new_order(entries, tmp_path, cache_bytes):
    shown = labels(batches(entries, tmp_path, 5, shuffle=True, seed=3, cache_bytes=cache_bytes), 6)
    passes = [shown[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1] != passes[2] and passes[0] != list(range(10))


def test_skip_starts_within_so_many_images(entries, tmp_path):
    starts = {labels(batches(entries, tmp_path, 1, skip=4, seed=seed), 1)[0] for seed in range(40)}
    assert starts == {0, 1, 2, 3}


def test_ranks_share_the_list_in_turn(entries, tmp_path):
    shown = [labels(batches(entries, tmp_path, 3, rank=rank, ranks=2), 4) for rank in range(2)]
    assert [label for together in zip(*shown, strict=True) for label in together] == [n % 10 for n in range(24)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.png 1\nb.png\n", "list.txt:2: 'b.png' should be "),
        ("a.png one\n", "list.txt:1: 'a.png one' should be an image's name, a space and"),
        (" 7\n", "list.txt:1: ' 7' names no image"),
        ("\n\n", "list.txt: the list is empty"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, wanted):
    (tmp_path / "list.txt").write_text(text)
    assert wanted in error_of(read_image_list, tmp_path / "list.txt")


def test_a_missing_image_is_named(entries, tmp_path):
    (tmp_path / "image 6.png").unlink()
    message = error_of(batches(entries, tmp_path).read, 1)
    assert message == f"{tmp_path}/image 6.png: the image cannot be read (No such file or directory)"


def test_a_line_with_several_labels_is_said_to_have_them(entries, tmp_path):
    (tmp_path / "list.txt").write_text("image 1.png 1\nimage 2.png 0.5 2\n")
    entries = read_image_list(tmp_path / "list.txt")
    for read in (lambda: batches(entries, tmp_path).read(0), batches(entries, tmp_path).peek):
        message = error_of(read)
        assert message.startswith(f"{tmp_path}/image 2.png 0.5: ")
        assert f"; {tmp_path}/image 2.png is there: its line has more than one number" in message
    (tmp_path / "image 2.png 0.5").write_bytes((tmp_path / "image 2.png").read_bytes())  # a name as Caffe takes it
    batches(entries, tmp_path, 2).read(0)


def test_a_damaged_image_is_named(entries, tmp_path):
    (tmp_path / "image 2.png").write_bytes(b"no image")
    assert error_of(batches(entries, tmp_path).read, 0).startswith(
        f"{tmp_path}/image 2.png: the image cannot be decoded"
    )


def test_images_of_several_sizes_need_a_crop_or_new_sizes(entries, tmp_path):
    (tmp_path / "image 1.png").write_bytes(encode_image(np.zeros((6, 4, 3), np.uint8), "png"))
    assert "image 1.png: the image is (6, 4, 3)" in error_of(batches(entries, tmp_path).read, 0)


def test_a_skip_over_the_whole_list_is_refused(entries, tmp_path):
    for seed in range(100):
        try:
            batches(entries[:1], tmp_path, skip=50, seed=seed)
        except DataError as error:
            assert str(error) == "rand_skip 50 passes over all 1 images; set it lower"
            return
    pytest.fail("no seed skipped")
