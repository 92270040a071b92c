"""What losses have in common."""

from __future__ import annotations

import pytest

from caffe_compat.errors import ShapeError
from tests.layers.single import build


def test_losses_weigh_one_by_default() -> None:
    assert build('type: "EuclideanLoss"', (2, 3), (2, 3)).default_loss_weight == 1
    assert build('type: "ReLU"', (2, 3)).default_loss_weight == 0


@pytest.mark.parametrize(
    "kind", ["EuclideanLoss", "HingeLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss"]
)
def test_what_has_no_axis_has_no_loss(kind: str) -> None:
    with pytest.raises(ShapeError, match="layer 'lay': bottom 'b0' is one value without an axis"):
        build(f'type: "{kind}"', (), ())
