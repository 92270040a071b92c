"""Dilation and pooling as Intel's fork spells them."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build

SHAPE = (3, 2, 4, 5)


def test_dilation_of_height_and_width() -> None:
    text = 'type: "Convolution" convolution_param {{ num_output: 1 kernel_size: 2 {} }}'
    layer = build(text.format("dilation_h: 3 dilation_w: 1"), SHAPE)
    assert layer.top_shapes([SHAPE]) == build(text.format("dilation: 3 dilation: 1"), SHAPE).top_shapes([SHAPE])


@pytest.mark.parametrize("stride", [1, 2])
def test_averages_without_their_pad(stride: int) -> None:
    fields = f"pool: AVE kernel_size: 3 pad: 1 stride: {stride} avg_include_pad: false"
    x = torch.randn(1, 1, 6, 4, dtype=torch.float64)
    top = build(f'type: "Pooling" pooling_param {{ {fields} }}', (1, 1, 6, 4))(x)
    for i in range(top.shape[2]):
        for j in range(top.shape[3]):
            rows = range(max(i * stride - 1, 0), min(i * stride + 2, 6))
            columns = range(max(j * stride - 1, 0), min(j * stride + 2, 4))
            values = [x[0, 0, row, column].item() for row in rows for column in columns]
            assert top[0, 0, i, j].item() == pytest.approx(sum(values) / len(values))
