"""Caffe's folders of examples, filled with real data, for prototxt files that name them."""

import shutil
from pathlib import Path

import pytest

import caffe_compat as cc


@pytest.fixture(scope="session")
def caffe_root(published: Path, cifar10: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples/cifar10 (LMDB, LevelDB, the mean) and examples/mnist (LMDB), as Caffe's own has them."""
    pytest.importorskip("plyvel")
    root = tmp_path_factory.mktemp("caffe")
    examples = root / "examples"
    shutil.copytree(cifar10, examples / "cifar10")
    cc.make_cifar10(published / "cifar10", examples / "cifar10", "LEVELDB")
    (examples / "mnist").mkdir()
    cc.make_mnist(published / "mnist", examples / "mnist")
    return root
