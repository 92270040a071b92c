"""Depthwise convolutions: every channel by its own kernel."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("DepthwiseConvolution", "num_output: 4 group: 4"),
        ("ConvolutionDepthwise", "num_output: 4"),
        ("ConvolutionDepthwise", ""),
    ],
)
def test_every_channel_has_its_own_kernel(kind: str, fields: str) -> None:
    fields += ' kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "xavier" }'
    layer = build(f'type: "{kind}" convolution_param {{ {fields} }}', (2, 4, 7, 6))
    assert [tuple(blob.shape) for blob in layer.blobs] == [(4, 1, 3, 3), (4,)]
    x = torch.randn(2, 4, 7, 6)
    y = layer(x)
    assert y.shape == (2, 4, 4, 3)
    for c in range(4):
        wanted = torch.nn.functional.conv2d(x[:, c : c + 1], layer.blobs[0][c : c + 1], layer.blobs[1][c : c + 1], 2, 1)
        torch.testing.assert_close(y[:, c : c + 1], wanted)
