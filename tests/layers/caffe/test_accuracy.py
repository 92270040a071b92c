"""Accuracy: both tie rules, top_k, ignored labels, accuracy by class."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build
from tests.reference.losses import accuracy


@pytest.mark.parametrize("compat", ["bvlc", "wen2017"])
@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize(
    ("shape", "axis", "label_shape"), [((9, 5), 1, (9,)), ((2, 5, 3, 7), 1, (2, 1, 3, 7)), ((2, 3, 5), -1, (2, 3))]
)
def test_accuracy_is_that_of_the_loops_with_many_ties(
    shape: tuple[int, ...], axis: int, label_shape: tuple[int, ...], top_k: int, compat: str
) -> None:
    fields = f"top_k: {top_k} axis: {axis} ignore_label: 3"
    layer = build(f'type: "Accuracy" accuracy_param {{ {fields} }}', shape, label_shape, compat=compat)
    scores, label = torch.randint(0, 3, shape).float(), torch.randint(0, 5, label_shape).float()
    wanted = accuracy(scores.numpy(), label.numpy(), axis % len(shape), top_k, 3, compat == "wen2017")
    found = layer(scores.requires_grad_(), label)
    assert found.shape == ()
    assert not found.requires_grad
    assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_constant_scores_are_all_wrong_in_caffe_and_the_last_class_in_the_fork() -> None:
    scores, label = torch.zeros(4, 3), torch.tensor([0.0, 1.0, 2.0, 2.0])
    assert build('type: "Accuracy"', (4, 3), (4,))(scores, label) == 0
    assert build('type: "Accuracy"', (4, 3), (4,), compat="wen2017")(scores, label) == 0.5


def test_without_labels_caffe_says_zero_and_the_fork_nan() -> None:
    text = 'type: "Accuracy" accuracy_param { ignore_label: 1 }'
    scores, label = torch.rand(4, 3), torch.ones(4)
    assert build(text, (4, 3), (4,))(scores, label) == 0
    assert math.isnan(build(text, (4, 3), (4,), compat="wen2017")(scores, label))


def test_the_second_top_is_the_accuracy_of_each_class() -> None:
    layer = build('type: "Accuracy" accuracy_param { ignore_label: 3 }', (5, 4), (5,), tops=2)
    scores = torch.eye(4)[[0, 1, 1, 0, 3]]
    _, by_class = layer(scores, torch.tensor([0.0, 0.0, 1.0, 0.0, 3.0]))
    torch.testing.assert_close(by_class, torch.tensor([2 / 3, 1.0, 0.0, 0.0]))
    assert layer.top_shapes([(5, 4), (5,)]) == [(), (4,)]


@pytest.mark.parametrize("top_k", [0, 4])
def test_top_k_lies_among_the_classes(top_k: int) -> None:
    with pytest.raises(
        UnsupportedParameterError, match=f"layer 'lay': accuracy_param.top_k is {top_k}; it must be 1 to 3"
    ):
        build(f'type: "Accuracy" accuracy_param {{ top_k: {top_k} }}', (5, 3), (5,))
