"""BatchNorm of NVIDIA's and of Intel's fork against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.net.params import learnable_params
from tests.layers.single import build

SHAPE = (3, 2, 4, 5)


GAUSSIAN = "{ type: 'gaussian' std: 1 }"


@pytest.mark.parametrize("relu", [False, True])
def test_intels_batch_norm_is_caffes_with_scale_shift_and_relu(relu: bool) -> None:
    fields = f"use_weight_bias: true filler {GAUSSIAN} bias_filler {GAUSSIAN} relu: {str(relu).lower()}"
    layer = build(f'type: "BatchNorm" batch_norm_param {{ {fields} }}', SHAPE, phase="TRAIN").double()
    plain = build('type: "BatchNorm"', SHAPE, phase="TRAIN").double()
    x = torch.randn(SHAPE, dtype=torch.float64)
    scale, shift = (layer.blobs[index].detach().view(1, 2, 1, 1) for index in (3, 4))
    wanted = plain(x) * scale + shift
    torch.testing.assert_close(layer(x).detach(), wanted.relu() if relu else wanted)
    for found, known in zip(layer.blobs, plain.blobs, strict=False):
        assert torch.equal(found, known)
    assert [param.lr_mult for param in learnable_params([layer])] == [0, 0, 0, 1, 1]


def test_intels_relu_alone_keeps_a_scale_unless_told_otherwise() -> None:
    assert len(build('type: "BatchNorm" batch_norm_param { relu: true }', SHAPE).blobs) == 5
    assert len(build('type: "BatchNorm" batch_norm_param { relu: true bias_term: false }', SHAPE).blobs) == 4
    assert len(build('type: "BatchNorm" batch_norm_param { relu: true use_weight_bias: false }', SHAPE).blobs) == 3
    assert len(build('type: "BatchNorm" batch_norm_param { use_weight_bias: false }', SHAPE).blobs) == 3


def _statistics(x: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean and biased variance of each channel."""
    rows = [x[:, channel].flatten().tolist() for channel in range(x.shape[1])]
    means = [sum(row) / len(row) for row in rows]
    return means, [sum((v - m) ** 2 for v in row) / len(row) for row, m in zip(rows, means, strict=True)]


def test_nvidias_batch_norm_keeps_moving_statistics_with_eps_inside() -> None:
    fields = "scale_bias: true eps: 0.5 moving_average_fraction: 0.75 scale_filler { value: 2 } "
    fields += "bias_filler { value: 1 }"
    layer = build(f'type: "BatchNorm" batch_norm_param {{ {fields} }}', SHAPE, phase="TRAIN").double()
    assert [tuple(blob.shape) for blob in layer.blobs] == [(2,), (2,), (1,), (2,), (2,)]
    stored: list[list[float]] = [[], []]
    for step in range(4):
        x = torch.randn(SHAPE, dtype=torch.float64) * 2 + 3
        means, variances = _statistics(x)
        top = layer(x)
        for channel in range(2):
            wanted = 2 * (x[:, channel] - means[channel]) / (variances[channel] + 0.5) ** 0.5 + 1
            torch.testing.assert_close(top[:, channel].detach(), wanted)
        new = [means, [variance + 0.5 for variance in variances]]
        if step < 2:
            stored = new
        else:
            pairs = [zip(old, own, strict=True) for old, own in zip(stored, new, strict=True)]
            stored = [[0.75 * a + 0.25 * b for a, b in pair] for pair in pairs]
    assert layer.blobs[0].tolist() == pytest.approx(stored[0])
    assert layer.blobs[1].tolist() == pytest.approx(stored[1])
    assert layer.blobs[2].tolist() == [1]


def test_nvidias_batch_norm_uses_what_is_stored_in_test() -> None:
    layer = build('type: "BatchNorm" batch_norm_param { scale_bias: true eps: 0 }', SHAPE).double()
    for blob, value in zip(layer.blobs, (3.0, 4.0, 9.0, 5.0, 7.0), strict=True):
        blob.data.fill_(value)
    x = torch.randn(SHAPE, dtype=torch.float64)
    torch.testing.assert_close(layer(x).detach(), 5 * (x - 3) / (4 + 1e-5) ** 0.5 + 7)
