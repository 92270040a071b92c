"""Input, DummyData and MemoryData against what real Caffe gave, and by plain rules."""

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError
from tests.conftest import golden
from tests.layers.sources import golden_layer, layer_of

FORMATS = golden("formats")


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
    with pytest.raises(ShapeError, match=r"input_param\.shape is given 2 times; wanted once, or 3 times, one a top"):
        layer.top_shapes([])


def memory_layer():
    fields = "memory_data_param { batch_size: 3 channels: 2 height: 4 width: 5 }"
    return layer_of(f'name: "m" type: "MemoryData" top: "data" top: "label" {fields}')


def test_memory_data_equals_caffe():
    expected = np.load(FORMATS / "data" / "memory.npz")
    layer = golden_layer(FORMATS / "data" / "memory.prototxt")
    assert layer.fed and layer.top_shapes([]) == [(3, 2, 4, 5), (3,)]
    layer.set_arrays(expected["input_data"], expected["input_label"])
    assert not layer.fed
    for data, label in zip(expected["batches_data"], expected["batches_label"], strict=True):
        found = layer.next_batch()
        np.testing.assert_array_equal(found[0].numpy(), data)
        np.testing.assert_array_equal(found[1].numpy(), label.ravel())


def test_memory_data_refuses_part_of_a_batch():
    with pytest.raises(ShapeError, match=r"data \(4, 2, 4, 5\) with 4 labels; .* a multiple of batch_size 3"):
        memory_layer().set_arrays(np.zeros((4, 2, 4, 5)), np.zeros(4))


def test_memory_data_without_arrays_asks_for_them():
    with pytest.raises(DataError, match=r"layer 'm': .* data=\.\.\., label=\.\.\."):
        memory_layer().next_batch()
