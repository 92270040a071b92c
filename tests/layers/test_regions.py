"""Regions that do not fit are named."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build


def test_a_region_of_an_item_that_is_not_there_is_named() -> None:
    layer = build('type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }', (2, 1, 2, 3), (1, 5))
    with pytest.raises(DataError, match="layer 'lay': 'b1' names item 2, wanted 0 to 1"):
        layer(torch.zeros(2, 1, 2, 3), torch.tensor([[2.0, 0, 0, 1, 1]]))


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
