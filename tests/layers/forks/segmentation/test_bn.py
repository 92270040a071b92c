"""BN of the forks: with four blobs (segment networks, PSPNet) and with two (SegNet)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.net.params import learnable_params
from caffe_compat.net.weights import copy_weights
from tests.layers.single import build

SHAPE = (3, 2, 4, 5)


def _statistics(x: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean and biased variance of each channel, value by value."""
    means, variances = [], []
    for channel in range(x.shape[1]):
        values = [value for item in x[:, channel] for row in item for value in row.tolist()]
        mean = sum(values) / len(values)
        means.append(mean)
        variances.append(sum((value - mean) ** 2 for value in values) / len(values))
    return means, variances


def test_four_blobs_move_by_the_momentum_and_hold_the_biased_variance() -> None:
    text = 'type: "BN" bn_param { momentum: 0.75 eps: 0.5 slope_filler { value: 3 } bias_filler { value: -1 } }'
    layer = build(text, SHAPE, phase="TRAIN").double()
    assert layer.blob_shapes == [(1, 2, 1, 1)] * 4
    x = torch.randn(SHAPE, dtype=torch.float64) * 2 + 5
    means, variances = _statistics(x)
    y = layer(x)
    for channel, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        torch.testing.assert_close(y[:, channel], 3 * (x[:, channel] - mean) / (variance + 0.5) ** 0.5 - 1)
    assert layer.blobs[2].flatten().tolist() == pytest.approx([0.25 * mean for mean in means])
    assert layer.blobs[3].flatten().tolist() == pytest.approx([0.25 * variance for variance in variances])


@pytest.mark.parametrize(("frozen", "phase"), [(True, "TRAIN"), (False, "TEST")])
def test_stored_statistics_count_where_frozen_and_in_test(frozen: bool, phase: str) -> None:
    layer = build(f'type: "BN" bn_param {{ eps: 0 frozen: {str(frozen).lower()} }}', SHAPE, phase=phase).double()
    for blob, values in zip(layer.blobs, ([2.0, 1.0], [0.0, 1.0], [1.0, -1.0], [4.0, 9.0]), strict=True):
        blob.data.copy_(torch.tensor(values).view(1, 2, 1, 1))
    x = torch.randn(SHAPE, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(y[:, 0], 2 * (x[:, 0] - 1) / 2)
    torch.testing.assert_close(y[:, 1], (x[:, 1] + 1) / 3 + 1)
    learn = [param.lr_mult for param in learnable_params([layer])]
    assert learn == ([0, 0, 0, 0] if frozen else [1, 1, 0, 0])


def test_segnets_two_blobs_learn_from_the_batch_in_both_phases_and_give_its_statistics() -> None:
    layer = build('type: "BN" bn_param { scale_filler { value: 2 } }', SHAPE, tops=3, phase="TEST").double()
    x = torch.randn(SHAPE, dtype=torch.float64) + 3
    means, variances = _statistics(x)
    y, mean, var = layer(x)
    assert mean.shape == var.shape == (1, 2, 1, 1)
    assert mean.flatten().tolist() == pytest.approx(means)
    assert var.flatten().tolist() == pytest.approx(variances)
    torch.testing.assert_close(y[:, 1], 2 * (x[:, 1] - means[1]) / (variances[1] + 1e-9) ** 0.5)


def test_segnets_inference_only_scales_and_shifts() -> None:
    text = 'type: "BN" bn_param { bn_mode: INFERENCE scale_filler { value: 2 } shift_filler { value: 3 } }'
    layer = build(text, SHAPE)
    x = torch.randn(SHAPE)
    torch.testing.assert_close(layer(x), 2 * x + 3)
    assert [param.lr_mult for param in learnable_params([layer])] == [1, 1]


@pytest.mark.parametrize("shape", [(2,), (1, 2), (1, 2, 1, 1)])
def test_weights_fit_with_whatever_axes_of_one_their_fork_wrote(shape: tuple[int, ...]) -> None:
    layer = build('type: "BN"', SHAPE)
    copy_weights({"lay": layer}, {"lay": [np.full(shape, index, np.float32) for index in range(4)]})
    assert [blob.flatten().tolist() for blob in layer.blobs] == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': .* no axis 1"):
        build('type: "BN"', (3,))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': bn_param.moving_average is True"):
        build('type: "BN" bn_param { moving_average: true }', SHAPE)
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': bn_mode INFERENCE has no statistics"):
        build('type: "BN" bn_param { bn_mode: INFERENCE }', SHAPE, tops=2)
