"""Local against plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def test_every_place_has_its_own_weights() -> None:
    text = (
        'type: "Local" local_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 '
        "weight_filler { type: 'gaussian' std: 1 } bias_filler { type: 'gaussian' std: 1 } }"
    )
    layer = build(text, SHAPE).double()
    assert [tuple(blob.shape) for blob in layer.blobs] == [(2, 1, 27, 6), (1, 1, 2, 6)]
    x = torch.randn(SHAPE, dtype=torch.float64)
    found = layer(x)
    assert found.shape == (2, 2, 3, 2)
    for n, o, h, w in itertools.product(range(2), range(2), range(3), range(2)):
        total = float(layer.blobs[1][0, 0, o, h * 2 + w].detach())
        for c, i, j in itertools.product(range(3), range(3), range(3)):
            y, z = h * 2 - 1 + i, w * 2 - 1 + j
            if 0 <= y < 5 and 0 <= z < 4:
                total += float(layer.blobs[0][o, 0, (c * 3 + i) * 3 + j, h * 2 + w].detach() * x[n, c, y, z])
        assert float(found[n, o, h, w].detach()) == pytest.approx(total)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': local_param has num_output 0"):
        build('type: "Local" local_param { kernel_size: 2 }', SHAPE)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*at least kernel_size 5"):
        build('type: "Local" local_param { num_output: 1 kernel_size: 5 }', SHAPE)
    layer = build('type: "Local" local_param { num_output: 1 kernel_size: 2 }', SHAPE)
    with pytest.raises(ShapeError, match="layer 'lay': a bottom of shape"):
        layer.top_shapes([(2, 3, 6, 4)])
