"""What does not fit YOLO's losses is named."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedLayerError, UnsupportedParameterError
from tests.layers.single import build

CLASSES, NUM, H, W = 3, 2, 3, 4


LENGTH = 5 + CLASSES


SHAPES = ((2, NUM * LENGTH, H, W), (2, 1, 4, 5))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 125, H, W\)"):
        build('type: "RegionLoss"', *SHAPES)
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': yolov3_param has 0 masks"):
        build('type: "Yolov3"', *SHAPES)
    text = f"num_class: {CLASSES} num: 1 mask: 0 biases: 1 biases: 1"
    layer = build(f'type: "Yolov3" yolov3_param {{ {text} iou_loss: CIOU }}', (1, 8, 1, 1), (1, 5))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': yolov3_param.iou_loss CIOU does not run"):
        layer(torch.zeros(1, 8, 1, 1), torch.zeros(1, 5))
    layer = build(f'type: "Yolov3" yolov3_param {{ {text} }}', (1, 8, 1, 1), (1, 5))
    with pytest.raises(DataError, match="layer 'lay': labels 'b1' hold a box outside the image"):
        layer(torch.zeros(1, 8, 1, 1), torch.tensor([[5, 0.5, 0.5, 0.5, 0.5]]))
    layer = build('type: "HashingLoss"', (2, 3), (2, 4))
    with pytest.raises(UnsupportedLayerError, match="layer 'lay': type HashingLoss is built for its shapes"):
        layer(torch.zeros(2, 3), torch.zeros(2, 4))
