"""Small banks at once: the force of each by itself, and hands off banks whose filters are short or near."""

import pytest
import torch

from caffe_compat.solver.regularizers.force import POWERS, ZERO_THRESHOLD, add_force, force_gradient
from caffe_compat.solver.regularizers.small_banks import add_forces

SHAPES = [(8, 3, 5, 4), (13, 40), (6, 2, 3, 3), (1, 5)]


def banks():
    random = torch.Generator().manual_seed(3)
    weights = [torch.randn(shape, generator=random) * 0.05 for shape in SHAPES]
    return weights, [torch.randn(shape, generator=random) for shape in SHAPES]


@pytest.mark.parametrize("force_type", sorted(POWERS))
def test_several_banks_feel_the_force_of_each_by_itself(force_type):
    """In float64, where banks go one by one, from the same numbers."""
    weights, gradients = banks()
    strengths = [1.0, -0.5, 2.0, 1.0]
    wanted = [
        gradient.double() + strength * force_gradient(weight.double(), force_type)
        for weight, gradient, strength in zip(weights, gradients, strengths, strict=True)
    ]
    add_force(weights, gradients, strengths, force_type)
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        pytest.param(0, lambda weight: weight[3].zero_(), id="a filter of zeros"),
        pytest.param(1, lambda weight: weight[3].mul_(1e-4), id="a short filter"),
        pytest.param(1, lambda weight: weight[3].copy_(1.01 * weight[5]), id="parallel filters"),
        pytest.param(2, lambda weight: weight[0].fill_(torch.nan), id="no number"),
    ],
)
def test_a_bank_that_float32_cannot_tell_is_left_alone(number, change):
    weights, gradients = banks()
    change(weights[number])
    before = [gradient.clone() for gradient in gradients]
    assert add_forces(weights, gradients, [1.0] * 4, 1, ZERO_THRESHOLD) == [number]
    assert [torch.equal(*pair) for pair in zip(gradients, before, strict=True)][number]
    alone = [index for index in range(3) if index != number]
    for index in alone:
        torch.testing.assert_close(
            gradients[index], before[index] + force_gradient(weights[index]), rtol=1e-5, atol=2e-6
        )


def test_other_kinds_of_banks_are_left():
    weights = [torch.eye(4, 6), torch.randn(3, 5).double(), torch.randn(7, 4).T, torch.eye(2), torch.randn(9)]
    gradients = [torch.zeros_like(weight) for weight in weights]
    assert add_forces(weights, gradients, [1.0] * 5, 1, ZERO_THRESHOLD) == [1, 2, 4]
