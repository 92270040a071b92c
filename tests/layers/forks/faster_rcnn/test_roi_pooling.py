"""ROIPooling and PSROIPooling against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from tests.layers.single import build
from tests.reference.regions import ROIS, SCALE, roi_pooling


def test_roi_pooling_takes_the_maximum_of_each_bin() -> None:
    layer = build(
        'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }', (2, 3, 7, 10), (6, 5)
    )
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64, requires_grad=True)
    y = layer(x, ROIS)
    assert y.shape == layer.top_shapes([(2, 3, 7, 10), (6, 5)])[0]
    np.testing.assert_array_equal(y.detach().numpy(), roi_pooling(x.detach().numpy(), ROIS.numpy(), (3, 2), SCALE))
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, ROIS), x, fast_mode=True)


def test_roi_pooling_gives_its_gradient_to_the_first_maximum() -> None:
    layer = build('type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }', (1, 1, 2, 3), (1, 5))
    x = torch.tensor([[[[0.0, 2.0, 2.0], [2.0, 2.0, 1.0]]]], requires_grad=True)
    layer(x, torch.tensor([[0.0, 0, 0, 2, 1]])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[[0, 1, 0], [0, 0, 0]]]]


def test_regions_grow_by_pad_ratio() -> None:
    x = torch.randn(1, 2, 9, 9)
    text = 'type: "ROIPooling" roi_pooling_param {{ pooled_h: 2 pooled_w: 2 {} }}'
    small, grown = torch.tensor([[0.0, 3, 4, 6, 5]]), torch.tensor([[0.0, 1, 3, 8, 6]])
    padded = build(text.format("pad_ratio: 0.5"), x.shape, (1, 5))(x, small)
    assert torch.equal(padded, build(text.format(""), x.shape, (1, 5))(x, grown))
