"""Solvers: what is computed at once where nobody looks, and what Caffe does in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.pycaffe.nets import DATA, inner, layer, wave

INPUTS = (
    'layer { name: "data" type: "Input" top: "data" top: "label" '
    "input_param { shape { dim: 4 dim: 2 dim: 6 dim: 5 } shape { dim: 4 } } }\n"
)
NET = (
    INPUTS
    + layer(
        "conv", "Convolution", "data", "conv", "convolution_param { num_output: 3 kernel_size: 3 bias_term: false }"
    )
    + layer("bn", "BatchNorm", "conv", "conv")
    + layer("scale", "Scale", "conv", "conv", "scale_param { bias_term: true }")
    + layer("relu", "ReLU", "conv", "conv")
    + inner("ip", "conv", "ip", 2)
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss")
)


def _solver(text: str = NET, kind: type[Any] = caffe.SGDSolver, **fields: Any) -> Any:
    Path("net.prototxt").write_text(text)
    given = {"net": '"net.prototxt"', "base_lr": 0.1, "lr_policy": '"fixed"', "max_iter": 5, **fields}
    Path("solver.prototxt").write_text("".join(f"{name}: {value}\n" for name, value in given.items()))
    solver = kind("solver.prototxt")
    for i, blobs in enumerate(solver.net.params.values()):
        for j, blob in enumerate(blobs):
            if not blob.data.any():
                blob.data[...] = 0.5 * wave(*blob.data.shape, k=i + 2 * j)
    solver.net.blobs["data"].data[...] = wave(*solver.net.blobs["data"].data.shape)
    solver.net.blobs["label"].data[...] = [0, 1] * 2
    return solver


def _values(solver: Any, part: str) -> list[np.ndarray]:
    return [getattr(blob, part) for blobs in solver.net.params.values() for blob in blobs]


@pytest.mark.parametrize("kind", [caffe.SGDSolver, caffe.AdamSolver])
def test_a_step_that_nobody_watches_is_the_same_as_one_layer_by_layer(kind: type[Any]) -> None:
    quick, watched = _solver(kind=kind, momentum=0.9), _solver(kind=kind, momentum=0.9)
    seen: list[int] = []
    watched.net.after_forward(seen.append)
    quick.step(3)
    watched.step(3)
    assert seen == list(range(7)) * 3
    for part in ("data", "diff"):
        for one, other in zip(_values(quick, part), _values(watched, part), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    for name, blob in quick.net.blobs.items():
        np.testing.assert_allclose(blob.data, watched.net.blobs[name].data, rtol=1e-4, atol=1e-5, err_msg=name)


def test_after_a_step_a_pass_by_hand_has_all_gradients() -> None:
    quick, watched = _solver(), _solver()
    watched.net.after_forward(lambda number: None)
    for solver in (quick, watched):
        solver.step(1)
        net = solver.net
        net.clear_param_diffs()
        net.forward()
        net.backward()
    for one, other in zip(_values(quick, "diff"), _values(watched, "diff"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    assert all(diff.any() for diff in [blob.diff for blob in quick.net.params["scale"]])


def test_a_loss_that_is_no_number_does_not_stop_training() -> None:
    solver = _solver()
    solver.net.params["ip"][0].data[...] = np.nan
    solver.step(2)
    assert solver.iter == 2 and np.isnan(solver.net.blobs["loss"].data)


def test_fields_that_caffe_does_without_may_be_missing() -> None:
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text('net: "net.prototxt" lr_policy: "step" stepsize: 2 test_interval: 5')
    solver = caffe.get_solver("solver.prototxt")
    assert solver.lr == 0 and len(solver.test_nets) == 0


def test_a_net_without_a_loss_can_be_had_from_a_solver() -> None:
    solver = _solver(INPUTS.replace('top: "label"', 'top: "label"') + inner("ip", "data", "ip", 2))
    before = solver.net.params["ip"][0].data.copy()
    solver.step(2)
    assert np.array_equal(solver.net.params["ip"][0].data, before)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("base_lr: 1", "SolverParameter must specify a train net"),
        ('net: "net.prototxt" type: "Lion"', "Unknown solver type: Lion"),
        ('net: "nothing.prototxt"', "nothing.prototxt"),
        ("net 3", "Failed to parse SolverParameter file"),
    ],
)
def test_solvers_are_refused_in_caffes_words(file: str, words: str) -> None:
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(file)
    with pytest.raises(RuntimeError, match=words):
        caffe.get_solver("solver.prototxt")


def test_a_diff_given_to_a_parameter_of_lr_mult_0_becomes_its_update_of_0() -> None:
    """sgd_solver.cpp: each learnable parameter's diff is the update in the end, lr * lr_mult * ..., here 0."""
    solver = _still_solver()
    frozen, learns = solver.net.params["ip"]
    frozen.diff[...] = 3
    learns.diff[...] = 2
    before = frozen.data.copy()
    solver.apply_update()
    assert (frozen.diff == 0).all()
    assert (frozen.data == before).all()
    np.testing.assert_allclose(learns.diff, 0.2, rtol=1e-6)
    solver.apply_update()
    assert (frozen.diff == 0).all()


def _still_solver() -> caffe.SGDSolver:
    ip = inner("ip", "data", "ip", 2).replace("inner_", "param { lr_mult: 0 } param { lr_mult: 1 } inner_")
    Path("net.prototxt").write_text(DATA + ip + layer("loss", "Reduction", "ip", "loss", "loss_weight: 1"))
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_after_train: false\n'
    )
    return caffe.SGDSolver("solver.prototxt")


@pytest.mark.parametrize(
    "fields", ['prune_method: "Reg_Row" AA: 1 target_reg: 1', 'growing_reg: "GReg-1"', "gradient_prune_rate: 0.5"]
)
def test_a_method_that_acts_while_passes_run_is_refused_in_a_line(fields: str) -> None:
    ip = inner("ip", "data", "ip", 2).replace("inner_", "prune_param { prune_ratio: 0.5 } inner_")
    Path("net.prototxt").write_text(DATA + ip + layer("loss", "Reduction", "ip", "loss", "loss_weight: 1"))
    Path("solver.prototxt").write_text(
        f'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_after_train: false {fields}\n'
    )
    with pytest.raises(RuntimeError, match="which acts while passes run; train with "):
        caffe.SGDSolver("solver.prototxt")


@pytest.mark.parametrize("fields", [{"gamma": -0.5, "stepsize": 3}, {"gamma": 0.5}])
def test_a_sigmoid_that_caffe_refuses_is_refused_when_the_rate_is_asked_for(fields: dict[str, Any]) -> None:
    solver = _solver(lr_policy='"sigmoid"', **fields)
    with pytest.raises(RuntimeError, match="Check failed: this->param_"):
        solver.step(1)
