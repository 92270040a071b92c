"""Second derivatives by backward() are those of the gradient, in float64, for every layer type; or a line refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.registry import layer_class
from caffe_compat.layers.source import SourceLayer
from caffe_compat.layers.table import layer_types
from caffe_compat.proto.schema import LayerParameter
from tests.layers import test_function
from tests.layers.test_function import LOOKS, Setup
from tests.layers.test_gradients import PLANES, WITHOUT, Case, labels, probabilities

PAIRS = ((4, 3), (4, 3), labels(4, 2))
SETTINGS = {  # other ways through a type than those of test_function.ALL
    "ContrastiveLoss near": Case("contrastive_loss_param { margin: 2 }", PAIRS),
    "Eltwise MAX": Case("eltwise_param { operation: MAX }", (PLANES, PLANES, PLANES)),
    "FocalLoss ignored": Case("focal_loss_param { gamma: 1.5 } loss_param { ignore_label: 1 }", ((4, 3), labels(4, 3))),
    "InfogainLoss ignored": Case(
        "loss_param { ignore_label: 1 }", ((4, 3), labels(4, 3), probabilities(1, 1, 3, 3))
    ),
    "LRN wide within": Case("lrn_param { local_size: 9 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    "MVN eps": Case("mvn_param { across_channels: true eps: 0.1 }"),
    "Pooling STOCHASTIC": Case(
        "pooling_param { kernel_size: 2 stride: 2 pool: STOCHASTIC }",
        (probabilities(*PLANES).requires_grad_(),),
        phase="TEST",
    ),
    "Reduction ASUM": Case("reduction_param { operation: ASUM axis: 1 }"),
    "SoftmaxWithLoss axis": Case("softmax_param { axis: 2 }", ((2, 4, 5), labels(8, 5).view(2, 4)), tops=2),
    "YoloSeg counts": Case("", (PLANES, labels(240, 2).view(PLANES), labels(8, 5).view(2, 4))),
}  # fmt: skip
ALL = {**test_function.ALL, **SETTINGS}
# where the gradient is not the derivative of the top, that of the top's gradient is not either, but in a sum of tops
OWN = {"CenterLoss", "ContrastiveLoss apart", "ContrastiveLoss near", "MVN eps"}
OWN |= {name for name in ALL if name.partition(" ")[0] in ("MarginInnerProduct", "YoloSeg")}
BY_TORCH_FUNC = ("Lstm clipped", "Sparsify", "SymmetricRectify")  # backward() has none
NOT_BY_TORCH = {"CtcLoss", "WarpCTCLoss"}
OF_VALUES = {"Python", "RegionLoss", "Yolov3"}  # refused in the tests of these
STEP = 1e-5


class Twice:
    """The gradient of a case's loss by bottoms and blobs, as a function of both."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(test_function, "ALL", ALL)
        self.setup, self.is_own = Setup(name, 1), name in OWN
        if name.startswith("Margin"):
            self.setup.layer(*self.setup.items[0])  # gives each weight the length 1
        fixed = self.setup.layer.fixed_blobs
        blobs = self.setup.blobs()
        self.keys = [key for index, key in enumerate(blobs) if index not in fixed]
        self.point = (*(x.clone() for x in self.setup.own[0]), *(blobs[key] for key in self.keys))
        self.ways = tuple(torch.randn_like(each) for each in self.point)
        if name.startswith("Margin"):  # which each forward pass makes that long again
            weight, way = self.point[-1], self.ways[-1]
            way -= weight * (weight * way).sum(1, keepdim=True)
        self.factors = tuple(torch.randn_like(each) for each in self.point)

    def loss(self, point: tuple[Tensor, ...]) -> Tensor:
        """Of the bottoms and blobs; a sum of the tops, and of their squares where the gradient is the derivative."""
        count = len(self.setup.own[0])
        blobs = {**self.setup.blobs(), **dict(zip(self.keys, point[count:], strict=True))}
        tops = self.setup.tops(blobs, point[:count], self.setup.items[0])
        ways = (torch.linspace(0.3, 1, each.numel(), dtype=each.dtype).view(each.shape) for each in tops)
        parts = (each * way + (0 if self.is_own else each.square() / 2) for each, way in zip(tops, ways, strict=True))
        return torch.stack([part.sum() for part in parts]).sum()

    def gradients(self, point: tuple[Tensor, ...], **how: bool) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(self.loss(point), point, allow_unused=True, **how)

    def sum_of(self, gradients: tuple[Tensor | None, ...]) -> Tensor:
        parts = [(x * y).sum() for x, y in zip(gradients, self.factors, strict=True) if x is not None]
        return torch.stack(parts).sum()

    def moved(self, place: int, step: float) -> tuple[Tensor, ...]:
        return tuple(
            (x + step * self.ways[k] if k == place else x).detach().requires_grad_() for k, x in enumerate(self.point)
        )

    def difference(self, place: int) -> Tensor:
        """Of the sum of the gradients, along a way of one of the bottoms and blobs."""
        ends = [self.sum_of(self.gradients(self.moved(place, step))) for step in (STEP, -STEP)]
        return (ends[0] - ends[1]) / (2 * STEP)


