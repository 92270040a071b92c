"""makefile/frcnn's layers have their shapes."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedLayerError
from tests.layers.single import build


def test_makefiles_layers_are_built_for_their_shapes() -> None:
    scores, boxes, image = (1, 18, 5, 6), (4, 5), (1, 3)
    anchors = build('type: "FrcnnAnchorTarget"', scores, boxes, image, tops=4)
    assert anchors.top_shapes([scores, boxes, image]) == [(1, 1, 45, 6), *[(1, 36, 5, 6)] * 3]
    regions = build('type: "FrcnnProposal"', scores, (1, 36, 5, 6), image)
    assert regions.top_shapes([scores, (1, 36, 5, 6), image]) == [(1, 5, 1, 1)]
    targets = build('type: "FrcnnProposalTarget"', (1, 5, 1, 1), boxes, tops=5)
    assert targets.top_shapes([(1, 5, 1, 1), boxes])[2:] == [(1, 84, 1, 1)] * 3
    with pytest.raises(UnsupportedLayerError, match="layer 'lay': type FrcnnProposal is built for its shapes"):
        regions(torch.zeros(scores), torch.zeros(1, 36, 5, 6), torch.zeros(image))
