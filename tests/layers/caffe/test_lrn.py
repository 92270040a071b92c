"""LRN of both regions against plain loops over each value's window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.normalization import lrn_across, lrn_within

SHAPE = (2, 7, 5, 4)


def _random(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


def _text(region: str, size: int, alpha: float, beta: float, k: float) -> str:
    fields = f"local_size: {size} alpha: {alpha} beta: {beta} k: {k} norm_region: {region}"
    return f'type: "LRN" lrn_param {{ {fields} }}'


# alpha and k are exact in float32, as prototxt fields are
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.5])
@pytest.mark.parametrize(
    ("region", "size"), [("ACROSS_CHANNELS", n) for n in (1, 3, 5, 17)] + [("WITHIN_CHANNEL", n) for n in (1, 3, 5)]
)
def test_each_value_is_divided_by_its_neighbourhood(region: str, size: int, beta: float, channels_last: bool) -> None:
    layer, x = build(_text(region, size, 0.5, beta, 2.0), SHAPE), _random()
    if region == "ACROSS_CHANNELS":
        expected = lrn_across(x.numpy(), size, 0.5, beta, 2.0)
    else:
        expected = lrn_within(x.numpy(), size, 0.5, beta)  # whatever k says
    given = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    np.testing.assert_allclose(layer(given), expected, rtol=1e-10)
    # a window of squares and a power: some 10 roundings of 6e-8
    np.testing.assert_allclose(layer(given.float()), expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
@pytest.mark.parametrize("beta", [0.75, 1.5])
def test_the_gradient_is_the_derivative(region: str, beta: float) -> None:
    x = _random((1, 4, 3, 4)).requires_grad_()
    layer = build(_text(region, 3, 0.5, beta, 2.0), tuple(x.shape))
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_float32_gradient_is_that_of_float64(region: str) -> None:
    x, diff = _random(), _random()[:, :, :, [1, 0, 3, 2]]
    layer = build(_text(region, 3, 0.5, 0.75, 1.0), SHAPE)
    gradients = []
    for kind in (torch.float64, torch.float32):
        bottom = x.to(kind, copy=True).requires_grad_()
        layer(bottom).backward(diff.to(kind))
        gradients.append(bottom.grad)
    torch.testing.assert_close(gradients[1].double(), gradients[0], rtol=0, atol=2e-6)


def test_the_bottom_stays_as_it_was() -> None:
    x = _random().float()
    before = x.clone()
    build(_text("WITHIN_CHANNEL", 3, 0.5, 0.75, 1.0), SHAPE)(x)
    build(_text("ACROSS_CHANNELS", 3, 0.5, 0.75, 1.0), SHAPE)(x)
    assert torch.equal(x, before)


def test_impossible_normalizations_are_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': local_size is 4; it must be odd"):
        build('type: "LRN" lrn_param { local_size: 4 }', SHAPE)
    with pytest.raises(ShapeError, match=r"bottom \(2, 7\) must have 4 axes"):
        build('type: "LRN"', (2, 7))


@pytest.mark.parametrize("part", [1, 30, 1 << 18])
def test_pixels_taken_in_parts_give_what_a_trained_bottom_gives(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe_compat.layers.caffe.lrn._PART", part)
    layer, x = build(_text("ACROSS_CHANNELS", 5, 0.5, 0.75, 2.0), SHAPE), _random()
    assert torch.equal(layer(x), layer(x.clone().requires_grad_()))
    assert torch.equal(layer(x[:0]), x[:0])


def _passes(layer: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The top, the gradient of the bottom, and the bytes that the pass keeps for it."""
    bottom, kept = x.clone(memory_format=torch.preserve_format).requires_grad_(), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        top = layer(bottom)
    top.backward(torch.linspace(-1, 1, top.numel()).view(top.shape))
    return top.detach(), bottom.grad, sum(kept.values())


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("part", [64, 35, 1 << 18])
def test_a_large_layer_keeps_its_bottom_alone_and_gives_the_same(
    beta: float, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = build(_text("ACROSS_CHANNELS", 5, 0.5, beta, 2.0), SHAPE)
    x = _random().float().contiguous(memory_format=torch.channels_last)
    top, gradient, kept = _passes(layer, x)
    monkeypatch.setattr("caffe_compat.layers.caffe.lrn._LARGE", 1)
    monkeypatch.setattr("caffe_compat.layers.caffe.lrn._PART", part)
    large = _passes(layer, x)
    torch.testing.assert_close(large[0], top, rtol=2e-7, atol=0)  # a power may end in another digit at a part's end
    torch.testing.assert_close(large[1], gradient, rtol=1e-6, atol=1e-7)
    assert (large[2], kept) == (x.nbytes, 3 * x.nbytes)
