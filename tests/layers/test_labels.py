"""Labels that a loss or a metric refuses."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError
from tests.layers.single import build


@pytest.mark.parametrize(("bad", "shown"), [(3.0, "3"), (-1.0, "-1"), (1e6, "1000000")])
@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "MultinomialLogisticLoss", "HingeLoss", "Accuracy"])
def test_a_label_outside_the_classes_is_named(kind: str, bad: float, shown: str) -> None:
    layer = build(f'type: "{kind}"', (4, 3), (4,))
    with pytest.raises(DataError, match=f"layer 'lay': label 'b1' holds {shown}, wanted 0 to 2"):
        layer(torch.rand(4, 3), torch.tensor([0.0, 1.0, bad, 2.0]))


def test_ignored_labels_do_not_hide_bad_ones() -> None:
    layer = build('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }', (2, 3), (2,))
    with pytest.raises(DataError, match="layer 'lay': label 'b1' holds 254, wanted 0 to 2"):
        layer(torch.rand(2, 3), torch.tensor([255.0, 254.0]))


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "Accuracy"])
def test_too_few_labels_are_named(kind: str) -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': label 'b1' has shape \(2, 3\), wanted one label for each of 8"):
        build(f'type: "{kind}"', (2, 3, 4), (2, 3))
