"""Source layers against batches that real Caffe read, and by plain rules."""

import copy
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from google.protobuf import text_format

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers import source  # noqa: F401  registers the layers
from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter, NetParameter
from tests.conftest import golden

FORMATS = golden("formats")


def layer_of(text, phase="TRAIN", folder=None):
    layer = create_layer(text_format.Parse(text, LayerParameter()), Context(phase=phase, folder=folder))
    layer.setup([])
    return layer


def golden_layer(path, phase="TEST"):
    net = text_format.Parse(path.read_text(), NetParameter())
    layer = create_layer(net.layer[0], Context(phase=phase, folder=path.parent))
    layer.setup([])
    return layer


@pytest.fixture
def in_formats(monkeypatch):
    monkeypatch.chdir(FORMATS)


@pytest.mark.parametrize("name", ["dummydata", "dummydata_legacy", "dummydata_default"])
def test_dummy_data_equals_caffe(name):
    expected = np.load(golden("layers", f"{name}.npz"))
    layer = golden_layer(golden("layers", f"{name}.prototxt"))
    batch = layer.next_batch()
    for top, value, shape in zip(layer.param.top, batch, layer.top_shapes([]), strict=True):
        np.testing.assert_array_equal(value.numpy(), expected[f"top_{top}"])
        assert value.shape == shape and value.dtype == torch.float32


def test_input_declares_one_shape_for_all_tops_or_one_each():
    one = layer_of('name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } }')
    each = layer_of('name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } shape { dim: 5 } }')
    assert one.top_shapes([]) == [(2, 3), (2, 3)] and each.top_shapes([]) == [(2,), (5,)]
    assert one.fed
    with pytest.raises(DataError, match=r"layer 'i': .* give them by name: a=..., b=..."):
        one.next_batch()


def test_input_with_another_number_of_shapes_is_refused():
    layer = layer_of('name: "i" type: "Input" top: "a" top: "b" top: "c" input_param { shape {} shape {} }')
    with pytest.raises(ShapeError, match="input_param.shape is given 2 times; wanted 1, or 3"):
        layer.top_shapes([])


def test_forward_passes_tops_on_as_float():
    layer = layer_of('name: "i" type: "Input" top: "a" top: "b"')
    passed = layer(torch.arange(3), torch.ones(2, dtype=torch.float64))
    assert [top.dtype for top in passed] == [torch.float32] * 2
    assert [top.dtype for top in layer.double()(torch.arange(3), torch.ones(2))] == [torch.float64] * 2


def test_hdf5_data_equals_caffe_through_three_files_and_round_again(in_formats):
    expected = np.load("data/hdf5_multi.npz")
    layer = golden_layer(Path("data/hdf5_multi.prototxt"))
    for index in range(len(expected["batches_data"])):
        for top, value in zip(layer.param.top, layer.next_batch(), strict=True):
            np.testing.assert_array_equal(value.numpy(), expected[f"batches_{top}"][index])


def hdf5_set(folder, rows=(4, 3), names=("data", "label")):
    row = 0
    for index, count in enumerate(rows):
        with h5py.File(folder / f"part{index}.h5", "w") as file:
            for name in names:
                file[name] = np.arange(row, row + count, dtype=np.float32).reshape(-1, 1)
        row += count
    (folder / "list.txt").write_text("".join(f"part{index}.h5\n" for index in range(len(rows))))
    return 'name: "h" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 2 %s }'


def test_hdf5_list_beside_the_net_is_found_from_another_working_directory(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    assert layer.next_batch()[0].flatten().tolist() == [0, 1]


def test_hdf5_shuffle_visits_every_row_once_a_pass_in_a_new_order(tmp_path):
    layer = layer_of(hdf5_set(tmp_path, rows=(4, 6)) % "shuffle: true", folder=tmp_path)
    passes = [torch.cat([layer.next_batch()[0] for _ in range(5)]).flatten().tolist() for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(10))
    assert passes[0] != passes[1]


def test_seek_gives_the_same_batches_again(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "shuffle: true", folder=tmp_path)
    first = [layer.next_batch()[0] for _ in range(9)]
    layer.seek(3)
    assert layer.cursor == 3
    for batch in first[3:]:
        assert torch.equal(layer.next_batch()[0], batch)


def test_copies_and_pickles_go_on_where_the_layer_stood(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    layer.next_batch()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.next_batch()[0].flatten().tolist() == [2, 3]


def test_a_forked_child_reads_for_itself(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    layer.next_batch()
    child = os.fork()
    if child == 0:
        os._exit(0 if layer.next_batch()[0].flatten().tolist() == [2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_hdf5_dataset_missing_names_it_and_what_is_there(tmp_path):
    text = hdf5_set(tmp_path, names=("images", "label")) % ""
    with pytest.raises(DataError, match=r"part0.h5: no dataset 'data'; .* it has images, label"):
        layer_of(text, folder=tmp_path).next_batch()


def test_hdf5_list_missing_names_layer_and_places():
    with pytest.raises(DataError, match=r"layer 'h': 'gone.txt' is not in /"):
        layer_of('name: "h" type: "HDF5Data" top: "d" hdf5_data_param { source: "gone.txt" batch_size: 1 }').batches


def test_hdf5_file_missing_from_the_list_is_named(tmp_path):
    text = hdf5_set(tmp_path) % ""
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(DataError, match=r"list.txt: 'part1.h5' is not in "):
        layer_of(text, folder=tmp_path).next_batch()


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    text = hdf5_set(tmp_path) % ""
    (tmp_path / "part1.h5").write_bytes(b"no hdf5")
    with pytest.raises(DataError, match=r"part1.h5: cannot be read as HDF5"):
        layer_of(text, folder=tmp_path).next_batch()
