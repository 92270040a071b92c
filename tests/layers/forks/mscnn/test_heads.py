"""What does not fit the layers of MS-CNN is named."""

from __future__ import annotations

import pytest

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

HEAD, LABEL = (2, 7, 3, 4), (2, 6, 3, 4)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(2, 7, 3, 4\) and \(2, 6, 3, 4\)"):
        build('type: "DetectionLoss" detection_loss_param { cls_num: 3 }', HEAD, HEAD)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': box_output_param has 0 field_w"):
        build('type: "BoxOutput"', HEAD)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': bbox_reg_param needs four"):
        build('type: "BboxAccuracy" bbox_reg_param { bbox_mean: 0 bbox_std: 1 }', (3, 8), (3, 5), (3, 6))
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': proposal_target_param has no cls_num"):
        build('type: "ProposalTarget"', (3, 5), (1, 7), tops=6)