@pytest.mark.parametrize("name", sorted(ALL.keys() - NOT_BY_TORCH - set(BY_TORCH_FUNC)))
def test_second_derivatives_are_differences_of_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Twice(name, monkeypatch)
    point = twice.moved(-1, 0)
    gradients = twice.gradients(point, create_graph=True)
    torch.testing.assert_close(gradients, twice.gradients(point), rtol=1e-12, atol=1e-12)
    total = twice.sum_of(gradients)
    seconds: Any = [None] * len(point)
    if total.requires_grad:
        seconds = torch.autograd.grad(total, point, allow_unused=True)
    for place, (second, way) in enumerate(zip(seconds, twice.ways, strict=True)):
        found = torch.zeros((), dtype=torch.float64) if second is None else (second * way).sum()
        if not name.startswith("YoloSeg") or place == 0:  # whose labels have no gradient
            torch.testing.assert_close(found, twice.difference(place), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", BY_TORCH_FUNC)
def test_what_backward_does_not_know_is_refused_and_known_by_torch_func(name, monkeypatch) -> None:
    twice = Twice(name, monkeypatch)
    kind = name.partition(" ")[0]
    point = twice.moved(-1, 0)
    total = twice.sum_of(twice.gradients(point, create_graph=True))
    line = rf"layer 'lay': type {kind} .* gradient.*; take them by torch.func.jvp of torch.func.grad"
    with pytest.raises(UnsupportedLayerError, match=line):
        total.backward()
    plain = tuple(each.detach() for each in point)
    with pytest.raises(UnsupportedLayerError, match=line):
        grad(lambda x: twice.sum_of(grad(twice.loss)(x)))(plain)
    for place in range(len(plain)):
        way = tuple(each if k == place else torch.zeros_like(each) for k, each in enumerate(twice.ways))
        found = jvp(lambda *x: twice.sum_of(grad(twice.loss)(x)), plain, way)[1]
        torch.testing.assert_close(found, twice.difference(place), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", sorted(NOT_BY_TORCH))
def test_what_torch_does_not_know_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Twice(name, monkeypatch)
    total = twice.sum_of(twice.gradients(twice.moved(-1, 0), create_graph=True))
    with pytest.raises(RuntimeError, match=r"derivative for .*ctc_loss_backward.* not implemented"):
        total.backward()


def test_each_type_with_a_gradient_is_here() -> None:
    kinds = {name: layer_class(LayerParameter(type=name)) for name in layer_types()}
    with_gradient = {name for name, kind in kinds.items() if not issubclass(kind, SourceLayer)} - WITHOUT
    assert {name.partition(" ")[0] for name in ALL} | OF_VALUES == with_gradient | {"Python"}
    assert LOOKS.keys() > NOT_BY_TORCH


BOTTOMS_KEPT = {  # in memory of their own, of so many values as the bottom: its softmax, the weights of places, the top
    "SoftmaxWithLoss": (Case("", (PLANES, labels(60, 4).view(2, 1, 5, 6))), 1),
    "InfogainLoss": (Case("", (PLANES, labels(60, 4).view(2, 1, 5, 6), probabilities(1, 1, 4, 4))), 2),
    "MVN": (Case(""), 1),
    "YoloSeg": (Case("", (PLANES, PLANES)), 2),
}


@pytest.mark.parametrize("name", BOTTOMS_KEPT)
def test_nothing_is_kept_for_second_derivatives_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, count = BOTTOMS_KEPT[name]
    monkeypatch.setattr(test_function, "ALL", {name: case})
    setup = Setup(name, 1)
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    own = tuple(each.clone().requires_grad_() for each in setup.own[0])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        setup.tops(setup.blobs(), own, setup.items[0])
    large = [size for size in kept.values() if size >= own[0].untyped_storage().nbytes()]
    assert len(large) == count
