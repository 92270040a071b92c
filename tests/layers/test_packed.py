"""Which layers packed modules stand for; what they compute is in tests/net/test_prepared.py."""

import pytest
import torch
from torch.nn import functional as F

from caffe_compat.layers import packed
from caffe_compat.layers.packed import can_be_packed
from tests.layers.single import build


@pytest.mark.parametrize(
    ("text", "shape", "packs"),
    [
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3), True),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3, 3), False),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 axis: 2 }', (1, 2, 3, 3, 3), False),
        ('type: "InnerProduct" inner_product_param { num_output: 2 }', (1, 2, 3, 3), True),
        ('type: "InnerProduct" inner_product_param { num_output: 2 axis: 2 }', (1, 2, 3, 3), False),
        ('type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3), False),
    ],
)
def test_banks_over_the_channels_of_images_are_packed(text, shape, packs):
    assert can_be_packed(build(text, shape)) == packs


BANK = 'type: "Convolution" convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} {more} }}'


@pytest.mark.parametrize(
    ("few", "kernels"), [(0, "off"), (1 << 30, "off"), (0, "on")], ids=["by oneDNN", "as a product", "by a loop"]
)
@pytest.mark.parametrize(
    ("outputs", "kernel", "stride", "more"),
    [
        pytest.param(7, 1, 1, "", id="one value"),
        pytest.param(7, 1, 1, "bias_term: false", id="no bias"),
        pytest.param(7, 1, 2, "", id="every second pixel"),
        pytest.param(6, 1, 1, "group: 3", id="groups"),
        pytest.param(5, 3, 1, "pad: 1", id="windows"),
        pytest.param(5, 1, 1, "pad: 1", id="a pad"),
    ],
)
@pytest.mark.parametrize("slope", [None, 0.0, 0.1])
def test_each_way_is_the_convolution_and_what_follows_it(
    few, kernels, outputs, kernel, stride, more, slope, monkeypatch
):
    """In float64 by torch itself; two shapes of bottoms, with a second one to be added and without."""
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", kernels)
    monkeypatch.setattr(packed, "_FEW", few)
    monkeypatch.setattr(packed, "_LEAST_WORK", 0)
    torch.manual_seed(1)
    layer = build(BANK.format(outputs=outputs, kernel=kernel, stride=stride, more=more), (2, 9, 5, 6))
    for blob in layer.blobs:
        torch.nn.init.normal_(blob)
    module = packed.packed(layer, [], slope)
    weight, bias = layer.blobs[0].double(), layer.blobs[1].double() if len(layer.blobs) > 1 else None
    windows, group = layer.windows, layer.group
    with torch.no_grad():
        for shape in ((2, 9, 5, 6), (1, 9, 4, 3), (1, 9, 4, 9)):
            bottom = torch.randn(shape)
            wanted = F.conv2d(bottom.double(), weight, bias, windows.stride, windows.pad, 1, group)
            other = torch.randn(wanted.shape)
            for added in (None, other, None):
                total = wanted if added is None else wanted + added.double()
                total = total if slope is None else F.leaky_relu(total, slope)
                found = module(bottom) if added is None else module(bottom, added)
                torch.testing.assert_close(found.double(), total, rtol=1e-5, atol=1e-5)
                assert found.is_contiguous(memory_format=torch.channels_last)
