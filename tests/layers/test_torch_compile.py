"""Each layer type, compiled by torch.compile with AOTAutograd, gives the values and gradients that it has as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caffe_compat.layers import boxes
from caffe_compat.layers.base import Layer
from caffe_compat.layers.forks.mscnn import heads
from tests.layers.single import build
from tests.layers.test_function import Setup
from tests.layers.test_gradients import Case, labels
from tests.layers.test_no_items import NO_GRADIENT
from tests.layers.test_second_derivatives import ALL

REGIONS = torch.tensor([[0.0, 1, 1, 30, 40], [0, 5, 2, 20, 35], [0, 8, 8, 33, 29]])
TRUTHS = torch.tensor([[0.0, 2, 1, 30, 38, 1, 0]])
FOUND = torch.tensor([[1.0, 1, 1, 30, 40, 0.5], [1, 5, 2, 20, 35, 0.6], [0, 8, 8, 33, 29, 0.1]])
GIVEN: dict[str, tuple[Any, ...]] = {  # in place of bottoms that normal values are no sense in
    "Accuracy": ((4, 3), labels(4, 3)),
    "BboxAccuracy": ((3, 8), REGIONS, FOUND),
    "CTCGreedyDecoder labels": ((5, 2, 4), labels(6, 3).view(2, 3)),
    "DecodeBBox": ((3, 8), REGIONS),
    "LabelsequenceAccuracy": ((2, 5, 4), labels(6, 3).view(2, 3)),
    "ProposalTarget": (REGIONS, TRUTHS),
    "SegAccuracy": ((2, 3, 1, 4), labels(8, 3).view(2, 1, 1, 4)),
}
CASES = {**ALL, **NO_GRADIENT}
QUICK = {"ArgMax", "Convolution", "Eltwise", "InnerProduct", "MVN", "Pooling"}


def found(case: Case, layer: Layer, run: Any) -> Any:
    """The tops, and the gradients of what has any, of a sum of the tops with factors."""
    torch.manual_seed(5)
    bottoms = [
        Setup.filled(each).double().requires_grad_(not isinstance(each, Tensor) or each.requires_grad)
        for each in case.bottoms
    ]
    tops = run(*bottoms)
    tops = tops if isinstance(tops, tuple) else (tops,)
    parts = [(torch.linspace(0.3, 1, top.numel(), dtype=top.dtype) * top.flatten()).sum() for top in tops]
    if not any(part.requires_grad for part in parts):
        return tops, []
    torch.stack(parts).sum().backward()
    inputs = [*bottoms, *layer.parameters()]
    return tops, [torch.zeros_like(each) if each.grad is None else each.grad for each in inputs]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(CASES)]
)
def test_a_compiled_layer_gives_the_same(name: str) -> None:
    case = CASES[name]
    case = Case(case.text, GIVEN.get(name, case.bottoms), case.tops, case.phase)
    text, shapes = f'type: "{name.split()[0]}" {case.text}', [tuple(Setup.filled(x).shape) for x in case.bottoms]
    torch._dynamo.reset()
    both = []
    for compiled in (False, True):
        torch.manual_seed(3)
        layer = build(text, *shapes, tops=case.tops, phase=case.phase).double()
        both.append(found(case, layer, torch.compile(layer, backend="aot_eager") if compiled else layer))
    torch.testing.assert_close(both[1], both[0], equal_nan=True)


@pytest.mark.parametrize("overlaps", [boxes.overlaps, heads.overlaps_by_size])
def test_overlaps_of_boxes_are_compiled(overlaps: Any) -> None:
    given = np.array([1.0, 1, 5, 6]), np.array([[1.0, 1, 5, 6], [7, 7, 9, 9], [3, 3, 3, 3]])
    np.testing.assert_array_equal(torch.compile(overlaps, backend="eager")(*given), overlaps(*given))
