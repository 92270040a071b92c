"""CIFAR-10 and MNIST as their authors publish them -> the databases that Caffe's examples read.

CIFAR-10, binary version: records of one label byte and 3,072 bytes, the red, green and blue planes of 32x32; keys of
five digits (convert_cifar_data.cpp). MNIST: idx files, big-endian sizes and then bytes; keys of eight digits
(convert_mnist_data.cpp).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from caffe_compat.data.archives import archived, unzipped
from caffe_compat.data.databases import write_database
from caffe_compat.data.datum import encode_datum
from caffe_compat.data.mean import compute_mean, write_mean
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import read_bytes

CIFAR10_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_CIFAR10_RECORD = 1 + 3 * 32 * 32
_IDX_IMAGES, _IDX_LABELS = 2051, 2049


def make_cifar10(
    source: Path, out: Path, backend: str = "LMDB", checksums: Mapping[str, str] | None = CIFAR10_SHA256
) -> list[Path]:
    """Write cifar10_train_lmdb, cifar10_test_lmdb and mean.binaryproto (of the training images) into `out`.

    source: the folder of the .bin files, one that holds it, or cifar-10-binary.tar.gz. Records keep the order of the
    files. `checksums` None takes files of any content. DataError where a file is missing or not what it should be.
    """
    files = {name: _content(source, name, checksums) for name in CIFAR10_SHA256}
    train = [name for name in files if name.startswith("data_batch")]
    made = []
    for part, names in (("train", train), ("test", ["test_batch.bin"])):
        path = out / f"cifar10_{part}_{backend.lower()}"
        records = (record for name in names for record in _cifar10_records(name, files[name]))
        write_database(path, ((b"%05d" % n, record) for n, record in enumerate(records)), backend)
        made.append(path)
    write_mean(out / "mean.binaryproto", compute_mean(made[0]))
    return [*made, out / "mean.binaryproto"]


def make_mnist(
    source: Path, out: Path, backend: str = "LMDB", checksums: Mapping[str, str] | None = MNIST_SHA256
) -> list[Path]:
    """Write mnist_train_lmdb and mnist_test_lmdb into `out`.

    source: the folder of the four idx files, packed (.gz) or not. Else as `make_cifar10`.
    """
    made = []
    for part, prefix in (("train", "train"), ("test", "t10k")):
        names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        images, labels = (_content(source, name, checksums) for name in names)
        path = out / f"mnist_{part}_{backend.lower()}"
        write_database(path, _numbered(read_idx(names[0], images), read_idx(names[1], labels)), backend)
        made.append(path)
    return made


def convert_mnist(images: Path, labels: Path, database: Path, backend: str = "LMDB") -> int:
    """Write the database of two idx files of any name and content, packed (.gz) or not; how many images it has.

    As Caffe's convert_mnist_data. DataError where a file is none, or the two do not belong together.
    """
    arrays = [read_idx(str(path), _unpacked(path)) for path in (images, labels)]
    write_database(database, _numbered(*arrays), backend)
    return len(arrays[0])


def check_published(folder: Path, checksums: Mapping[str, str]) -> None:
    """DataError where a file in `folder`, packed in an archive or not, is not what `checksums` says of its name."""
    for name in checksums:
        for content in _found(folder, name):
            _check(folder, name, content, checksums)


def read_idx(name: str, content: bytes) -> np.ndarray:
    """The array of an idx file: (images, rows, columns) or (labels,), uint8; `name` is for messages."""
    magic = int.from_bytes(content[:4], "big")
    if magic not in (_IDX_IMAGES, _IDX_LABELS) or len(content) < 4 * (1 + magic % 256):
        raise DataError(f"{name}: is no idx file of images or labels (it begins with {content[:4].hex()})")
    shape = tuple(int.from_bytes(content[4 * axis : 4 * axis + 4], "big") for axis in range(1, 1 + magic % 256))
    values = np.frombuffer(content, np.uint8, offset=4 * (1 + len(shape)))
    if values.size != np.prod(shape, dtype=object):
        raise DataError(f"{name}: has {values.size} values, its header says {shape}; get the file again")
    return values.reshape(shape)


def _cifar10_records(name: str, content: bytes) -> Iterator[bytes]:
    if len(content) % _CIFAR10_RECORD or not content:
        raise DataError(f"{name}: {len(content)} bytes are no whole number of records of {_CIFAR10_RECORD}")
    for row in np.frombuffer(content, np.uint8).reshape(-1, _CIFAR10_RECORD):
        yield encode_datum(row[1:].reshape(3, 32, 32), int(row[0]))


def _numbered(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(f"images {images.shape} and labels {labels.shape} do not belong together")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield b"%08d" % number, encode_datum(image[None], int(label))


def _content(source: Path, name: str, checksums: Mapping[str, str] | None) -> bytes:
    """The bytes of the file `name` in `source`: a folder, one that holds it, or a tar archive; unpacked, checked."""
    for content in _found(source, name):
        if checksums is not None:
            _check(source, name, content, checksums)
        return content
    raise DataError(f"{source}: no {name} there")


def _check(source: Path, name: str, content: bytes, checksums: Mapping[str, str]) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != checksums[name]:
        wanted = f"{checksums[name][:16]}..."
        raise DataError(f"{source}: {name} has sha256 {found[:16]}..., as published {wanted}; get it again")


def _found(source: Path, name: str) -> Iterable[bytes]:
    if source.is_dir():
        for path in (source / name, source / f"{name}.gz", *sorted(source.glob(f"*/{name}"))):
            if path.is_file():
                yield _unpacked(path)
        for archive in sorted(source.glob("*.tar.gz")):
            yield from _found(archive, name)
    elif source.is_file():
        yield from archived(source, name)
    else:
        raise DataError(f"{source}: no such folder or archive")


def _unpacked(path: Path) -> bytes:
    return unzipped(path) if path.suffix == ".gz" else read_bytes(path, DataError)
