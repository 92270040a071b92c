"""ROIPooling and PSROIPooling against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.regions import psroi_pooling, roi_pooling

ROIS = torch.tensor(
    [
        [0, 0, 0, 40, 28],
        [1, 8, 4, 30, 20],
        [1, -16, -8, 10, 12],  # reaches out of the image
        [0, 24, 12, 200, 100],
        [0, 20, 20, 10, 10],  # turned inside out: one place
        [1, 500, 500, 600, 600],  # outside: empty bins
    ],
    dtype=torch.float64,
)
SCALE = 0.25


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


def test_psroi_pooling_takes_the_mean_of_each_bin_from_its_own_channel() -> None:
    text = 'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 }'
    layer = build(text, (2, 18, 7, 10), (6, 5))
    x = torch.randn(2, 18, 7, 10, dtype=torch.float64, requires_grad=True)
    y = layer(x, ROIS)
    assert y.shape == layer.top_shapes([(2, 18, 7, 10), (6, 5)])[0]
    np.testing.assert_allclose(
        y.detach().numpy(), psroi_pooling(x.detach().numpy(), ROIS.numpy(), 2, 3, SCALE), atol=1e-12
    )
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, ROIS), x, fast_mode=True)


def test_a_region_of_an_item_that_is_not_there_is_named() -> None:
    layer = build('type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }', (2, 1, 2, 3), (1, 5))
    with pytest.raises(DataError, match="layer 'lay': 'b1' names item 2, wanted 0 to 1"):
        layer(torch.zeros(2, 1, 2, 3), torch.tensor([[2.0, 0, 0, 1, 1]]))


def test_regions_grow_by_pad_ratio() -> None:
    x = torch.randn(1, 2, 9, 9)
    text = 'type: "ROIPooling" roi_pooling_param {{ pooled_h: 2 pooled_w: 2 {} }}'
    small, grown = torch.tensor([[0.0, 3, 4, 6, 5]]), torch.tensor([[0.0, 1, 3, 8, 6]])
    padded = build(text.format("pad_ratio: 0.5"), x.shape, (1, 5))(x, small)
    assert torch.equal(padded, build(text.format(""), x.shape, (1, 5))(x, grown))


@pytest.mark.parametrize(
    ("text", "shapes", "error", "message"),
    [
        ('type: "ROIPooling"', ((1, 1, 2, 3), (1, 5)), UnsupportedParameterError, "pooled_h 0 and pooled_w 0"),
        (
            'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 bi_type: 2 }',
            ((1, 1, 2, 3), (1, 5)),
            UnsupportedParameterError,
            "roi_pooling_param.bi_type is 2, which is not implemented",
        ),
        (
            'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }',
            ((1, 1, 2, 3), (1, 4)),
            ShapeError,
            "wanted",
        ),
        ('type: "PSROIPooling"', ((1, 1, 2, 3), (1, 5)), UnsupportedParameterError, "must be positive"),
        (
            'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 1 }',
            ((1, 9, 2, 3), (1, 5)),
            ShapeError,
            "has 9 channels, wanted 8",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    text: str, shapes: tuple[tuple[int, ...], ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': .*{message}"):
        build(text, *shapes)
