"""LRN by compiled loops against plain loops over each value's window, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.layers.caffe.lrn_loops import normalized_by_loop
from tests.kernels.switch import needs_loops, other_defaults
from tests.layers.caffe.test_lrn import _text
from tests.layers.single import build
from tests.reference.normalization import lrn_across, lrn_within

pytestmark = needs_loops

SHAPE = (2, 21, 3, 4)


def _random(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    return values.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("region", "size"), [("ACROSS_CHANNELS", n) for n in (1, 5, 17, 99)] + [("WITHIN_CHANNEL", n) for n in (1, 3, 5, 9)]
)
def test_each_value_is_divided_by_its_neighbourhood(region: str, size: int) -> None:
    layer, x = build(_text(region, size, 0.5, 0.75, 2.0), SHAPE), _random()
    if region == "ACROSS_CHANNELS":
        expected = lrn_across(x.double().numpy(), size, 0.5, 0.75, 2.0)
    else:
        expected = lrn_within(x.double().numpy(), size, 0.5, 0.75)
    top = normalized_by_loop(x, layer.rule)
    assert torch.equal(layer(x), top) and torch.equal(layer(x.clone().requires_grad_()), top)
    # a window of squares and a power: some 10 roundings of 6e-8
    np.testing.assert_allclose(top, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_other_powers_are_left_to_torch(region: str) -> None:
    layer = build(_text(region, 3, 0.5, 0.5, 2.0), SHAPE)
    assert normalized_by_loop(_random(), layer.rule) is None


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_threads_change_no_bit(region: str) -> None:
    x, threads = _random((3, 48, 20, 30)), torch.get_num_threads()
    layer, found = build(_text(region, 5, 0.5, 0.75, 1.0), tuple(x.shape)), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(layer(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_top_may_be_some_channels_of_larger_images() -> None:
    x, layer = _random(), build(_text("ACROSS_CHANNELS", 5, 0.5, 0.75, 2.0), SHAPE)
    whole = torch.full((2, 30, 3, 4), 7.0).contiguous(memory_format=torch.channels_last)
    part = whole[:, 5:26]
    assert normalized_by_loop(x, layer.rule, top=part) is part
    assert torch.equal(part, layer(x))
    assert (whole[:, :5] == 7).all() and (whole[:, 26:] == 7).all()


def _gradient(layer: torch.nn.Module, x: torch.Tensor, diff: torch.Tensor) -> torch.Tensor:
    bottom = x.clone(memory_format=torch.preserve_format).requires_grad_()
    return torch.autograd.grad(layer(bottom), bottom, diff.to(x.dtype))[0]


@pytest.mark.parametrize("shape", [SHAPE, (1, 16, 5, 1), (2, 40, 6, 7)])
@pytest.mark.parametrize(
    ("region", "size"), [("ACROSS_CHANNELS", n) for n in (1, 5, 17, 99)] + [("WITHIN_CHANNEL", n) for n in (1, 3, 5, 9)]
)
def test_the_gradient_is_that_of_float64(region: str, size: int, shape: tuple[int, ...]) -> None:
    layer, x = build(_text(region, size, 0.5, 0.75, 2.0), shape), _random(shape)
    diff = torch.randn(shape)
    found, expected = _gradient(layer, x, diff), _gradient(layer, x.double(), diff)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("large", [1, 1 << 20])
def test_second_derivatives_and_batches_of_gradients_are_right(region, beta, large, monkeypatch):
    monkeypatch.setattr("caffe_compat.layers.caffe.lrn._LARGE", large)
    layer, x, diffs = build(_text(region, 3, 0.5, beta, 2.0), (1, 16, 3, 2)), _random((1, 16, 3, 2)), torch.randn(2, 96)
    diffs = diffs.view(2, 1, 16, 3, 2)
    if beta == 0.75:
        bottom = x.clone().requires_grad_()
        batch = torch.autograd.grad(layer(bottom), bottom, diffs, is_grads_batched=True)[0]
        torch.testing.assert_close(
            batch, torch.stack([_gradient(layer, x, diff) for diff in diffs]), rtol=1e-5, atol=1e-6
        )
    seconds = []
    for kind in (torch.float32, torch.float64):
        bottom = x.to(kind, copy=True).requires_grad_()
        (first,) = torch.autograd.grad(layer(bottom), bottom, diffs[0].to(kind), create_graph=True)
        seconds.append(torch.autograd.grad(first, bottom, diffs[1].to(kind))[0].double())
    torch.testing.assert_close(*seconds, rtol=0, atol=1e-5)
    double = x.double().requires_grad_()
    assert torch.autograd.gradgradcheck(layer, (double,))


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_what_is_kept_is_the_bottom(region: str) -> None:
    layer, found = build(_text(region, 3, 0.5, 0.75, 1.0), SHAPE), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x, to=found: to.append(x.nbytes) or x, lambda x: x):
        layer(_random().requires_grad_())
    assert found == [_random().nbytes]


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_the_types_that_a_user_sets_for_new_tensors_do_not_matter(region: str) -> None:
    layer, x, diff = build(_text(region, 3, 0.5, 0.75, 2.0), SHAPE), _random().requires_grad_(), _random()
    wanted = layer(x), *torch.autograd.grad(layer(x), x, diff)
    with other_defaults():
        found = layer(x), *torch.autograd.grad(layer(x), x, diff)
    assert all(mine.dtype == torch.float32 and torch.equal(mine, its) for mine, its in zip(found, wanted, strict=True))


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("way", ["on", "off"])
def test_what_overflows_when_squared_is_0_forwards_and_backwards(way, region, monkeypatch):
    """As in Caffe, where what is divided by an infinite sum is 0; its neighbours are in float64 what they are here."""
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", way)
    layer, x = build(_text(region, 3, 0.5, 0.75, 1.0), SHAPE), _random()
    x[0, 4, 1, 1], x[0, 9, 2, 2], x[1, 4, 1, 1] = 3e38, -2e19, 1e19
    found = []
    for kind in (torch.float32, torch.float64):
        bottom = x.to(kind).requires_grad_()
        top = layer(bottom)
        found.append((top.detach().double(), torch.autograd.grad(top, bottom, torch.ones_like(top))[0].double()))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)
