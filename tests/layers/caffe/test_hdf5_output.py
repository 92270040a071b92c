"""HDF5Output writes what Caffe writes, and goes on where Caffe stops."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.conftest import golden
from tests.layers.single import build


def _text(path: Path) -> str:
    return f'type: "HDF5Output" hdf5_output_param {{ file_name: "{path}" }}'


def test_the_file_has_caffes_datasets(tmp_path: Path) -> None:
    case = np.load(golden("formats", "hdf5", "output.npz"))
    data, label = torch.from_numpy(case["bottom_x"]), torch.from_numpy(case["bottom_l"])
    path = tmp_path / "output.h5"
    path.write_text("what stood here before")
    assert build(_text(path), tuple(data.shape), tuple(label.shape), tops=0)(data, label) == ()
    with h5py.File(path) as found, h5py.File(golden("formats", "hdf5", "output.h5")) as wanted:
        assert set(found) == set(wanted)
        for name in wanted:
            assert found[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(found[name], wanted[name])


def test_later_batches_are_added(tmp_path: Path) -> None:
    layer = build(_text(tmp_path / "output.h5"), (2, 3), (2,), tops=0)
    batches = [torch.rand(2, 3), torch.rand(2, 3), torch.rand(1, 3)]
    for batch in batches:
        layer(batch, batch[:, 0])
    with h5py.File(tmp_path / "output.h5") as file:
        np.testing.assert_array_equal(file["data"], torch.cat(batches)[:, :, None, None])
        np.testing.assert_array_equal(file["label"], torch.cat(batches)[:, :1, None, None])


@pytest.mark.parametrize(
    ("shape", "written"),
    [((), (1, 1, 1, 1)), ((3,), (3, 1, 1, 1)), ((3, 2, 5), (3, 2, 5, 1)), ((2, 3, 1, 2, 2), (2, 3, 1, 2, 2))],
)
def test_datasets_have_four_axes_or_more(tmp_path: Path, shape: tuple[int, ...], written: tuple[int, ...]) -> None:
    """The paper's fork wrote these shapes, and refused five axes."""
    build(_text(tmp_path / "output.h5"), shape, shape, tops=0)(torch.ones(shape), torch.ones(shape))
    with h5py.File(tmp_path / "output.h5") as file:
        assert file["data"].shape == file["label"].shape == written


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': hdf5_output_param\.file_name is missing"):
        build('type: "HDF5Output"', (2,), (2,), tops=0)
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms 'b0' \(2, 3\) and 'b1' \(3,\)"):
        build(_text(tmp_path / "o.h5"), (2, 3), (3,), tops=0)
    with pytest.raises(DataError, match="layer 'lay': cannot write"):
        build(_text(tmp_path / "none" / "o.h5"), (2, 3), (2,), tops=0)(torch.zeros(2, 3), torch.zeros(2))
