"""torch.func takes gradients through every layer type, and those of each item of a stack, equal to autograd's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap
from torch.utils._pytree import tree_map

from caffe_compat import layers
from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.base import Layer
from tests.layers.single import build
from tests.layers.test_gradients import CASES, CONT, FILLER, PLANES, Case, labels

ANGLES = f"num_output: 3 base: 2 gamma: 0 weight_filler {FILLER}"
FEATURES = ((5, 4), labels(5, 3))
MORE = {  # a type, and which way through it; those whose gradient is not the derivative among them
    "CenterLoss": Case(f"center_loss_param {{ num_output: 3 center_filler {FILLER} }}", ((4, 3), labels(4, 3))),
    "ContrastiveLoss apart": Case("contrastive_loss_param { margin: 30 }", ((4, 3), (4, 3), labels(4, 2))),
    "Eltwise divided": Case("eltwise_param { operation: PROD stable_prod_grad: false }", (PLANES, PLANES)),
    "HingeLoss L1": Case("", ((4, 3), labels(4, 3))),
    "LRN wide": Case("lrn_param { local_size: 9 alpha: 0.5 }"),
    "LRN within": Case("lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    "Lstm clipped": Case(
        f"lstm_param {{ num_output: 3 clipping_threshold: 0.05 weight_filler {FILLER} }}", ((3, 2, 4), CONT)
    ),
    "MVN": Case(""),
    "MarginInnerProduct 2": Case(f"margin_inner_product_param {{ {ANGLES} type: DOUBLE }}", FEATURES, tops=2),
    "MarginInnerProduct 3": Case(f"margin_inner_product_param {{ {ANGLES} type: TRIPLE }}", FEATURES, tops=2),
    "MarginInnerProduct 4": Case(f"margin_inner_product_param {{ {ANGLES} type: QUADRUPLE }}", FEATURES, tops=2),
    "Pooling AVE": Case("pooling_param { kernel_size: 3 stride: 2 pool: AVE pad: 1 }"),
    "SoftmaxWithLoss ignored": Case("loss_param { ignore_label: 1 }", ((4, 3), labels(4, 3))),
    "Sparsify": Case("sparsify_param { thre: 0.1 coef: 0.01 }"),
    "SymmetricRectify": Case(
        "symmetric_rectify_param { thre_decay: 0.1 filler { type: 'constant' value: 0.2 } }"
    ),
    "YoloSeg": Case("", (PLANES, PLANES)),
}  # fmt: skip
ALL = {**CASES, **MORE}
LOOKS = {"CtcLoss": "labels", "MultiBoxLoss": "boxes", "WarpCTCLoss": "labels"}  # at values, which no transform shows
NOT_MAPPED = {
    **dict.fromkeys(("BN", "BatchNorm", "DenseBlock", "HMHSA"), "keeps statistics of a batch"),
    "Filter": "dynamic shape",  # torch's own words: values say how many items are left
}
# gradients that torch.func does not take: loops run outside of it, in-place memory and parts in a Solver's pass alone
OTHERS = {
    "_loops.py", "activation.py", "handed.py", "layout.py", "lrn.py", "parts.py", "pooling.py", "python_layer.py",
}  # fmt: skip


class Setup:
    """The layer of a case, `count` items of all its bottoms, and a loss of it."""

    def __init__(self, name: str, count: int) -> None:
        case = ALL[name]
        torch.manual_seed(5)
        self.has = [not isinstance(each, Tensor) or each.requires_grad for each in case.bottoms]  # a gradient
        self.items = [tuple(map(self.filled, case.bottoms)) for _ in range(count)]
        shapes, text = [tuple(each.shape) for each in self.items[0]], f'type: "{name.split()[0]}" {case.text}'
        self.layer: Layer = build(text, *shapes, tops=case.tops, phase=case.phase).double()
        self.own = [
            tuple(x for x, flag in zip(bottoms, self.has, strict=True) if flag) for bottoms in self.items
        ]  # fmt: skip

    @staticmethod
    def filled(bottom: tuple[int, ...] | Tensor) -> Tensor:
        return bottom.detach() if isinstance(bottom, Tensor) else torch.randn(bottom, dtype=torch.float64)

    def blobs(self) -> dict[str, Tensor]:
        """Copies, for some layers change them."""
        return {key: each.detach().clone() for key, each in self.layer.named_parameters()}

    def loss(self, blobs: dict[str, Tensor], own: tuple[Tensor, ...], bottoms: tuple[Tensor, ...]) -> Tensor:
        """Of the blobs, the bottoms with a gradient, and all bottoms: a sum of the tops with factors."""
        tops = self.tops(blobs, own, bottoms)
        parts = [(torch.linspace(0.3, 1, each.numel(), dtype=each.dtype) * each.flatten()).sum() for each in tops]
        return torch.stack(parts).sum()

    def tops(
        self, blobs: dict[str, Tensor], own: tuple[Tensor, ...], bottoms: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Those of the layer, as if it had never run."""
        if hasattr(self.layer, "state"):
            self.layer.state = ()  # of recurrent layers
        if hasattr(self.layer, "iteration"):
            self.layer.iteration = 0
        chosen = iter(own)
        given = tuple(next(chosen) if flag else x for x, flag in zip(bottoms, self.has, strict=True))
        tops = functional_call(self.layer, blobs, given)
        return tops if isinstance(tops, tuple) else (tops,)

    def gradients(self, place: int) -> Any:
        """What autograd gives for one item."""
        blobs = {name: each.requires_grad_() for name, each in self.blobs().items()}
        own = tuple(each.clone().requires_grad_() for each in self.own[place])
        self.loss(blobs, own, self.items[place]).backward()
        return tree_map(lambda each: torch.zeros_like(each) if each.grad is None else each.grad, (blobs, own))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", sorted(ALL.keys() - LOOKS.keys()))
