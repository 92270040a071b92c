"""ReLU, PReLU and BNLL where their formulas are not all there is."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build
from tests.reference.elementwise import FORMULAS


@pytest.mark.parametrize(("text", "slope"), [('type: "ReLU"', 0.0), (FORMULAS["leaky"][0], 0.3)])
def test_relu_gradient_at_zero_is_the_slope(text: str, slope: float) -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    build(text, (2, 3))(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full((2, 3), slope))


def test_relu_in_place_writes_on_its_bottom() -> None:
    layer = build('type: "ReLU"', (4,))
    layer.inplace = True
    x = torch.tensor([-1.0, 0.0, 2.0, -3.0])
    assert layer(x).data_ptr() != x.data_ptr()  # with gradients only as `overwrites`
    with torch.no_grad():
        assert layer(x).data_ptr() == x.data_ptr()
    assert x.tolist() == [0, 0, 2, 0]
    layer.overwrites = True
    assert layer(x).data_ptr() == x.data_ptr()


def test_bnll_survives_large_scores() -> None:
    x = torch.tensor([-1e3, -100.0, 100.0, 1e3], requires_grad=True)
    y = build('type: "BNLL"', (4,))(x)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([0.0, 0.0, 100.0, 1000.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [0, pytest.approx(0, abs=1e-30), 1, 1]


@pytest.mark.parametrize("shared", ["false", "true"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (2, 4, 3, 5)])
def test_prelu_scales_negatives_by_the_slope_of_their_channel(shared: str, shape: tuple[int, ...]) -> None:
    layer = build(f'type: "PReLU" prelu_param {{ channel_shared: {shared} }}', shape).double()
    assert layer.blobs[0].shape == (() if shared == "true" else (4,))
    assert (layer.blobs[0] == 0.25).all()
    with torch.no_grad():
        layer.blobs[0].copy_(torch.tensor(0.5) if shared == "true" else torch.tensor([0.5, -1.0, 0.0, 2.0]))
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    for place in range(x.numel()):
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), shape))
        slope = layer.blobs[0] if shared == "true" else layer.blobs[0][index[1]]
        assert y[index] == (x[index] if x[index] > 0 else slope * x[index])
    assert torch.autograd.gradcheck(lambda bottom, blob: layer(bottom), (x, layer.blobs[0]))


def test_prelu_needs_channels() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': a bottom of shape \(5,\) has no axis 1"):
        build('type: "PReLU"', (5,))
