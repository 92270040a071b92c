"""Updates as one compiled loop: what torch's operations give, for values of the kind that it takes, and only those."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from caffe_compat.solver import looped
from caffe_compat.solver.looped import run_loop
from caffe_compat.solver.regularizers.decay import l1
from caffe_compat.solver.updates import UPDATES, Rates
from tests.kernels.switch import needs_loops

pytestmark = needs_loops

SHAPES = [(7,), (33, 16, 5, 5), (1,), (90, 17), (0, 4), (3, 8, 2, 2)]
MULTIPLIERS = [1.0, 2.0, 0.0, 1.0, 0.5, -1.0]
CONFIG: Any = SimpleNamespace(momentum=0.9, momentum2=0.999, delta=1e-8, rms_decay=0.98)
EXACT: Any = {"rtol": 0, "atol": 0}
HAS_ROOTS = {"AdaGrad", "RMSProp", "AdaDelta", "Adam"}  # torch's are off by a digit at places
ONE_DIGIT: Any = {"rtol": 2.5e-7, "atol": 2.5e-8}  # of a weight, and of a step of 0.2


@pytest.fixture(autouse=True)
def any_number_of_values_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looped, "LEAST", 1)


def arrays(kind: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Weights, gradients and history of a solver's type."""
    random = torch.Generator().manual_seed(3)
    rounds = [[torch.randn(shape, generator=random) for shape in SHAPES] for _ in range(2 + UPDATES[kind].histories)]
    history = [blob for each in rounds[2:] for blob in each]
    if kind in HAS_ROOTS:
        history = [blob.abs() for blob in history]
    return rounds[0], rounds[1], history


def stepped(kind: str, tensors: tuple[list[Tensor], list[Tensor], list[Tensor]]) -> list[Tensor]:
    copies = [[each.clone() for each in group] for group in tensors]
    UPDATES[kind].apply(*copies, Rates(0.0123, MULTIPLIERS), CONFIG)
    return [each for group in copies for each in group]


@pytest.mark.parametrize("kind", sorted(UPDATES))
def test_a_step_is_that_of_torch(kind, monkeypatch):
    tensors = arrays(kind)
    mine = stepped(kind, tensors)
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    for found, wanted in zip(mine, stepped(kind, tensors), strict=True):
        torch.testing.assert_close(found, wanted, **(ONE_DIGIT if kind in HAS_ROOTS else EXACT))


@pytest.mark.parametrize("kind", sorted(UPDATES))
def test_a_step_does_not_depend_on_the_threads(kind):
    tensors, before = arrays(kind), torch.get_num_threads()
    tensors = (tensors[0] + [torch.ones(1 << 15)], tensors[1] + [torch.rand(1 << 15)], tensors[2])
    tensors[2].insert(len(SHAPES), torch.rand(1 << 15))
    tensors[2].extend([torch.rand(1 << 15)] * (UPDATES[kind].histories - 1))
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            copies = [[each.clone() for each in group] for group in tensors]
            UPDATES[kind].apply(*copies, Rates(0.01, [*MULTIPLIERS, 1.0]), CONFIG)
            results.append([each for group in copies for each in group])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for more in results[1:] for one, other in zip(results[0], more, strict=True))


def test_signs_are_those_of_torch(monkeypatch):
    weights, gradients, _ = arrays("SGD")
    weights[1][0, 0, 0, :3] = torch.tensor([0.0, -0.0, torch.nan])
    found, wanted = ([each.clone() for each in gradients] for _ in range(2))
    l1(weights, found, MULTIPLIERS)
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    l1(weights, wanted, MULTIPLIERS)
    assert all(map(torch.equal, found, wanted))
    assert torch.equal(found[2], gradients[2])


@pytest.mark.parametrize("kind", sorted(UPDATES))
def test_a_rate_of_zero_leaves_a_weight_whose_gradient_is_no_number(kind):
    weights, history = [torch.ones(5)], [torch.zeros(5) for _ in range(UPDATES[kind].histories)]
    UPDATES[kind].apply(weights, [torch.full((5,), torch.nan)], history, Rates(0.1, [0.0]), CONFIG)
    assert torch.equal(weights[0], torch.ones(5))


def test_images_in_channels_last_are_taken_where_all_arrays_are():
    weight, gradient, history = (torch.randn(4, 3, 5, 6).contiguous(memory_format=torch.channels_last) for _ in "wgh")
    wanted = weight - (0.5 * history + 0.1 * gradient)
    assert run_loop("sgd", ([weight], [gradient], [history]), [0.1], [0.5])
    torch.testing.assert_close(weight, wanted)
    assert not run_loop("sgd", ([weight], [gradient.contiguous()], [history]), [0.1], [0.5])


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: torch.ones(4, 6, dtype=torch.float64), id="float64"),
        pytest.param(lambda: torch.ones(4, 6, dtype=torch.bfloat16), id="bfloat16"),
        pytest.param(lambda: torch.ones(6, 4).T, id="turned"),
        pytest.param(lambda: torch.ones(4, 12)[:, ::2], id="gaps"),
        pytest.param(lambda: torch.ones(4, 6, device="meta"), id="no memory"),
        pytest.param(lambda: torch.ones(4, 6).as_subclass(Subclass), id="subclass"),
    ],
)
@pytest.mark.parametrize("place", range(3))
def test_other_values_are_left_to_torch(other, place):
    lists = [[torch.ones(9), torch.ones(4, 6)] for _ in range(3)]
    lists[place][1] = other()
    assert not run_loop("sgd", lists, [1.0, 1.0], [0.5])
    assert all(torch.equal(each[0], torch.ones(9)) for each in lists)


def test_nothing_runs_where_loops_are_off_or_little_is_to_do(monkeypatch):
    lists = [torch.ones(3)], [torch.ones(3)], [torch.ones(3)]
    assert not run_loop("sgd", ([], [], []), [], [0.5])
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    assert not run_loop("sgd", lists, [1.0], [0.5])
    monkeypatch.undo()
    assert not run_loop("sgd", lists, [1.0], [0.5])


def test_autograd_refuses_a_graph_whose_weights_were_updated():
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    assert run_loop("sgd", ([weight.detach()], [torch.ones(3)], [torch.zeros(3)]), [1.0], [0.5])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