def test_gradients_are_those_of_autograd_and_of_one_item_at_a_time(name: str) -> None:
    setup = Setup(name, 2)
    wanted = [setup.gradients(place) for place in range(2)]
    found = grad(setup.loss, (0, 1))(setup.blobs(), setup.own[0], setup.items[0])
    torch.testing.assert_close(found, wanted[0])
    own, items = (tuple(map(torch.stack, zip(*each, strict=True))) for each in (setup.own, setup.items))
    each_item = vmap(grad(setup.loss, (0, 1)), (None, 0, 0))
    if name in NOT_MAPPED:
        with pytest.raises((UnsupportedLayerError, RuntimeError), match=NOT_MAPPED[name]):
            each_item(setup.blobs(), own, items)
        return
    both = each_item(setup.blobs(), own, items)
    torch.testing.assert_close(both, tree_map(lambda *each: torch.stack(each), *wanted))


@pytest.mark.parametrize("name", LOOKS)
def test_a_type_that_looks_at_values_says_so(name: str) -> None:
    setup = Setup(name, 1)
    with pytest.raises(UnsupportedLayerError, match=rf"layer 'lay': type {name} .*{LOOKS[name]}.* by backward\(\)"):
        grad(setup.loss, 1)(setup.blobs(), setup.own[0], setup.items[0])


SECOND = (
    "AbsVal", "Clip", "ContrastiveLoss apart", "Eltwise divided", "FocalLoss", "InfogainLoss", "LRN", "LRN within",
    "MVN", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss", "Softplus",
)  # fmt: skip
NOT_SYMMETRIC = {"ContrastiveLoss apart", "MVN"}  # second derivatives, for the gradient is not quite a derivative


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_are_those_of_the_gradient(name: str) -> None:
    setup = Setup(name, 1)
    x, *rest = setup.own[0]
    blobs, way, step = setup.blobs(), torch.randn_like(x), 1e-5

    def gradient(x: Tensor) -> Tensor:
        return grad(lambda x: setup.loss(blobs, (x, *rest), setup.items[0]))(x)

    wanted = (gradient(x + step * way) - gradient(x - step * way)) / (2 * step)
    torch.testing.assert_close(jvp(gradient, (x,), (way,))[1], wanted, rtol=1e-5, atol=1e-8)
    if name not in NOT_SYMMETRIC:
        torch.testing.assert_close(torch.func.vjp(gradient, x)[1](way)[0], wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["SoftmaxWithLoss", "InfogainLoss", "AbsVal"])
def test_jacobians_are_the_gradient_both_ways(name: str) -> None:
    setup = Setup(name, 1)

    def loss(x: Tensor) -> Tensor:
        return setup.loss(setup.blobs(), (x, *setup.own[0][1:]), setup.items[0])

    for way in (jacrev, jacfwd):
        torch.testing.assert_close(way(loss)(setup.own[0][0]), setup.gradients(0)[1][0])


def test_each_gradient_of_its_own_is_one_that_torch_func_takes() -> None:
    files = Path(layers.__file__).parent.rglob("*.py")
    plain = {path.name for path in files if "(torch.autograd.Function)" in path.read_text(encoding="utf-8")}
    assert {name for name in plain if not any(map(name.endswith, OTHERS))} == {"function.py"}
