"""SymmetricRectify against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _soft(x: float, threshold: float) -> float:
    return x - threshold if x > threshold else x + threshold if x < -threshold else 0.0


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


@pytest.mark.parametrize("shared", [False, True])
def test_symmetric_rectify_learns_its_thresholds(shared: bool) -> None:
    fields = f"channel_shared: {str(shared).lower()} thre_decay: 0.125 filler {{ value: 0.4 }}"
    layer = build(f'type: "SymmetricRectify" symmetric_rectify_param {{ {fields} }}', SHAPE)
    if not shared:
        with torch.no_grad():
            layer.blobs[0].copy_(torch.tensor([0.5, -0.25, 0.0]))
    x = torch.randn(SHAPE, requires_grad=True)
    top_gradient = torch.randn(SHAPE)
    y = layer(x)
    y.backward(top_gradient)
    x_values = x.detach()
    thresholds = [0.4] * 3 if shared else [0.5, 0.0, 0.0]
    if not shared:
        assert layer.blobs[0].tolist() == thresholds, "negative thresholds become 0 in the blob"
    pulls = [0.0] * 3
    for place in range(x.numel()):
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), SHAPE))
        top = _soft(float(x_values[index]), thresholds[index[1]])
        assert float(y.detach()[index]) == pytest.approx(top, abs=1e-6)
        assert x.grad is not None
        assert x.grad[index] == (top_gradient[index] if top else 0)
        pulls[index[1]] -= float(top_gradient[index]) * _sign(top)
    found = layer.blobs[0].grad
    assert found is not None
    wanted = torch.tensor(sum(pulls) - 0.125 if shared else [pull - 0.125 for pull in pulls])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_symmetric_rectify_starts_at_zero_and_refuses_less() -> None:
    assert build('type: "SymmetricRectify"', SHAPE).blobs[0].tolist() == [0, 0, 0]
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': symmetric_rectify_param\.filler makes negative"):
        build('type: "SymmetricRectify" symmetric_rectify_param { filler { value: -1 } }', SHAPE)
    with pytest.raises(ShapeError, match="layer 'lay'"):
        build('type: "SymmetricRectify"', (3,))
