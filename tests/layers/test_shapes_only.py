"""Layers that are built for their shapes: they say so, and do not run."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedLayerError
from tests.layers.single import build

PLANES = (2, 3, 4, 5)
CASES = {
    "AssistedExcitation": ((PLANES, (2, 1, 4, 5), (2, 1, 4, 5)), [PLANES]),
    "HashingLoss": (((2, 3), (2, 4)), [()]),
    "GaussianYolov3": ((PLANES, (2, 5)), [()]),
}


@pytest.mark.parametrize("kind", CASES)
def test_shapes_are_known_and_values_are_not(kind: str) -> None:
    bottoms, tops = CASES[kind]
    layer = build(f'type: "{kind}"', *bottoms)
    assert layer.top_shapes(list(bottoms)) == tops
    with pytest.raises(UnsupportedLayerError, match=f"layer 'lay': type {kind} is built for its shapes and does not"):
        layer(*(torch.zeros(shape) for shape in bottoms))


def test_excitation_needs_maps_of_one_size() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms .* differ in height and width"):
        build('type: "AssistedExcitation"', PLANES, (2, 1, 4, 5), (2, 1, 4, 4))
