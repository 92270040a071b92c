"""Resample to another size."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 6, 7)


def test_another_size_is_built_and_does_not_run() -> None:
    layer = build('type: "Resample" resample_param { height: 9 width: 8 }', SHAPE)
    assert layer.top_shapes([SHAPE]) == [(2, 3, 9, 8)]
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': type Resample runs only where the size stays"):
        layer(torch.zeros(SHAPE))
    x = torch.randn(SHAPE)
    assert torch.equal(build('type: "Downsample"', SHAPE, SHAPE)(x, x), x)
