"""Convolution, Deconvolution and Im2col against plain loops over outputs, channels and taps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from tests.layers.single import build
from tests.reference.convolution import CONVOLUTIONS, convolve, deconvolve

DECONVOLUTIONS = {
    "odd sizes": ("kernel_size: 3", (2, 3, 4, 5), ((6, 7), [1, 1], [0, 0], [1, 1], 1)),
    "rectangular": (
        "kernel_h: 2 kernel_w: 5 stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 1",
        (1, 3, 4, 3),
        ((8, 9), [2, 3], [0, 1], [1, 1], 1),
    ),
    "groups": ("kernel_size: 3 stride: 2 group: 2", (2, 4, 3, 4), ((7, 9), [2, 2], [0, 0], [1, 1], 2)),
    "dilation": ("kernel_size: 3 dilation: 2 pad: 1", (1, 2, 4, 5), ((6, 7), [1, 1], [1, 1], [2, 2], 1)),
    "one axis": ("kernel_size: 4 stride: 3", (2, 3, 5), ((16,), [3], [0], [1], 1)),
    "three axes": ("kernel_size: 3 stride: 2 pad: 1", (1, 2, 2, 3, 2), ((3, 5, 3), [2] * 3, [1] * 3, [1] * 3, 1)),
}


def _layer(type_name: str, fields: str, shape: Shape, bottoms: int = 1) -> Layer:
    filler = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'
    text = f'type: "{type_name}" convolution_param {{ num_output: 4 {filler} {fields} }}'
    return build(text, *[shape] * bottoms, tops=bottoms)


def _random(shape: Shape) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_the_sum_over_its_window(name: str) -> None:
    fields, shape, geometry = CONVOLUTIONS[name]
    layer, x = _layer("Convolution", fields, shape).double(), _random(shape)
    weight, bias = (blob.detach().numpy() for blob in layer.blobs)
    expected = convolve(x.numpy(), weight, bias, *geometry)
    assert layer.top_shapes([shape]) == [expected.shape]
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-10, atol=1e-10)
    # float32 takes other code in torch; sums of some 50 products round to about 1e-6
    np.testing.assert_allclose(layer.float()(x.float()).detach(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DECONVOLUTIONS)
def test_deconvolution_adds_a_kernel_for_every_value(name: str) -> None:
    fields, shape, geometry = DECONVOLUTIONS[name]
    layer, x = _layer("Deconvolution", fields, shape).double(), _random(shape)
    weight, bias = (blob.detach().numpy() for blob in layer.blobs)
    expected = deconvolve(x.numpy(), weight, bias, *geometry)
    assert layer.top_shapes([shape]) == [expected.shape]
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("type_name", ["Convolution", "Deconvolution", "Im2col"])
def test_the_gradient_is_the_derivative(type_name: str) -> None:
    layer = _layer(type_name, "kernel_size: 3 stride: 2 pad: 1 dilation: 2", (1, 2, 5, 4)).double()
    assert torch.autograd.gradcheck(lambda x, *blobs: layer(x), (_random((1, 2, 5, 4)).requires_grad_(), *layer.blobs))


def test_axes_before_the_channels_are_batch_axes() -> None:
    layer = _layer("Convolution", "kernel_size: 3 axis: -3", (2, 3, 4, 6, 5))
    x = torch.randn(2, 3, 4, 6, 5)
    top = layer(x)
    assert layer.top_shapes([(2, 3, 4, 6, 5)]) == [tuple(top.shape)] == [(2, 3, 4, 4, 3)]
    plain = _layer("Convolution", "kernel_size: 3", (6, 4, 6, 5))
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(top.flatten(0, 1), plain(x.flatten(0, 1)))


def test_several_bottoms_share_the_weights() -> None:
    layer = _layer("Convolution", "kernel_size: 3", (2, 3, 5, 6), bottoms=2)
    x, z = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    first, second = layer(x, z)
    assert torch.equal(first, layer(x))
    assert torch.equal(second, layer(z))
    assert len(layer.blobs) == 2


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (2, 1, 6, 5)])
def test_planes_come_out_with_the_channels_innermost(shape: Shape) -> None:
    top = _layer("Convolution", "kernel_size: 3", shape)(torch.randn(shape))
    assert top.is_contiguous(memory_format=torch.channels_last)
    assert not top.is_contiguous()


def test_weights_have_caffes_shapes_and_bias_is_optional() -> None:
    shape = (1, 6, 9, 9)
    assert _layer("Convolution", "kernel_size: 3 kernel_size: 5 group: 2", shape).blob_shapes == [(4, 3, 3, 5), (4,)]
    assert _layer("Deconvolution", "kernel_size: 3 group: 2 bias_term: false", shape).blob_shapes == [(6, 2, 3, 3)]


def test_multiply_adds_are_counted() -> None:
    convolution = _layer("Convolution", "kernel_size: 3 group: 2", (2, 6, 7, 5))
    assert convolution.multiply_adds([(2, 6, 7, 5)], [(2, 4, 5, 3)]) == 2 * 4 * 5 * 3 * (6 // 2) * 9
    deconvolution = _layer("Deconvolution", "kernel_size: 3", (2, 6, 7, 5))
    assert deconvolution.multiply_adds([(2, 6, 7, 5)], [(2, 4, 9, 7)]) == 2 * 6 * 7 * 5 * 4 * 9


@pytest.mark.parametrize(
    ("fields", "shape", "error", "message"),
    [
        (
            "kernel_size: 3 group: 2",
            (1, 3, 5, 5),
            ShapeError,
            "the bottom's channels, 3, cannot be divided into group 2",
        ),
        ("kernel_size: 3 group: 3", (1, 3, 5, 5), ShapeError, "num_output, 4, cannot be divided into group 3"),
        ("kernel_size: 3 group: 0", (1, 3, 5, 5), UnsupportedParameterError, "num_output is 4 and group 0"),
        ("kernel_size: 3", (1, 3), UnsupportedParameterError, r"bottom \(1, 3\) has 0 axes behind axis 1; 1 to 3 work"),
        ("kernel_size: 3 axis: 4", (1, 3, 5, 5), ShapeError, r"axis 4 is out of range for a bottom of shape"),
    ],
)
def test_impossible_convolutions_are_named(fields: str, shape: Shape, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"layer 'lay': {message}"):
        _layer("Convolution", fields, shape)


def test_bottoms_that_do_not_fit_are_named() -> None:
    layer = _layer("Convolution", "kernel_size: 3", (1, 3, 5, 5), bottoms=2)
    with pytest.raises(ShapeError, match=r"bottom 1 is \(1, 3, 5, 6\), bottom 0 \(1, 3, 5, 5\); make them equal"):
        layer.top_shapes([(1, 3, 5, 5), (1, 3, 5, 6)])
    with pytest.raises(ShapeError, match="1 bottoms need as many tops, there are 2"):
        layer.top_shapes([(1, 3, 5, 5)])
    with pytest.raises(ShapeError, match="has 2 channels, the weights 3"):
        layer.top_shapes([(1, 2, 5, 5), (1, 2, 5, 5)])
