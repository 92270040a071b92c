"""ChannelNorm, NegReLU, Mean, Downsample; what FlowNet's layers refuse."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 6, 7)


def test_the_small_ones() -> None:
    x = torch.tensor([[[[3.0]], [[-4.0]]]])
    assert build('type: "ChannelNorm"', (1, 2, 1, 1))(x).tolist() == [[[[5]]]]
    assert build('type: "NegReLU" relu_param { negative_slope: 0.5 }', x.shape)(x).flatten().tolist() == [1.5, -4]
    fields = "operation: SUBTRACT value: 1 value: 2 input_scale: 2 mean_scale: 3 output_scale: 10"
    assert build(f'type: "Mean" mean_param {{ {fields} }}', x.shape)(x).flatten().tolist() == [30, -140]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': correlation_param needs max_displacement"):
        build('type: "Correlation"', SHAPE, SHAPE)
    with pytest.raises(ShapeError, match="layer 'lay': displacements of 9 do not fit"):
        build('type: "Correlation" correlation_param { max_displacement: 9 }', SHAPE, SHAPE)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 2, H, W\) behind"):
        build('type: "FlowWarp"', SHAPE, SHAPE)
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': mean_param needs value"):
        build('type: "Mean"', SHAPE)
