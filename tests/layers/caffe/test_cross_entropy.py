"""SoftmaxWithLoss, SigmoidCrossEntropyLoss and MultinomialLogisticLoss against plain loops and Caffe's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text
from tests.layers.single import build
from tests.reference.losses import sigmoid_loss, softmax_loss

CASES = [  # scores' shape, axis, labels' shape
    ((7, 5), 1, (7,)),
    ((7, 5, 1, 1), 1, (7, 1, 1, 1)),
    ((2, 5, 3, 4), 1, (2, 3, 4)),
    ((2, 5, 3, 4), 1, (2, 1, 3, 4)),
    ((2, 3, 5), -1, (2, 3)),
    ((5, 3), 0, (5,)),
]


def _labels(shape: tuple[int, ...], classes: int, ignore: int | None = None) -> torch.Tensor:
    labels = torch.randint(0, classes, shape).float()
    if ignore is not None:
        labels.flatten()[::3] = ignore
    return labels


@pytest.mark.parametrize(("shape", "axis", "label_shape"), CASES[:-1])
@pytest.mark.parametrize("rule", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore", [None, 2, 255])
def test_softmax_loss_is_that_of_the_loops(
    shape: tuple[int, ...], axis: int, label_shape: tuple[int, ...], rule: str, ignore: int | None
) -> None:
    fields = f"normalization: {rule}" + ("" if ignore is None else f" ignore_label: {ignore}")
    layer = build(
        f'type: "SoftmaxWithLoss" loss_param {{ {fields} }} softmax_param {{ axis: {axis} }}', shape, label_shape
    )
    scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    label = _labels(label_shape, shape[axis], ignore)
    wanted = softmax_loss(scores.detach().numpy(), label.numpy(), axis % len(shape), rule, ignore)
    loss = layer(scores, label)
    assert loss.shape == ()
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label), scores, fast_mode=True)


@pytest.mark.parametrize(("fields", "divisor"), [("", 8), ("normalize: true", 8), ("normalize: false", 2)])
def test_deprecated_normalize_speaks_where_normalization_does_not(fields: str, divisor: int) -> None:
    scores, label = torch.zeros(2, 3, 4), torch.zeros(2, 4)
    text = f'type: "SoftmaxWithLoss" loss_param {{ {fields} }}'
    assert float(build(text, (2, 3, 4), (2, 4))(scores, label)) == pytest.approx(8 * math.log(3) / divisor)
    both = f'type: "SoftmaxWithLoss" loss_param {{ {fields} normalization: NONE }}'
    assert float(build(both, (2, 3, 4), (2, 4))(scores, label)) == pytest.approx(8 * math.log(3))


def test_softmax_loss_has_caffes_ceiling_and_an_unclamped_gradient() -> None:
    layer = build('type: "SoftmaxWithLoss"', (1, 2), (1,))
    scores = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = layer(scores, torch.tensor([1.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(87.3365447505, rel=1e-7)  # -log(FLT_MIN)
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, -1]]


def test_a_batch_of_ignored_labels_has_no_loss_and_no_gradient() -> None:
    layer = build('type: "SoftmaxWithLoss" loss_param { ignore_label: -1 }', (3, 2), (3,))
    scores = torch.randn(3, 2, requires_grad=True)
    loss = layer(scores, torch.full((3,), -1.0))
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_ignored_places_may_hold_nan() -> None:
    layer = build('type: "SoftmaxWithLoss" loss_param { ignore_label: 9 }', (2, 2), (2,))
    scores = torch.tensor([[0.0, 0.0], [math.nan, 1.0]], requires_grad=True)
    loss = layer(scores, torch.tensor([0.0, 9.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2))
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-0.5, 0.5], [0, 0]]


def test_the_second_top_is_the_softmax() -> None:
    layer = build('type: "SoftmaxWithLoss"', (4, 3), (4,), tops=2)
    scores = torch.randn(4, 3, requires_grad=True)
    loss, probability = layer(scores, torch.zeros(4))
    torch.testing.assert_close(probability, torch.softmax(scores, 1))
    assert loss.requires_grad
    assert not probability.requires_grad
    assert layer.top_shapes([(4, 3), (4,)]) == [(), (4, 3)]


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


def test_scores_and_labels_must_agree_in_the_batch() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms 'b0' \(2, 3\) and 'b1' \(1, 2\) must agree"):
        build('type: "SoftmaxWithLoss"', (2, 3), (1, 2))


@pytest.mark.parametrize("rule", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore", [None, 0, 255])
def test_sigmoid_loss_is_that_of_the_loops(rule: str, ignore: int | None) -> None:
    shape = (3, 5, 2)
    fields = f"normalization: {rule}" + ("" if ignore is None else f" ignore_label: {ignore}")
    layer = build(f'type: "SigmoidCrossEntropyLoss" loss_param {{ {fields} }}', shape, shape)
    scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.rand(shape, dtype=torch.float64).round(decimals=2)
    target.flatten()[::3] = 1
    if ignore is not None:
        target.flatten()[1::4] = ignore
    wanted = sigmoid_loss(scores.detach().numpy(), target.numpy(), rule, ignore)
    assert float(layer(scores, target).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, target), scores, fast_mode=True)


def test_compat_chooses_how_sigmoid_loss_is_normalised() -> None:
    scores, target = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 255.0], [1.0, 1.0, 0.0]])
    text = 'type: "SigmoidCrossEntropyLoss" loss_param { normalization: VALID ignore_label: 255 }'
    assert float(build(text, (2, 3), (2, 3))(scores, target)) == pytest.approx(math.log(2))
    whole = build(text, (2, 3), (2, 3), compat="wen2017")(scores, target)
    assert float(whole) == pytest.approx(6 * math.log(2) / 2), "the fork divides by the batch and ignores nothing"


def test_sigmoid_loss_of_huge_scores_is_finite() -> None:
    layer = build('type: "SigmoidCrossEntropyLoss"', (1, 2), (1, 2))
    scores = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = layer(scores, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert float(loss.detach()) == 2e4
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, -1]]


def test_multinomial_loss_is_the_mean_log_with_a_gradient_below_the_clamp() -> None:
    layer = build('type: "MultinomialLogisticLoss"', (3, 2), (3,))
    probability = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], requires_grad=True)
    loss = layer(probability, torch.tensor([0.0, 1.0, 0.0]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-(math.log(0.5) + math.log(0.75) + math.log(1e-20)) / 3)
    assert probability.grad is not None
    wanted = np.array([[-2, 0], [0, -1 / 0.75], [-1e20, 0]]) / 3
    np.testing.assert_allclose(probability.grad.numpy(), wanted, rtol=1e-6)


def test_a_small_sigmoid_loss_is_rounded_as_caffe_rounds_it() -> None:
    """From a CPU build of Caffe 1.0, whose loss lies 3.4e-5 of itself above the exact one, 0.000372248761."""
    x = torch.tensor([[9.0, -10.0, 8.5]], requires_grad=True)
    loss = build('type: "SigmoidCrossEntropyLoss"', (1, 3), (1, 3))(x, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.00037226127, rel=1e-6)
    assert x.grad.tolist() == [pytest.approx([-0.00012338161, 4.5397868e-05, -0.00020343065], rel=1e-6)]


def _smoothed_gradient(fork: str, scores: torch.Tensor, label: int) -> list[float]:
    """The gradient of one item of 3 classes with label_smoothing 0.3, as each fork's Backward counts."""
    exps = [math.exp(score) for score in scores.tolist()]
    shares = [value / sum(exps) for value in exps]
    if fork == "intel":  # targets 0.7 and 0.1; their sum times the probability, less the target
        return [(0.7 + 2 * 0.1) * p - (0.7 if k == label else 0.1) for k, p in enumerate(shares)]
    return [p - 0.3 / 2 - (0.7 if k == label else 0) for k, p in enumerate(shares)]


@pytest.mark.parametrize("fork", ["intel", "nvidia"])
def test_label_smoothing_changes_the_gradient_as_its_fork_does(fork: str) -> None:
    text = 'name: "lay" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "l" loss_param { label_smoothing: 0.3 }'
    param = parse_text(text, LayerParameter)
    x, labels = torch.randn(2, 3, dtype=torch.float64, requires_grad=True), torch.tensor([2.0, 0.0])
    layer = create_layer(param, Context(phase="TRAIN", fork=fork))
    loss = layer(x, labels)
    loss.backward()
    assert x.grad is not None
    for row, label in enumerate((2, 0)):
        wanted = [value / 2 for value in _smoothed_gradient(fork, x[row].detach(), label)]
        assert x.grad[row].tolist() == pytest.approx(wanted)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(x, labels.long()))


def test_label_smoothing_of_no_fork_is_refused_in_training_alone() -> None:
    text = 'type: "SoftmaxWithLoss" loss_param { label_smoothing: 0.3 }'
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': loss_param\.label_smoothing is 0\.3, which"):
        build(text, (2, 3), (2,), phase="TRAIN")
    build(text, (2, 3), (2,))
