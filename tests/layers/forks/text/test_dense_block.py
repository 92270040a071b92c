"""DenseBlock against the layers that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 4, 5)
FILLERS = "Filter_Filler { type: 'gaussian' } BN_Scaler_Filler { type: 'gaussian' } BN_Bias_Filler { type: 'gaussian' }"


def _normalized(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """By the batch's own statistics, the variance divided by one less than the number of values."""
    top = torch.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        top[:, c] = (values - values.mean()) / (values.var() + 1e-5).sqrt() * scale[0, c] + bias[0, c]
    return top


def test_a_narrow_block_normalises_twice_and_stacks_channels() -> None:
    text = f'type: "DenseBlock" denseblock_param {{ numTransition: 2 growthRate: 2 use_BC: true {FILLERS} }}'
    layer = build(text, SHAPE, phase="TRAIN").double()
    blobs = [blob.detach() for blob in layer.blobs]
    assert [tuple(blob.shape) for blob in blobs[:4]] == [(2, 8, 3, 3), (2, 8, 3, 3), (1, 3, 1, 1), (1, 5, 1, 1)]
    assert len(blobs) == 21
    x = wanted = torch.randn(SHAPE, dtype=torch.float64)
    for step in range(2):
        y = _normalized(wanted, blobs[2 + step], blobs[4 + step]).relu()
        y = _normalized(functional.conv2d(y, blobs[10 + step]), blobs[12 + step], blobs[14 + step]).relu()
        wanted = torch.cat((wanted, functional.conv2d(y, blobs[step], padding=1)), 1)
    top = layer(x)
    assert top.shape == layer.top_shapes([SHAPE])[0] == (2, 7, 4, 5)
    torch.testing.assert_close(top.detach(), wanted)


def test_in_test_stored_statistics_are_divided_by_the_factor() -> None:
    layer = build(f'type: "DenseBlock" denseblock_param {{ numTransition: 1 growthRate: 2 {FILLERS} }}', SHAPE).double()
    filters, scale, bias, mean, var, factor = (blob.data for blob in layer.blobs)
    mean.fill_(3)
    var.fill_(8)
    factor.fill_(2)
    x = torch.randn(SHAPE, dtype=torch.float64)
    y = ((x - 1.5) / (4 + 1e-5) ** 0.5 * scale + bias).relu()
    wanted = torch.cat((x, functional.conv2d(y, filters, padding=1)), 1)
    torch.testing.assert_close(layer(x).detach(), wanted)
    assert layer.fixed_blobs == (3, 4, 5)


def test_training_moves_the_statistics() -> None:
    text = f"numTransition: 1 growthRate: 2 moving_average_fraction: 0.5 {FILLERS}"
    layer = build(f'type: "DenseBlock" denseblock_param {{ {text} }}', SHAPE, phase="TRAIN").double()
    x = torch.randn(SHAPE, dtype=torch.float64)
    layer(x)
    assert layer.blobs[5].item() == 1
    torch.testing.assert_close(layer.blobs[3].flatten().detach(), torch.stack([x[:, c].mean() for c in range(3)]))
    torch.testing.assert_close(layer.blobs[4].flatten().detach(), torch.stack([0.5 + x[:, c].var() for c in range(3)]))


def test_its_own_dropout_is_refused() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': denseblock_param.use_dropout"):
        build('type: "DenseBlock" denseblock_param { use_dropout: true dropout_amount: 0.5 }', SHAPE)
