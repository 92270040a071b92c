"""HDF5 files that would unpack without bound are refused before they are unpacked."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffe_compat.errors import DataError
from caffe_compat.proto.hdf5_safety import Allowance, open_hdf5


def problem(path: Path) -> str:
    with h5py.File(path, "r") as file:
        return Allowance(path).problem(file["data"])


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"fletcher32": True}, {"compression_opts": 9}])
def test_deflated_values_are_read(tmp_path: Path, options: dict[str, object]) -> None:
    values = np.random.RandomState(0).rand(400, 1000).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=values, chunks=(100, 1000), compression="gzip", **options)
    assert problem(tmp_path / "a.h5") == ""


def test_a_chunk_that_unpacks_to_more_than_it_stands_for_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (1 << 20,), "f4", chunks=(1 << 20,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 27), 9))
    assert problem(tmp_path / "a.h5") == "has chunks of 4194304 bytes, one unpacks to more"


def test_values_deflated_twice_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((1 << 20,))
        plan.set_filter(1, 0, (9,))
        plan.set_filter(1, 0, (9,))
        space = h5py.h5s.create_simple((1 << 20,))
        data = h5py.h5d.create(file.id, b"data", h5py.h5t.IEEE_F32LE, space, plan)
        data.write_direct_chunk((0,), bytes(100_000))
    assert problem(tmp_path / "a.h5") == "is deflated more than once, which no writer of Caffe's data does"


@pytest.mark.parametrize("error", [OSError(5, "x"), RuntimeError("a\nb"), KeyError("k"), OverflowError(), ValueError()])
def test_whatever_the_library_raises_is_one_line_with_the_file(tmp_path: Path, error: Exception) -> None:
    with h5py.File(tmp_path / "a.h5", "w"):
        pass
    with (
        pytest.raises(DataError, match=r"a.h5: cannot be read as HDF5") as caught,
        open_hdf5(tmp_path / "a.h5", DataError),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_too_little_memory_and_ctrl_c_pass(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w"):
        pass
    for error in (MemoryError, KeyboardInterrupt):
        with pytest.raises(error), open_hdf5(tmp_path / "a.h5", DataError):
            raise error
