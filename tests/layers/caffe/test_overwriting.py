"""Forward passes in one array, against plain loops that write and read it as Caffe's do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.layers.base import Context
from caffe_compat.layers.caffe.overwriting import destroying_forward_of
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text

SHAPE = (2, 4, 3, 2)


def run(kind, fields, *inputs):
    bottoms = " ".join(f'bottom: "x{k}"' for k in range(len(inputs)))
    text = f'name: "l" type: "{kind}" {bottoms} top: "x0" {fields}'
    layer = create_layer(parse_text(text, LayerParameter, "l"), Context())
    layer.setup([SHAPE] * len(inputs))
    return destroying_forward_of(layer)(layer, *(torch.from_numpy(x) for x in inputs)).numpy()


@pytest.fixture
def arrays():
    random = np.random.default_rng(5)
    return [random.normal(size=SHAPE) for _ in range(3)]


def test_a_sum_in_place_is_set_to_zero_before_it_adds_itself(arrays):
    array = arrays[0].copy()
    array[:] = 0
    for coefficient, source in zip((2, -1, 0.5), (array, *arrays[1:]), strict=True):
        array += coefficient * source
    np.testing.assert_allclose(run("Eltwise", "eltwise_param { coeff: 2 coeff: -1 coeff: 0.5 }", *arrays), array)


def test_a_maximum_in_place_forgets_its_first_bottom(arrays):
    found = run("Eltwise", "eltwise_param { operation: MAX }", *arrays)
    np.testing.assert_array_equal(found, np.maximum(arrays[1], arrays[2]))


def test_lrn_in_place_multiplies_its_power_by_itself(arrays):
    x = arrays[0]
    scale = np.full(SHAPE, 1.5)
    for c in range(4):
        for other in range(max(0, c - 1), min(4, c + 2)):
            scale[:, c] += 0.6 / 3 * x[:, other] ** 2
    array = scale**-0.75
    array *= array
    found = run("LRN", "lrn_param { local_size: 3 alpha: 0.6 beta: 0.75 k: 1.5 }", x)
    np.testing.assert_allclose(found, array, rtol=1e-6)


def test_average_pooling_in_place_averages_zeros(arrays):
    assert not run("Pooling", "pooling_param { pool: AVE kernel_size: 3 pad: 1 }", arrays[0]).any()


def test_a_product_keeps_its_bottom_in_place():
    text = 'name: "l" type: "Eltwise" bottom: "x" bottom: "y" top: "x" eltwise_param { operation: PROD }'
    assert destroying_forward_of(create_layer(parse_text(text, LayerParameter, "l"), Context())) is None


@pytest.mark.parametrize("transpose", [False, True])
def test_an_inner_product_in_place_is_of_zeros_unless_its_weight_lies_transposed(transpose):
    """Measured with gemm of OpenBLAS 0.3.31 (SkylakeX), result and first factor in one array, 3 to 16 columns."""
    text = 'name: "l" type: "InnerProduct" bottom: "x" top: "x" inner_product_param { num_output: 3 transpose: %s }'
    layer = create_layer(parse_text(text % str(transpose).lower(), LayerParameter, "l"), Context())
    layer.setup([(2, 3)])
    weight = torch.arange(9.0).view(3, 3)
    with torch.no_grad():
        layer.blobs[0].copy_(weight)
        layer.blobs[1].copy_(torch.tensor([1.0, 2.0, 3.0]))
        found = destroying_forward_of(layer)(layer, torch.ones(2, 3))
    product = torch.ones(2, 3) @ weight if transpose else torch.zeros(2, 3)
    assert torch.equal(found, product + torch.tensor([1.0, 2.0, 3.0]))
