"""CIFAR-10 comes out of its packed files as it went in, and arrays give the batches that the databases give."""

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.data.datasets import CIFAR10_SHA256
from caffe_compat.proto.schema import NetParameter
from reproductions.datasets import shuffle_database
from reproductions.gpu import images
from reproductions.steps import StepError

pytest.importorskip("lmdb")


@pytest.fixture
def published(tmp_path):
    """Six files of eight images in CIFAR-10's form: smooth ones, noise, and the extremes."""
    draw = np.random.default_rng(3)
    for number, name in enumerate(CIFAR10_SHA256):
        smooth = np.arange(32)[:, None] * 4 + np.arange(32) + 40 * np.arange(3)[:, None, None] + number
        planes = np.stack(
            [
                smooth,
                255 - smooth,
                *draw.integers(0, 256, (4, 3, 32, 32)),
                np.zeros((3, 32, 32)),
                np.full((3, 32, 32), 255),
            ]
        )
        labels = draw.integers(0, 10, (8, 1))
        records = np.hstack([labels, planes.astype(np.uint8).reshape(8, -1)]).astype(np.uint8)
        (tmp_path / "published").mkdir(exist_ok=True)
        (tmp_path / "published" / name).write_bytes(records.tobytes())
    return tmp_path / "published"


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_packed_images_come_back_to_the_byte(published, tmp_path, pieces):
    made = images.pack(published, tmp_path / "packed", pieces)
    assert [images.numbers_of(path) for path in made] == [(n, pieces) for n in range(1, pieces + 1)]
    there = [images.unpack(path, tmp_path / "arrays") for path in reversed(made)]
    assert there == list(range(1, pieces + 1))
    files = sorted((tmp_path / "arrays").glob("*.npy"), key=lambda path: int(path.name.partition("-")[0]))
    found = np.concatenate([np.load(path) for path in files])
    assert found.tobytes() == b"".join((published / name).read_bytes() for name in CIFAR10_SHA256)


def test_prediction_leaves_little_of_what_is_smooth():
    ramp = (np.arange(32)[:, None] * 3 + np.arange(32) * 2).astype(np.uint8)
    left = images.residues(np.stack([ramp, ramp, ramp])[None])
    assert (left[0, 1:] == 0).all()  # red and blue as green
    assert (left[0, 0, 1:, 1:] == 2).all()  # the median of left, upper and their plane is the upper neighbour


@pytest.mark.parametrize("seed", [1, 2])
def test_arrays_give_the_batches_and_means_of_the_databases(published, tmp_path, seed):
    databases, arrays = tmp_path / "databases", tmp_path / "arrays"
    cc.make_cifar10(published, databases, checksums=None)
    if seed > 1:
        shuffle_database(databases / images.TRAIN, seed)
    cc.pad_database(databases / images.TRAIN, databases / images.PADDED)
    cc.write_mean(databases / images.PADDED_MEAN, cc.compute_mean(databases / images.PADDED))
    for path in images.pack(published, tmp_path / "packed"):
        images.unpack(path, tmp_path / "unpacked")
    images.make_arrays(tmp_path / "unpacked", arrays, seed)
    for name in (images.MEAN, images.PADDED_MEAN):
        assert (arrays / name).read_bytes() == (databases / name).read_bytes()
    for name, transform in (
        (images.TRAIN, f'mean_file: "{images.MEAN}"'),
        (images.TEST, f'mean_file: "{images.MEAN}"'),
        (images.PADDED, f'mean_file: "{images.PADDED_MEAN}" crop_size: 32 mirror: true'),
    ):
        net = cc.parse_text(
            f"""layer {{ name: "d" type: "Data" top: "data" top: "label" transform_param {{ {transform} }}
            data_param {{ source: "{name}" batch_size: 7 backend: LMDB }} }}""",
            NetParameter,
        )
        read = batches(net, databases)
        images.from_arrays(net)
        for mine, theirs in zip(batches(net, arrays), read, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def batches(net, folder):
    import torch

    torch.manual_seed(4)
    made = cc.Net(net, phase="TRAIN", folder=folder)
    return [value.numpy() for _ in range(9) for value in made.next_values().values()]


def test_what_is_missing_or_damaged_is_told(published, tmp_path):
    first, _ = images.pack(published, tmp_path / "packed")
    images.unpack(first, tmp_path / "unpacked")
    with pytest.raises(StepError, match="has 1 of 2 parts of CIFAR-10; unpack the others"):
        images.make_arrays(tmp_path / "unpacked", tmp_path / "arrays", 1)
    with pytest.raises(StepError, match="has 0 of all parts"):
        images.make_arrays(tmp_path / "nowhere", tmp_path / "arrays", 1)
    cut = tmp_path / "cifar10-2-of-2.xz"
    cut.write_bytes(first.read_bytes()[:100])
    with pytest.raises(StepError, match="is cut short or damaged"):
        images.unpack(cut, tmp_path / "unpacked")
    with pytest.raises(StepError, match="its name is not as `pack` gives it"):
        images.unpack(tmp_path / "cifar.xz", tmp_path)
    (published / "test_batch.bin").write_bytes(b"12345")
    with pytest.raises(StepError, match="5 bytes are no records of 3073"):
        images.pack(published, tmp_path / "packed")
