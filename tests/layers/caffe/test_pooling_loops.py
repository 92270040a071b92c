"""Pooling by compiled loops against plain loops over the windows, and to the bit against torch's way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from caffe_compat.layers.caffe.pooling import make_plan
from caffe_compat.layers.caffe.pooling_loops import average_by_loop, max_by_loop
from caffe_compat.layers.windows import Windows
from tests.kernels.switch import needs_loops, other_defaults
from tests.layers.caffe.test_pooling import _is_sound, _text, _values, pools
from tests.layers.single import build
from tests.reference.pooling import FLT_MAX, Pool

pytestmark = needs_loops

SHAPES = [
    ((2, 16, 7, 9), "kernel_size: 3 stride: 2"),
    ((1, 35, 6, 6), "kernel_size: 3 stride: 1 pad: 1"),
    ((3, 17, 8, 5), "kernel_size: 2 stride: 2 round_mode: FLOOR"),
    ((1, 24, 9, 7), "kernel_h: 5 kernel_w: 2 stride: 3 pad_h: 4 pad_w: 1"),
    ((2, 32, 7, 7), "global_pooling: true"),
    ((2, 64, 40, 30), "kernel_size: 3 stride: 2 pad: 1"),  # enough for two threads
]


def _wide(values: Tensor, channels: int = 18) -> Tensor:
    """Two channels of values, again and again."""
    return values.repeat(1, channels // 2, 1, 1).contiguous(memory_format=torch.channels_last)


@settings(max_examples=25, deadline=None)
@given(pools())
def test_windows_are_those_of_plain_loops(case: tuple[Pool, tuple[int, int]]) -> None:
    pool, size = case
    if not _is_sound(pool, size):
        return
    x = _values((2, 2, *size))
    diff = _values((2, 2, *pool.output(size)), 1)
    plan = make_plan("lay", size, Windows(pool.kernel, pool.stride, pool.pad, (1, 1)), pool.ceil)
    bottom = _wide(x).requires_grad_()
    most, mean = max_by_loop(bottom, plan), average_by_loop(bottom, plan)
    assert torch.equal(most, max_by_loop(_wide(x), plan)) and torch.equal(mean, average_by_loop(_wide(x), plan))
    _assert_equal(most, pool.maximum(x.numpy())[0])
    _assert_equal(_gradient(most, bottom, _wide(diff)), pool.maximum_gradient(x.numpy(), diff.numpy()))
    # sums of integers are exact in float32, the division and the sum of quotients round
    _assert_equal(mean, pool.average(x.numpy()), 1e-6)
    _assert_equal(_gradient(mean, bottom, _wide(diff)), pool.average_gradient(x.numpy(), diff.numpy()), 1e-5)


def _assert_equal(found: Tensor, expected: np.ndarray, tolerance: float = 0.0) -> None:
    wanted = _wide(torch.from_numpy(expected)).float()
    torch.testing.assert_close(found.detach(), wanted, rtol=tolerance, atol=tolerance)


def _gradient(top: Tensor, bottom: Tensor, diff: Tensor, **how: bool) -> Tensor:
    return torch.autograd.grad(top, bottom, diff, retain_graph=True, **how)[0]


def _passes(layer: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    bottom = x.clone(memory_format=torch.preserve_format).requires_grad_()
    top = layer(bottom)
    return top.detach(), _gradient(top, bottom, torch.linspace(-1, 1, top.numel()).view(top.shape))


def _random(shape: tuple[int, ...]) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("shape", "fields"), SHAPES)
@pytest.mark.parametrize("method", ["MAX", "AVE", "AVE avg_include_pad: false"])
def test_both_ways_give_the_same_bits(method, shape, fields, monkeypatch):
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} {fields} }}', shape)
    x = _random(shape)
    inference, (top, gradient) = layer(x), _passes(layer, x)
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    assert torch.equal(inference, layer(x))
    wanted, below = _passes(layer, x)
    assert torch.equal(top, wanted)
    if layer.plan(shape).ceil_mode is None:  # where torch divides once for all windows
        torch.testing.assert_close(gradient, below, rtol=1e-6, atol=1e-6)
    else:
        assert torch.equal(gradient, below)
    for images in (inference, top, gradient):
        assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("shape", "fields"), SHAPES)
@pytest.mark.parametrize(("method", "rectified"), [("MAX", "before"), ("MAX", "behind"), ("AVE", "before")])
@pytest.mark.parametrize("kernels", ["on", "off"])
def test_a_relu_before_or_behind_is_the_same_as_one_apart(kernels, method, rectified, shape, fields, monkeypatch):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", kernels)
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} {fields} }}', shape)
    x = _random(shape).sub_(1)
    x[0, 0, :3, :3] = math.nan
    x[0, 1, :3, :3] = -math.inf
    x[0, 2, :3, :3] = 0.0
    relu = torch.nn.ReLU()
    apart = torch.nn.Sequential(relu, layer) if rectified == "before" else torch.nn.Sequential(layer, relu)
    inference, (top, gradient) = apart(x), _passes(apart, x)
    layer.rectified = rectified
    torch.testing.assert_close(layer(x), inference, rtol=0, atol=0, equal_nan=True)
    found, below = _passes(layer, x)
    torch.testing.assert_close(found, top, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(below, gradient, rtol=0, atol=0)


@pytest.mark.parametrize(("shape", "fields"), [SHAPES[0], SHAPES[3]])
@pytest.mark.parametrize(("method", "rectified"), [("MAX", "no"), ("MAX", "behind"), ("AVE", "no"), ("AVE", "before")])
def test_second_derivatives_and_batches_of_gradients_are_left_to_torch(method, rectified, shape, fields):
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} {fields} }}', shape)
    layer.rectified = rectified
    bottom = _random(shape).requires_grad_()
    top = layer(bottom)
    diffs = torch.randn(3, *top.shape)
    first = torch.stack([_gradient(top, bottom, diff) for diff in diffs])
    torch.testing.assert_close(_gradient(top, bottom, diffs, is_grads_batched=True), first)
    diff = diffs[0].clone().requires_grad_()
    again = _gradient(top, bottom, diff, create_graph=True)
    torch.testing.assert_close(again.detach(), first[0])
    # the gradient is linear in that of the top: its derivative the other way is the pass forward
    along = torch.randn(shape)
    (product,) = torch.autograd.grad(again, diff, along)
    torch.testing.assert_close((product * diff).sum(), (again * along).sum(), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_many_images_is_that_of_a_few_at_a_time():
    layer = build('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', (16, 32, 50, 50))
    x = _random((16, 32, 50, 50)).requires_grad_()
    diff = torch.randn(16, 32, 25, 25)
    whole = _gradient(layer(x), x, diff)
    parts = [_gradient(layer(x[at : at + 4]), x, diff[at : at + 4])[at : at + 4] for at in range(0, 16, 4)]
    assert torch.equal(whole, torch.cat(parts))


def test_maxima_keep_a_byte_each_and_averages_nothing():
    for method, kept in (("MAX", 4 * 4 * 16), ("AVE", 0)):
        layer = build(f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 2 stride: 2 }}', (1, 16, 8, 8))
        found: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, to=found: to.append(x.nbytes) or x, lambda x: x):
            layer(_random((1, 16, 8, 8)).requires_grad_())
        assert sum(found) == kept


def test_windows_of_more_places_than_a_byte_has_are_left_to_torch():
    layer = build('type: "Pooling" pooling_param { kernel_size: 16 }', (1, 16, 18, 18))
    bottom = _random((1, 16, 18, 18))
    assert max_by_loop(bottom, layer.plan(bottom.shape)) is not None
    assert max_by_loop(bottom.requires_grad_(), layer.plan(bottom.shape)) is None


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_threads_change_no_bit(method):
    x, threads = _random((3, 48, 20, 30)), torch.get_num_threads()
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 3 stride: 2 }}', tuple(x.shape))
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(_passes(layer, x))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for each in found[1:] for one, other in zip(found[0], each, strict=True))


def test_a_nan_never_wins_and_minus_infinity_gives_the_least_float() -> None:
    x = torch.full((1, 2, 6, 6), -math.inf)
    x[0, 0, 3:, 3:] = torch.arange(9.0).view(3, 3)
    x[0, 0, 5, 5] = x[0, 0, 0, 0] = x[0, 1, 3, 3] = math.nan
    x[0, 1, 0, 0] = math.inf
    pool = Pool((3, 3), (3, 3), (2, 2))
    top = build(_text("MAX", pool), (1, 18, 6, 6))(_wide(x))
    assert torch.equal(top, _wide(torch.from_numpy(pool.maximum(x.numpy())[0])).float())
    assert top.min() == -FLT_MAX


def test_a_zero_keeps_its_sign() -> None:
    x = torch.tensor([[[[0.0, -0.0]], [[-0.0, 0.0]]]])  # the first of equal values is the maximum
    top = build('type: "Pooling" pooling_param { kernel_h: 1 kernel_w: 2 }', (1, 18, 1, 2))(_wide(x))
    assert np.signbit(top.numpy()).ravel().tolist() == [False, True] * 9


@pytest.mark.parametrize(("shape", "fields"), SHAPES)
def test_a_top_may_be_some_channels_of_larger_images(shape, fields):
    batch, channels = shape[:2]
    layer = build(f'type: "Pooling" pooling_param {{ {fields} }}', shape)
    x, plan = torch.randn(shape).contiguous(memory_format=torch.channels_last), layer.plan(shape)
    for by_loop in (max_by_loop, average_by_loop):
        whole = torch.full((batch, channels + 9, *plan.output), 7.0).contiguous(memory_format=torch.channels_last)
        part = whole[:, 5 : 5 + channels]
        assert by_loop(x, plan, top=part) is part
        assert torch.equal(part, by_loop(x, plan))
        assert (whole[:, :5] == 7).all() and (whole[:, 5 + channels :] == 7).all()


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_the_types_that_a_user_sets_for_new_tensors_do_not_matter(method):
    shape, fields = SHAPES[1]
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} {fields} }}', shape)
    bottom = _random(shape).requires_grad_()
    diff, again = torch.ones(layer.top_shapes([shape])[0]), torch.ones(shape)

    def derivatives() -> list[Tensor]:
        top = layer(bottom)
        slope = diff.clone().requires_grad_()
        (below,) = torch.autograd.grad(top, bottom, slope, create_graph=True)
        return [layer(bottom.detach()), top, below, *torch.autograd.grad(below, slope, again)]

    wanted = derivatives()
    with other_defaults():
        found = derivatives()
    assert all(mine.dtype == torch.float32 and torch.equal(mine, its) for mine, its in zip(found, wanted, strict=True))
