"""Whole training runs of the paper's fork (tests/golden/solver), weight for weight, through Solver."""

import json

import numpy as np
import pytest
import torch

from caffe_compat.solver import looped
from caffe_compat.solver.solver import Solver
from tests.conftest import golden

TOLERANCES = json.loads(golden("solver", "tolerances.json").read_text())
NAMES = sorted(TOLERANCES)
QUICK = [
    "adadelta_m90", "adagrad_delta", "adam_b8_99", "average_loss7_iter2", "bn_scale", "clip_iter4",
    "clip_zero", "force_adaptive_iter4_clip", "force_constant_adaptive_same_neg",
    "force_degradation_fixed_all_neg", "force_gravity_fixed_same_pos", "force_group2", "force_ip_transpose",
    "force_iter5", "force_l1", "force_near_threshold", "force_odd_layers", "frozen_mid_adam",
    "lr_multistep_dup", "lr_sigmoid", "nesterov_m5", "rmsprop_d90", "shared_sgd", "two_losses",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_net_is_too_small_for_loops(monkeypatch):
    """In float64 torch updates them, here and for whoever has no Numba."""
    monkeypatch.setattr(looped, "LEAST", 1)


class Case:
    """One run: its solver, built in the folder of the case, and what real Caffe recorded."""

    def __init__(self, name, monkeypatch):
        folder = golden("solver", name)
        monkeypatch.chdir(folder)
        self.name = name
        self.meta = json.loads((folder / "meta.json").read_text())
        self.record = np.load(folder / "trajectory.npz")
        self.solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")

    def blobs(self):
        """Every weight and history blob of now, by the key it is recorded under."""
        names = [param["name"] for param in self.meta["params"]]
        for name, param in zip(names, self.solver.net.learnable_params, strict=True):
            yield "data", name, param.tensor.detach().numpy()
        for index, blob in enumerate(self.solver.state.history):
            yield "hist", str(index), blob.numpy()

    def to_float64(self):
        self.solver.net.double()
        self.solver.state.history = [blob.double() for blob in self.solver.state.history]


def run_in_float32(name, monkeypatch):
    case = Case(name, monkeypatch)
    tolerance = TOLERANCES[name]
    last = case.record["checkpoints"].max()
    losses, rates = [], []
    for iteration in range(1, last + 1):
        rates.append(case.solver.learning_rate)
        case.solver.step(1)
        losses.append(case.solver.loss)
        if iteration in case.record["checkpoints"] and iteration <= tolerance["comparable_until"]:
            atol = tolerance["atol"][str(iteration)]
            for kind, blob, found in case.blobs():
                if f"{kind}/{blob}" not in tolerance["ill_conditioned_blobs"]:
                    wanted = case.record[f"{kind}/{iteration}/{blob}"]
                    np.testing.assert_allclose(
                        found, wanted, rtol=0, atol=atol[f"{kind}/{blob}"], err_msg=f"{kind} {blob} at {iteration}"
                    )
            np.testing.assert_allclose(
                losses, case.record["loss"][:iteration], rtol=0, atol=tolerance["loss_atol"][str(iteration)]
            )
    np.testing.assert_array_equal(np.float32(rates), case.record["lr"][:last])


@pytest.mark.parametrize("name", QUICK)
def test_training_follows_caffe(name, monkeypatch):
    run_in_float32(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(QUICK)))
def test_training_follows_caffe_in_every_case(name, monkeypatch):
    run_in_float32(name, monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_training_in_float64_is_caffes_double_build(name, monkeypatch):
    """Without float32's noise the two agree to 1e-13 nearly everywhere: the formulas are the same."""
    case = Case(name, monkeypatch)
    case.to_float64()
    losses = []
    for checkpoint in (3, 20):
        while case.solver.iteration < checkpoint:
            case.solver.step(1)
            losses.append(case.solver.loss)
        for kind, blob, found in case.blobs():
            key = f"{kind}64/{checkpoint}/{blob}"
            if key in case.record:
                atol = 1e-9 * np.abs(case.record[key]).max() + 1e-16  # some gradients are 0 but for rounding
                np.testing.assert_allclose(found, case.record[key], rtol=0, atol=atol, err_msg=key)
    np.testing.assert_allclose(losses, case.record["loss64"][:20], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_updates_from_caffes_own_gradients_give_caffes_weights(name, monkeypatch):
    """The solver without the net: the recorded weights and gradients are put in, one to two iterations at a time."""
    case = Case(name, monkeypatch)
    case.to_float64()
    names = [param["name"] for param in case.meta["params"]]
    still = {layer for layer, module in case.solver.net.layers.items() if module.param.type == "BatchNorm"}
    # Filters 1e-4 apart or opposite: the float32 reference itself is this far, relative to the history, from float64.
    loose = {"force_near_threshold": 1.2e-3, "force_identical": 1.3e-5, "force_antiparallel": 2e-5}
    for iteration in range(1, 6):
        for blob, param in zip(names, case.solver.net.learnable_params, strict=True):
            param.tensor.grad = torch.tensor(case.record[f"grad/{iteration}/{blob}"], dtype=torch.float64)
        case.solver.apply_update()
        case.solver.state.iteration += 1
        for kind, blob, found in case.blobs() if iteration in case.record["checkpoints"] else ():
            if blob.split(".")[0] in still:  # changed by the forward pass, which does not run here
                continue
            wanted = case.record[f"{kind}/{iteration}/{blob}"]
            step = np.abs(case.record[f"hist/{iteration}/{names.index(blob) if kind == 'data' else blob}"]).max()
            rounding = 2.5e-7 + 6e-8 * np.abs(wanted).max()  # of the stored float32 weights
            atol = rounding if kind == "data" else 1e-6 * step + 1e-12
            if name in loose:
                atol = max(atol, loose[name] * step)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=atol, err_msg=f"{kind} {blob} at {iteration}")
            found[...] = wanted


@pytest.mark.parametrize("name", ["average_loss5", "average_loss7_iter2"])
def test_displayed_loss_is_averaged_as_caffe_averages_it(name, monkeypatch):
    case = Case(name, monkeypatch)
    shown = []

    class Record:
        def after_step(self, solver):
            shown.append(solver.smoothed_loss)

    case.solver.callbacks.append(Record())
    case.solver.step(50)
    np.testing.assert_allclose(shown, case.record["smoothed_loss"][:50], atol=TOLERANCES[name]["loss_atol"]["50"])
