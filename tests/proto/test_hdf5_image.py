"""HDF5 on a disk that fills up: the file that stood there stays, nothing is left behind, and the process lives on."""

import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto import hdf5
from caffe_compat.proto.hdf5_image import Overlay, grown_hdf5, new_hdf5

WEIGHTS = {"a": (np.arange(5000, dtype=np.float32).reshape(50, 100), np.ones(50, np.float32))}


@contextmanager
def quota(size):
    """No file grows past `size` bytes within this block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)


def steps(whole):
    return [0, 1, 100, 2047, *range(4096, whole, max(4096, whole // 8)), whole - 1]


def test_weights_at_every_quota_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.caffemodel.h5"
    hdf5.write_weights(path, WEIGHTS)
    good, whole = path.read_bytes(), path.stat().st_size
    for size in steps(whole):
        with quota(size), pytest.raises(CaffeCompatError, match="File too large") as caught:
            hdf5.write_weights(path, {"a": (WEIGHTS["a"][0] + 1, WEIGHTS["a"][1])})
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        assert path.read_bytes() == good and os.listdir(tmp_path) == [path.name]
    with quota(whole):
        hdf5.write_weights(path, WEIGHTS)
    np.testing.assert_array_equal(hdf5.read_weights(path)["a"][0], WEIGHTS["a"][0])


def test_a_file_that_grows_keeps_what_it_had_at_every_quota(tmp_path):
    path = tmp_path / "grown.h5"
    values = np.random.default_rng(1).standard_normal((40000, 3))
    with new_hdf5(path) as file:
        file.create_dataset("a", data=values[:100], maxshape=(None, 3), chunks=(100, 3))
    small = path.stat().st_size

    def grow(count):
        with grown_hdf5(path) as file:
            file["a"].resize(count, axis=0)
            file["a"][100:] = values[100:count]

    for size in (0, 1, small, small + 1, small + 70000, 500000):
        before = path.read_bytes()
        with quota(size), pytest.raises(OSError):
            grow(40000)
        assert path.read_bytes() == before
    grow(40000)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["a"][:], values)


def test_an_overlay_reads_and_ends_as_the_same_writes_to_a_file(tmp_path):
    """Random writes, reads and cuts, against Python's own file."""
    random = np.random.default_rng(5)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(random.bytes(100_000))
    second.write_bytes(first.read_bytes())
    with first.open("rb+") as plain, second.open("rb+") as stored:
        overlay = Overlay(stored)
        for _ in range(200):
            place, count = int(random.integers(0, 300_000)), int(random.integers(0, 90_000))
            content = random.bytes(count)
            for file in (plain, overlay):
                file.seek(place)
                file.write(content)
            place = int(random.integers(0, 300_000))
            for file in (plain, overlay):
                file.seek(place)
            assert plain.read(70_000) == overlay.read(70_000)
        assert second.stat().st_size == 100_000
        overlay.apply()
    assert first.read_bytes() == second.read_bytes()


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 200 dim: 9 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 200 } } }
layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "label" hdf5_output_param { file_name: "out.h5" } }
"""


def test_hdf5_output_keeps_earlier_passes_where_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = cc.Net(cc.parse_text(NET, cc.NetParameter), phase="TEST")
    batches = [torch.randn(200, 9) for _ in range(3)]
    labels = torch.arange(200.0)
    net(data=batches[0], label=labels)
    for size in (0, 100, Path("out.h5").stat().st_size):
        with quota(size), pytest.raises(CaffeCompatError, match=r"layer 'out': cannot write 'out\.h5': File too large"):
            net(data=batches[1], label=labels)
    net(data=batches[2], label=labels)
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["data"][..., 0, 0], torch.cat([batches[0], batches[2]]).numpy())
    assert os.listdir() == ["out.h5"]
