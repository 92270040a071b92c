"""The databases of a network's runs: from the data set as published, in another order for another seed, or made up."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import caffe_compat as cc

SMOKE_IMAGES = 8
HELD_OUT_SEED = 2017  # of which training images are held out


def shuffle_database(path: Path, seed: int) -> None:
    """Give the records of the LMDB at `path` another order, drawn from `seed`."""
    keys, records = records_of(path)
    order = np.random.default_rng(seed).permutation(len(records))
    mixed = path.with_name(f"{path.name}.mixed")
    shutil.rmtree(mixed, ignore_errors=True)
    cc.write_lmdb(mixed, ((key, records[index]) for key, index in zip(keys, order, strict=True)))
    shutil.rmtree(path)
    mixed.rename(path)


def records_of(path: Path) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """The keys and the records of the LMDB at `path`."""
    import lmdb

    environment = lmdb.open(str(path), readonly=True, lock=False)
    with environment.begin() as transaction:
        keys, records = zip(*transaction.cursor(), strict=True)
    environment.close()
    return keys, records


def hold_out(folder: Path, images: int, train: str, test: str, mean: str, seed: int = HELD_OUT_SEED) -> None:
    """Make `images` of the training images in `folder` its test images, and the mean that of those left.

    They are drawn from `seed`; both parts keep their order. At most a quarter of the training images is taken.
    """
    keys, records = records_of(folder / train)
    taken = np.zeros(len(records), bool)
    taken[np.random.default_rng(seed).permutation(len(records))[: min(images, len(records) // 4)]] = True
    for name, chosen in ((test, taken), (train, ~taken)):
        shutil.rmtree(folder / name)
        cc.write_lmdb(folder / name, ((keys[place], records[place]) for place in np.flatnonzero(chosen).tolist()))
    cc.write_mean(folder / mean, cc.compute_mean(folder / train))


def clear(folder: Path, names: Sequence[str]) -> None:
    """Remove databases and means that an interrupted call left."""
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)


def make_up(path: Path, shape: tuple[int, int, int]) -> None:
    """An LMDB of random images of `shape`, (channels, height, width), in ten classes."""
    clear(path.parent, [path.name])
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (SMOKE_IMAGES, *shape), dtype=np.uint8)
    cc.write_lmdb(path, ((b"%05d" % n, cc.encode_datum(image, n % 10)) for n, image in enumerate(images)))


def published_cifar10(source: Path, folder: Path, seed: int) -> None:
    """CIFAR-10 as `caffe-compat data cifar10` makes it; the training images in another order from seed 2 on."""
    clear(folder, CIFAR10)
    cc.make_cifar10(source, folder)
    if seed > 1:
        shuffle_database(folder / "cifar10_train_lmdb", seed)


def made_up_cifar10(folder: Path) -> None:
    """A few images in CIFAR-10's form, and their mean."""
    for part in ("train", "test"):
        make_up(folder / f"cifar10_{part}_lmdb", (3, 32, 32))
    cc.write_mean(folder / "mean.binaryproto", cc.compute_mean(folder / "cifar10_train_lmdb"))


def published_mnist(source: Path, folder: Path, seed: int) -> None:
    """MNIST as `caffe-compat data mnist` makes it; the training images in another order from seed 2 on."""
    clear(folder, MNIST)
    cc.make_mnist(source, folder)
    if seed > 1:
        shuffle_database(folder / "mnist_train_lmdb", seed)


def made_up_mnist(folder: Path) -> None:
    """A few images in MNIST's form."""
    for part in ("train", "test"):
        make_up(folder / f"mnist_{part}_lmdb", (1, 28, 28))


def published_padded_cifar10(source: Path, folder: Path, seed: int) -> None:
    """CIFAR-10, and its training images with a border of four black pixels, for random crops; the means of both."""
    published_cifar10(source, folder, seed)
    _pad(folder)


def made_up_padded_cifar10(folder: Path) -> None:
    """A few images in the form of `published_padded_cifar10`."""
    made_up_cifar10(folder)
    _pad(folder)


def _pad(folder: Path) -> None:
    clear(folder, PADDED_CIFAR10[len(CIFAR10) :])
    padded = folder / "cifar10_pad4_train_lmdb"
    cc.pad_database(folder / "cifar10_train_lmdb", padded)
    cc.write_mean(folder / "mean_pad.binaryproto", cc.compute_mean(padded))


def published_imagenet(source: Path, folder: Path, seed: int) -> None:
    """ILSVRC2012 as `caffe-compat data imagenet` makes it, in the order of `seed`, and the mean of its training images.

    An interrupted call is gone on with by the next one.
    """
    cc.make_imagenet(source, folder, seed=seed - 1)
    cc.write_mean(folder / IMAGENET[2], cc.compute_mean(folder / IMAGENET[0]))


def made_up_imagenet(folder: Path) -> None:
    """A few images in ImageNet's form, and their mean."""
    for name in IMAGENET[:2]:
        make_up(folder / name, (3, 256, 256))
    cc.write_mean(folder / IMAGENET[2], cc.compute_mean(folder / IMAGENET[0]))


def hold_out_cifar10(folder: Path, images: int) -> None:
    """`hold_out` of CIFAR-10's training images."""
    train, test, mean = CIFAR10
    hold_out(folder, images, train, test, mean)


CIFAR10 = ("cifar10_train_lmdb", "cifar10_test_lmdb", "mean.binaryproto")
MNIST = ("mnist_train_lmdb", "mnist_test_lmdb")
PADDED_CIFAR10 = (*CIFAR10, "cifar10_pad4_train_lmdb", "mean_pad.binaryproto")
IMAGENET = ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb", "imagenet_mean.binaryproto")
