"""SoftmaxWithLoss against plain loops, its ceiling, its ignored places, its forks' smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text
from tests.layers.single import build
from tests.reference.losses import softmax_loss

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


def test_scores_and_labels_must_agree_in_the_batch() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms 'b0' \(2, 3\) and 'b1' \(1, 2\) must agree"):
        build('type: "SoftmaxWithLoss"', (2, 3), (1, 2))


def _smoothed_gradient(fork: str, scores: torch.Tensor, label: int) -> list[float]:
    """The gradient of one item of 3 classes with label_smoothing 0.3, as each fork's Backward counts."""
    exps = [math.exp(score) for score in scores.tolist()]
    shares = [value / sum(exps) for value in exps]
    s = float(np.float32(0.3))  # as the message holds it
    if fork == "intel":  # targets 1 - s and s / 3; their sum times the probability, less the target
        return [(1 - s + 2 * s / 3) * p - (1 - s if k == label else s / 3) for k, p in enumerate(shares)]
    return [p - s / 2 - (1 - s if k == label else 0) for k, p in enumerate(shares)]


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
