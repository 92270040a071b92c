"""CropCenter against slices."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build


def test_crop_center_takes_as_much_from_both_ends() -> None:
    x = torch.randn(2, 3, 7, 6)
    sizes = "crop_size: 0 crop_size: 1 crop_size: 2 crop_size: 0"
    layer = build(f'type: "CropCenter" crop_center_param {{ {sizes} }}', (2, 3, 7, 6))
    assert torch.equal(layer(x), x[:, 1:2, 2:5])
    with pytest.raises(ShapeError, match=r"layer 'lay': crop_center_param.crop_size \[1\] leaves nothing"):
        build('type: "CropCenter" crop_center_param { crop_size: 1 }', (2, 3))
