"""Gradients that are applied within the backward pass: the same weights to the bit, and nothing half done."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver import early, looped
from tests.kernels.switch import needs_loops

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 3 dim: 2 dim: 7 dim: 6 } shape { dim: 3 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { FORCED } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip" top: "ip2" param { name: "s" }
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "ip3" type: "InnerProduct" bottom: "ip2" top: "ip3" param { name: "s" }
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip3" bottom: "label" top: "loss" }
"""
SOLVER = """base_lr: 0.05 weight_decay: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 2 max_iter: 5 random_seed: 3
display: 2 snapshot_after_train: false """


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "LEAST", 1)
    monkeypatch.setattr("caffe_compat.layers.parts._PART", 200)  # some rows of ip, not all


def solver_of(folder: Path, more: str = "", net: str = NET, **options: Any) -> cc.Solver:
    more = more if "momentum: 0" in more else f"{more} momentum: 0.9"
    param = parse_text(f'{SOLVER} snapshot_prefix: "{folder / "run"}" {more} net_param {{ {net} }}', SolverParameter)
    param.net_param.ClearField("name")
    return cc.Solver(param, **options)


def weights(solver: cc.Solver) -> list[torch.Tensor]:
    return [param.tensor.detach().clone() for param in solver.net.learnable_params]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parameters that are updated early, in turn."""
    seen: list[int] = []
    honest, parts = early.EarlyUpdates._whole, early.EarlyUpdates.take

    def whole(self: Any, index: int, tensor: torch.Tensor) -> None:
        before = len(self.done)
        honest(self, index, tensor)
        seen.extend(self.done[before:])

    def take(self: Any, index: int, part: tuple[slice, torch.Tensor]) -> None:
        before = len(self.done)
        parts(self, index, part)
        seen.extend(self.done[before:])

    monkeypatch.setattr(early.EarlyUpdates, "_whole", whole)
    monkeypatch.setattr(early.EarlyUpdates, "take", take)
    return seen


@pytest.mark.parametrize(
    "more",
    [
        'type: "SGD"',
        'type: "Nesterov"',
        'type: "AdaGrad" momentum: 0 delta: 1e-6',
        'type: "RMSProp" momentum: 0 rms_decay: 0.9 delta: 1e-6',
        'type: "AdaDelta" delta: 1e-6',
        'type: "Adam" momentum2: 0.99 delta: 1e-6',
        'regularization_type: "L1"',
        'lr_policy: "multistep" stepvalue: 1 stepvalue: 3',
        'force_decay: 0.1 force_type: "Constant"',
    ],
)
def test_solve_gives_the_weights_and_the_history_of_step_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    net = NET.replace("FORCED", "force_mult: 1" if "force" in more else "")
    more = more.replace('lr_policy: "multistep"', "")
    text = SOLVER.replace('"step"', '"multistep"') if "stepvalue" in more else SOLVER
    monkeypatch.setattr(f"{__name__}.SOLVER", text)
    stepped, solved = solver_of(tmp_path, more, net), solver_of(tmp_path, more, net)
    torch.manual_seed(5)
    stepped.step(5)
    torch.manual_seed(5)
    seen = counted(monkeypatch)
    solved.solve()
    assert sorted(seen) == sorted([0, 1, 2, 4, 5, 6] * 5)  # each once an iteration; ip's bias has lr_mult 0
    assert all(torch.equal(a, b) for a, b in zip(weights(stepped), weights(solved), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(stepped.state.history, solved.state.history, strict=True))
    assert stepped.smoothed_loss == solved.smoothed_loss and stepped.applied_rate == solved.applied_rate
    assert all(param.tensor.grad is None for param in solved.net.learnable_params)
    assert any(param.tensor.grad is not None for param in stepped.net.learnable_params)


@needs_loops
def test_few_values_take_the_way_that_all_would_take_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looped, "LEAST", 1200)  # of 1284; no parameter has so many
    more = 'type: "Adam" momentum2: 0.99 delta: 1e-6'
    stepped, solved = (solver_of(tmp_path, more, NET.replace("FORCED", "")) for _ in range(2))
    torch.manual_seed(5)
    stepped.step(5)
    torch.manual_seed(5)
    solved.solve()
    assert all(torch.equal(a, b) for a, b in zip(weights(stepped), weights(solved), strict=True))


class Reader:
    def after_step(self, solver: cc.Solver) -> None:
        assert solver.net.params["ip"][0].grad is not None


class Blind:
    reads_gradients = False

    def after_step(self, solver: cc.Solver) -> None:
        assert solver.net.params["ip"][0].grad is None


@pytest.mark.parametrize(
    ("more", "callback", "is_early"),
    [
        ("clip_gradients: 1", None, False),
        ("iter_size: 2", None, False),
        ("debug_info: true", None, False),
        ("", Reader(), False),
        ("", Blind(), True),
        ("", cc.KeepLast(2), True),
    ],
)
def test_it_is_off_where_somebody_may_look_at_all_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, callback: Any, is_early: bool
) -> None:
    solver = solver_of(tmp_path, more, NET.replace("FORCED", ""), callbacks=[callback] if callback else [])
    seen = counted(monkeypatch)
    solver.solve()
    assert bool(seen) == is_early


def test_a_loss_that_is_no_number_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    solver = solver_of(tmp_path, "", NET.replace("FORCED", ""))
    with torch.no_grad():
        solver.net.params["conv"][1].fill_(float("inf"))
    before = weights(solver)
    with pytest.raises(cc.SolverError, match="the loss is"):
        solver.solve()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(solver), strict=True))


def test_ctrl_c_within_a_pass_comes_behind_its_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = (solver_of(tmp_path, "", NET.replace("FORCED", "")) for _ in range(2))
    torch.manual_seed(5)
    whole.step(1)
    honest = early.EarlyUpdates._whole

    def interrupted(self: Any, index: int, tensor: torch.Tensor) -> None:
        signal.raise_signal(signal.SIGINT)
        honest(self, index, tensor)

    monkeypatch.setattr(early.EarlyUpdates, "_whole", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        torch.manual_seed(5)
        with pytest.raises(KeyboardInterrupt):
            cut.solve()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(cut), strict=True))


def test_an_update_that_fails_in_the_middle_leaves_no_snapshot_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = solver_of(tmp_path, "", NET.replace("FORCED", ""))
    solver.snapshot("whole")
    honest = early.EarlyUpdates._whole

    def failing(self: Any, index: int, tensor: torch.Tensor) -> None:
        if index == 0:
            raise MemoryError
        honest(self, index, tensor)

    with monkeypatch.context() as patch:
        patch.setattr(early.EarlyUpdates, "_whole", failing)
        with pytest.raises(MemoryError):
            solver.solve()
    with pytest.raises(cc.SolverError, match=r"in the middle of its update.*restore a snapshot"):
        solver.snapshot()
    solver.restore(tmp_path / "run_whole.solverstate")
    solver.solve()
    assert solver.snapshot().is_file()
