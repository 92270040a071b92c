"""BatchNorm's running statistics against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build
from tests.reference.normalization import channel_statistics

SHAPE = (3, 4, 2, 5)


BATCH_NORM = 'type: "BatchNorm" batch_norm_param { eps: 0.0625 moving_average_fraction: 0.75 }'


def _random(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)) * 2 + 1


@pytest.mark.parametrize("shape", [SHAPE, (5, 4), (2, 3, 4), (2, 3, 2, 2, 3)])
def test_batch_norm_in_train_standardizes_each_channel_of_the_batch(shape: tuple[int, ...]) -> None:
    x = _random(shape)
    top = build(BATCH_NORM, shape, phase="TRAIN").double()(x)
    means, variances = channel_statistics(x.numpy())
    for c, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        expected = (x[:, c] - mean) / math.sqrt(variance + 0.0625)
        torch.testing.assert_close(top[:, c], expected, rtol=1e-10, atol=1e-10)


def test_batch_norm_sums_statistics_that_fade_and_divides_them_by_the_factor() -> None:
    layer = build(BATCH_NORM, SHAPE, phase="TRAIN").double()
    count = 3 * 2 * 5
    mean_sum, variance_sum, factor = np.zeros(4), np.zeros(4), 0.0
    for seed in range(3):
        x = _random(SHAPE, seed)
        layer(x)
        means, variances = channel_statistics(x.numpy())
        mean_sum = np.array(means) + 0.75 * mean_sum
        variance_sum = np.array(variances) * count / (count - 1) + 0.75 * variance_sum
        factor = 1 + 0.75 * factor
    for blob, expected in zip(layer.blobs, (mean_sum, variance_sum, [factor]), strict=True):
        np.testing.assert_allclose(blob.detach(), expected, rtol=1e-10)

    test = build(BATCH_NORM, SHAPE, phase="TEST").double()
    test.load_state_dict(layer.state_dict())
    x = _random(SHAPE, 9)
    mean, variance = (torch.tensor(s / factor).view(1, 4, 1, 1) for s in (mean_sum, variance_sum))
    torch.testing.assert_close(test(x), (x - mean) / (variance + 0.0625).sqrt(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(test.blobs[0].detach(), mean_sum, rtol=1e-10)


def test_batch_norm_with_factor_zero_takes_mean_and_variance_as_zero() -> None:
    layer = build(BATCH_NORM, SHAPE).double()
    with torch.no_grad():
        layer.blobs[0].fill_(3)
        layer.blobs[1].fill_(5)
    x = _random(SHAPE)
    torch.testing.assert_close(layer(x), x / math.sqrt(0.0625))


@pytest.mark.parametrize(
    ("phase", "given", "uses_stored"),
    [("TRAIN", "", False), ("TEST", "", True), ("TRAIN", "true", True), ("TEST", "false", False)],
)
def test_the_phase_chooses_the_statistics_unless_the_prototxt_does(phase: str, given: str, uses_stored: bool) -> None:
    field = f"batch_norm_param {{ use_global_stats: {given} }}" if given else ""
    layer = build(f'type: "BatchNorm" {field}', SHAPE, phase=phase)
    layer(_random(SHAPE).float())
    assert (layer.blobs[2].item() == 0) is uses_stored


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_the_gradient_of_batch_norm_is_the_derivative_and_spares_its_blobs(phase: str) -> None:
    layer = build(BATCH_NORM, (3, 2, 2, 2), phase=phase).double()
    x = _random((3, 2, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).sum().backward()
    assert all(blob.grad is None for blob in layer.blobs)


def test_batch_norm_of_one_value_a_channel_stores_variance_zero() -> None:
    layer = build(BATCH_NORM, (1, 4), phase="TRAIN")
    assert torch.equal(layer(torch.ones(1, 4)), torch.zeros(1, 4))
    assert layer.blobs[1].tolist() == [0] * 4
    assert layer.blobs[0].tolist() == [1] * 4


def test_batch_norm_refuses_a_bottom_without_an_axis_for_channels() -> None:
    with pytest.raises(ShapeError, match=r"bottom \(5,\) has no axis 1"):
        build(BATCH_NORM, (5,), phase="TRAIN")


def test_batch_norm_of_one_value_a_channel_passes_no_gradient() -> None:
    x = _random((1, 3)).float().requires_grad_()
    build(BATCH_NORM, (1, 3), phase="TRAIN")(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_batch_norm_refuses_other_channels() -> None:
    with pytest.raises(ShapeError, match=r"bottom \(3, 5, 2\), wanted 4 channels"):
        build(BATCH_NORM, SHAPE).top_shapes([(3, 5, 2)])
