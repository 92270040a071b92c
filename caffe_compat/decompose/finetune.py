"""The solver that brings a decomposed net back to its accuracy."""

from __future__ import annotations

import os
from typing import Any

from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import format_text

NET_FIELDS = ("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param")
FORCE_FIELDS = ("force_type", "force_decay", "force_iter", "force_decay_type", "force_direction", "force_scaler")
ALEXNET = {"base_lr": 0.01, "max_iter": 450_000, "momentum": 0.9, "weight_decay": 0.0005, "display": 100}


def fine_tune_solver(net: str, weights: str, base: Any | None = None) -> Any:
    """A SolverParameter that fine-tunes the files `net` and `weights` for a third of the iterations of `base`.

    As the fork's ft_lowrank templates have it: no force, a tenth of the learning rate in steps of 0.1, and a third of
    the iterations (AlexNet 450,000 -> 150,000, ConvNet 240,000 -> 80,000), here with steps at 3/8 and 3/4 of them.
    Tests are of `net` too, whatever nets `base` tests.
    base: the SolverParameter that trained the net; without one, AlexNet's values.
    """
    solver = SolverParameter(**ALEXNET)
    if base is not None:
        solver.CopyFrom(base)
    for name in (*FORCE_FIELDS, *NET_FIELDS, "weights", "stepsize", "stepvalue", "power"):
        solver.ClearField(name)
    solver.net = net
    solver.weights.append(weights)
    solver.base_lr = float(f"{solver.base_lr / 10:.6g}")  # the shortest decimal, not the nearest float32's
    solver.lr_policy, solver.gamma = "multistep", 0.1
    solver.max_iter = max(solver.max_iter // 3, 1)
    solver.stepvalue.extend(step for step in (3 * solver.max_iter // 8, 3 * solver.max_iter // 4) if step)
    if solver.snapshot_prefix:
        solver.snapshot_prefix += "_lowrank"
    return solver


def write_fine_tune_solver(path: str | os.PathLike[str], net: str, weights: str, base: Any | None = None) -> None:
    """Write `fine_tune_solver(net, weights, base)` as prototxt. Raises WriteError."""
    with write_atomically(path) as temporary:
        temporary.write_text(format_text(fine_tune_solver(net, weights, base)), encoding="utf-8")


def can_train(net: Any) -> bool:
    """Whether a NetParameter has a loss to train on: a deploy net has none."""
    return any(layer.type.endswith("Loss") or any(layer.loss_weight) for layer in net.layer)
