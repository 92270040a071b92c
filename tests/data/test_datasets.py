"""CIFAR-10 and MNIST become the databases that Caffe's own tools make."""

import gzip
import tarfile

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_compat.data.databases import open_database
from caffe_compat.data.datasets import CIFAR10_SHA256, convert_mnist, make_cifar10, make_mnist, read_idx
from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.binary import read_blob
from caffe_compat.proto.schema import Datum, NetParameter
from tests.conftest import golden, shared
from tests.data.refusals import error_of


def test_the_mean_of_cifar10_equals_caffes_to_the_byte(cifar10, published):
    assert (cifar10 / "mean.binaryproto").read_bytes() == (published / "cifar10" / "mean.binaryproto").read_bytes()


def test_the_first_batch_of_cifar10_equals_what_caffe_trained_on(cifar10, monkeypatch):
    expected = np.load(shared("golden", "cifar", "first_batch.npz"))
    net = text_format.Parse(shared("golden", "cifar", "net.prototxt").read_text(), NetParameter())
    param = next(layer for layer in net.layer if layer.type == "Data")
    param.data_param.source = str(cifar10 / "cifar10_train_lmdb")
    param.transform_param.mean_file = str(cifar10 / "mean.binaryproto")
    layer = create_layer(param, Context(phase="TRAIN"))
    data, label = layer.next_batch()
    np.testing.assert_allclose(data[: len(expected["data"])].numpy(), expected["data"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(label.numpy(), expected["label"].ravel())


def test_real_mnist_passes_its_checksums(published, tmp_path):
    made = make_mnist(published / "mnist", tmp_path)
    assert [open_database(path).count for path in made] == [60000, 10000]


def made_cifar10(folder, records=7):
    """Small files in CIFAR-10's form, and their bytes as (files, records, 3073)."""
    folder.mkdir(exist_ok=True)
    content = np.random.RandomState(0).randint(0, 256, (len(CIFAR10_SHA256), records, 3073)).astype(np.uint8)
    for name, part in zip(CIFAR10_SHA256, content, strict=True):
        (folder / name).write_bytes(part.tobytes())
    return content


def records_of(path):
    database = open_database(path)
    found = list(database.key_order()), [Datum.FromString(bytes(record)) for record in database.records()]
    database.close()
    return found


@pytest.mark.parametrize("backend", ["LMDB", "LEVELDB"])
def test_cifar10_records_keep_the_order_of_the_files(tmp_path, backend):
    content = made_cifar10(tmp_path / "in")
    train, test, mean = make_cifar10(tmp_path / "in", tmp_path, backend, checksums=None)
    for path, rows in ((train, content[:5].reshape(-1, 3073)), (test, content[5])):
        keys, datums = records_of(path)
        assert keys == [b"%05d" % number for number in range(len(rows))]
        assert all((datum.channels, datum.height, datum.width) == (3, 32, 32) for datum in datums)
        assert [datum.label for datum in datums] == rows[:, 0].tolist()
        assert [datum.data for datum in datums] == [row[1:].tobytes() for row in rows]
    wanted = content[:5].reshape(-1, 3073)[:, 1:].astype(np.float64).mean(axis=0).reshape(1, 3, 32, 32)
    np.testing.assert_allclose(read_blob(mean), wanted, rtol=1e-6)


def test_cifar10_is_found_in_its_archive_and_one_folder_down(tmp_path):
    made_cifar10(tmp_path / "cifar-10-batches-bin")
    make_cifar10(tmp_path, tmp_path / "a", checksums=None)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    make_cifar10(tmp_path / "cifar-10-binary.tar.gz", tmp_path / "b", checksums=None)
    for name in ("cifar10_train_lmdb", "cifar10_test_lmdb"):
        assert records_of(tmp_path / "a" / name) == records_of(tmp_path / "b" / name)


def test_mnist_equals_the_database_of_caffes_tool(tmp_path):
    source = golden("formats", "mnist_idx")
    for prefix in ("train", "t10k"):
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            packed = gzip.compress((source / kind).read_bytes())
            (tmp_path / f"{prefix}-{kind}.gz").write_bytes(packed)
    train, _ = make_mnist(tmp_path, tmp_path, checksums=None)
    ours, caffes = open_database(train), open_database(golden("formats", "db", "mnist_lmdb"))
    assert list(ours.key_order()) == list(caffes.key_order())
    assert [bytes(record) for record in ours.records()] == [bytes(record) for record in caffes.records()]


def test_two_idx_files_of_any_name_become_the_database_of_caffes_tool(tmp_path):
    source = golden("formats", "mnist_idx")
    (tmp_path / "labels.gz").write_bytes(gzip.compress((source / "labels-idx1-ubyte").read_bytes()))
    assert convert_mnist(source / "images-idx3-ubyte", tmp_path / "labels.gz", tmp_path / "made") == 30
    assert records_of(tmp_path / "made") == records_of(golden("formats", "db", "mnist_lmdb"))


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path):
    assert error_of(make_cifar10, tmp_path / "gone", tmp_path) == f"{tmp_path}/gone: no such folder or archive"
    assert error_of(make_mnist, tmp_path, tmp_path) == f"{tmp_path}: no train-images-idx3-ubyte there"


def test_a_file_of_other_content_fails_its_checksum(tmp_path):
    made_cifar10(tmp_path / "in")
    message = error_of(make_cifar10, tmp_path / "in", tmp_path)
    assert "data_batch_1.bin has sha256 " in message and message.endswith(
        "as published cee916563c9f80d8...; get it again"
    )


def test_a_cifar10_file_cut_short(tmp_path):
    made_cifar10(tmp_path / "in")
    (tmp_path / "in" / "data_batch_2.bin").write_bytes(b"x" * 5000)
    message = error_of(make_cifar10, tmp_path / "in", tmp_path, checksums=None)
    assert message == "data_batch_2.bin: 5000 bytes are no whole number of records of 3073"
    assert not (tmp_path / "cifar10_train_lmdb").exists()


def test_an_idx_file_cut_short_or_of_another_kind():
    content = golden("formats", "mnist_idx", "images-idx3-ubyte").read_bytes()
    assert "its header says (30, 28, 28)" in error_of(read_idx, "images", content[:-1])
    assert "is no idx file of images or labels" in error_of(read_idx, "images", b"\x1f\x8b\x08\x00")


def test_images_and_labels_that_do_not_belong_together(tmp_path):
    source = golden("formats", "mnist_idx")
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes((source / "images-idx3-ubyte").read_bytes())
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    message = error_of(make_mnist, tmp_path, tmp_path, checksums=None)
    assert message == "images (30, 28, 28) and labels (1,) do not belong together"


def test_an_archive_that_is_none(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    assert "is no tar archive that can be read" in error_of(make_cifar10, tmp_path / "cifar-10-binary.tar.gz", tmp_path)


def test_a_database_that_exists_already_is_kept(tmp_path):
    made_cifar10(tmp_path / "in")
    make_cifar10(tmp_path / "in", tmp_path, checksums=None)
    assert "exists already" in error_of(make_cifar10, tmp_path / "in", tmp_path, checksums=None)
