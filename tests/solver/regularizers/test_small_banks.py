"""Small banks at once, by a compiled loop and by torch: the force of each by itself, and hands off other banks."""

import pytest
import torch

from caffe_compat.solver import looped
from caffe_compat.solver.regularizers.force import POWERS, add_force, force_gradient
from caffe_compat.solver.regularizers.small_banks import add_forces
from tests.kernels.switch import needs_loops

SHAPES = [(8, 3, 5, 4), (13, 40), (6, 2, 3, 3), (1, 5)]
STRENGTHS = [1.0, -0.5, 2.0, 1.0]


@pytest.fixture(params=["torch", pytest.param("loops", marks=needs_loops)], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(looped, "LEAST", 1)
    if request.param == "torch":
        monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    return request.param


def banks():
    random = torch.Generator().manual_seed(3)
    weights = [torch.randn(shape, generator=random) * 0.05 for shape in SHAPES]
    return weights, [torch.randn(shape, generator=random) for shape in SHAPES]


def one_by_one(weights, gradients, force_type):
    """In float64, where banks go one by one, from the same numbers."""
    return [
        gradient.double() + strength * force_gradient(weight.double(), force_type)
        for weight, gradient, strength in zip(weights, gradients, STRENGTHS, strict=True)
    ]


def assert_as(gradients, wanted):
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("force_type", sorted(POWERS))
def test_several_banks_feel_the_force_of_each_by_itself(force_type):
    weights, gradients = banks()
    wanted = one_by_one(weights, gradients, force_type)
    add_force(weights, gradients, STRENGTHS, force_type)
    assert_as(gradients, wanted)


AWKWARD = [
    pytest.param(0, lambda weight: weight[3].zero_(), id="a filter of zeros"),
    pytest.param(1, lambda weight: weight[3].mul_(1e-4), id="a short filter"),
    pytest.param(1, lambda weight: weight[3].copy_(1.01 * weight[5]), id="parallel filters"),
    pytest.param(1, lambda weight: weight[3].copy_(weight[5] + 1e-3 * weight[6]), id="filters near each other"),
    pytest.param(2, lambda weight: weight[0].copy_(-weight[1]), id="opposite filters"),
]


@pytest.mark.parametrize("force_type", sorted(POWERS))
@pytest.mark.parametrize(("number", "change"), AWKWARD)
def test_a_bank_whose_filters_are_near_or_short_feels_its_force_too(number, change, force_type):
    weights, gradients = banks()
    change(weights[number])
    wanted = one_by_one(weights, gradients, force_type)
    add_force(weights, gradients, STRENGTHS, force_type)
    for mine, theirs in zip(gradients, wanted, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("number", "change"),
    [*AWKWARD[:4], pytest.param(2, lambda weight: weight[0].fill_(torch.nan), id="no number")],
)
def test_torch_leaves_a_bank_that_float32_cannot_tell_alone(number, change, way):
    weights, gradients = banks()
    change(weights[number])
    before = [gradient.clone() for gradient in gradients]
    left = add_forces(weights, gradients, [1.0] * 4, 1)
    assert left == ([number] if way == "torch" else [])
    if way == "torch":
        assert [torch.equal(*pair) for pair in zip(gradients, before, strict=True)][number]
    for index in range(3):
        if index != number:
            wanted = before[index].double() + force_gradient(weights[index].double())
            torch.testing.assert_close(gradients[index].double(), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("power", [0, 1])
def test_other_kinds_of_banks_are_left(power, way):
    weights = [torch.eye(4, 6), torch.randn(3, 5).double(), torch.randn(7, 4).T, torch.eye(2), torch.randn(9)]
    weights += [torch.randn(400, 2), torch.randn(2, 50000), torch.empty(0, 3)]
    gradients = [torch.zeros_like(weight) for weight in weights]
    others = [1, 2, 4, 5, 6, 7]
    assert add_forces(weights, gradients, [1.0] * 8, power) == (others if power or way == "loops" else list(range(8)))


@pytest.mark.parametrize("force_type", ["Constant", "Degradation"])
def test_the_force_does_not_depend_on_where_banks_stand_or_what_stands_beside(force_type):
    weights, _ = banks()
    together, alone = ([torch.zeros_like(weight) for weight in weights] for _ in "ta")
    add_force(weights[::-1], together[::-1], STRENGTHS[::-1], force_type)
    for weight, gradient, strength in zip(weights, alone, STRENGTHS, strict=True):
        add_force([weight], [gradient], [strength], force_type)
    for mine, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
