"""BatchNorm's running statistics, Scale, Bias and MVN against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.normalization import channel_statistics, mean_variance

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


OPERANDS = [  # axis, num_axes, shape of the operand for a bottom of (2, 3, 4, 5)
    (1, 1, (3,)),
    (0, 2, (2, 3)),
    (2, -1, (4, 5)),
    (-1, 1, (5,)),
    (1, 0, ()),
    (0, -1, (2, 3, 4, 5)),
]


@pytest.mark.parametrize("second_bottom", [False, True])
@pytest.mark.parametrize("bias_term", [False, True])
@pytest.mark.parametrize(("axis", "axes", "operand_shape"), OPERANDS)
def test_scale_multiplies_the_axes_it_covers(
    axis: int, axes: int, operand_shape: tuple[int, ...], bias_term: bool, second_bottom: bool
) -> None:
    shape = (2, 3, 4, 5)
    fields = f"axis: {axis} num_axes: {axes} bias_term: {str(bias_term).lower()}"
    filler = 'filler { type: "gaussian" } bias_filler { type: "gaussian" }'
    shapes = [shape, operand_shape] if second_bottom else [shape]
    layer = build(f'type: "Scale" scale_param {{ {fields} {filler} }}', *shapes).double()
    x = _random(shape).requires_grad_()
    scale = _random(operand_shape, 1).requires_grad_() if second_bottom else layer.blobs[0]
    bottoms = (x, scale) if second_bottom else (x,)
    assert layer.blob_shapes == [operand_shape] * ((not second_bottom) + bias_term)
    top, first = layer(*bottoms), axis % 4
    for place in np.ndindex(*shape):
        at = place[first : first + len(operand_shape)]
        expected = x[place] * scale[at] + (layer.blobs[-1][at] if bias_term else 0)
        assert top[place].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("axis", "axes", "operand_shape"), OPERANDS)
def test_bias_adds_to_the_axes_it_covers(axis: int, axes: int, operand_shape: tuple[int, ...]) -> None:
    shape = (2, 3, 4, 5)
    layer = build(f'type: "Bias" bias_param {{ axis: {axis} num_axes: {axes} filler {{ type: "gaussian" }} }}', shape)
    x, first = _random(shape).float(), axis % 4
    top = layer(x)
    for place in np.ndindex(*shape):
        assert top[place] == x[place] + layer.blobs[0][place[first : first + len(operand_shape)]]
    two = build(f'type: "Bias" bias_param {{ axis: {axis} }}', shape, operand_shape)
    assert torch.equal(two(x, layer.blobs[0]), top)


@pytest.mark.parametrize("text", ['type: "Scale" scale_param { bias_term: true }', 'type: "Bias"'])
def test_the_gradient_of_scale_and_bias_is_the_derivative(text: str) -> None:
    layer = build(text, (2, 3, 2)).double()
    x = _random((2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *blobs: layer(x), (x, *layer.blobs))


def test_scale_starts_as_one_and_its_bias_as_zero() -> None:
    layer = build('type: "Scale" scale_param { bias_term: true }', (2, 3))
    assert [blob.tolist() for blob in layer.blobs] == [[1] * 3, [0] * 3]
    assert build('type: "Bias"', (2, 3)).blobs[0].tolist() == [0] * 3


@pytest.mark.parametrize(
    ("text", "shapes", "error", "message"),
    [
        (
            'type: "Scale"',
            [(2, 3, 4), (4,)],
            ShapeError,
            r"operand \(4,\) does not match bottom \(2, 3, 4\) from axis 1",
        ),
        ('type: "Bias"', [(2, 3), (3, 4)], ShapeError, r"operand \(3, 4\) does not match bottom \(2, 3\)"),
        ('type: "Scale" scale_param { num_axes: 3 }', [(2, 3)], ShapeError, "axis 1 and num_axes 3 reach past bottom"),
        ('type: "Scale" scale_param { num_axes: -2 }', [(2, 3)], UnsupportedParameterError, "num_axes is -2"),
    ],
)
def test_operands_that_do_not_fit_are_named(
    text: str, shapes: list[tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': {message}"):
        build(text, *shapes)


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4)])
def test_mvn_centres_each_plane_and_divides_by_std_plus_eps(shape: tuple[int, ...], across: bool, divide: bool) -> None:
    fields = f"across_channels: {str(across).lower()} normalize_variance: {str(divide).lower()} eps: 0.25"
    layer, x = build(f'type: "MVN" mvn_param {{ {fields} }}', shape), _random(shape)
    planes = x.reshape(*shape, *[1] * (4 - len(shape)))
    expected = mean_variance(planes.numpy(), across, divide, 0.25)  # of 4 axes, as Caffe's top always is
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        layer(planes.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-10, atol=1e-12
    )


def test_the_gradient_of_mvn_is_the_derivative_without_eps_and_leaves_eps_out_with_it() -> None:
    x = _random((2, 2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(build('type: "MVN" mvn_param { eps: 0 }', (2, 2, 3, 2)), (x,))
    # with eps the gradient is that of eps 0 times std / (std + eps), where the top's own scale is allowed for
    diff = _random((2, 2, 3, 2), 1)
    (gradient,) = torch.autograd.grad(build('type: "MVN" mvn_param { eps: 0.5 }', (2, 2, 3, 2))(x), x, diff)
    for index in np.ndindex(2, 2):
        plane, g = x[index].detach().flatten(), diff[index].flatten()
        std = (plane - plane.mean()).square().mean().sqrt()
        y = (plane - plane.mean()) / (std + 0.5)
        expected = (g - g.mean() - y * (y * g).mean()) / (std + 0.5)
        torch.testing.assert_close(gradient[index].flatten(), expected)
    with pytest.raises(ShapeError, match="more than Caffe's 4 axes"):
        build('type: "MVN"', (1, 1, 1, 1, 1))
