"""FocalLoss against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build


def test_easy_places_count_less() -> None:
    text = 'type: "FocalLoss" focal_loss_param { alpha: 0.25 gamma: 2 } loss_param { ignore_label: 1 }'
    scores = torch.randn(2, 3, 2, dtype=torch.float64)
    labels = torch.tensor([[0.0, 2], [1, 2]])
    loss, probability = build(text, (2, 3, 2), (2, 2), tops=2)(scores, labels)
    total, places = 0.0, 0
    for n in range(2):
        for k in range(2):
            exps = [math.exp(value) for value in scores[n, :, k].tolist()]
            assert probability[n, :, k].tolist() == pytest.approx([e / sum(exps) for e in exps])
            label = int(labels[n, k])
            if label != 1:
                p = exps[label] / sum(exps)
                total -= 0.25 * (1 - p) ** 2 * math.log(p)
                places += 1
    assert loss.item() == pytest.approx(total / places)


def test_other_types_are_refused() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': focal_loss_param needs type ORIGIN"):
        build('type: "FocalLoss" focal_loss_param { type: LINEAR }', (2, 3), (2,))
