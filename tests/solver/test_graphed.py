"""An iteration as one graph: on a CPU recorded by running it again, on a GPU as a CUDA graph."""

import logging

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import LayerParameter, NetParameter, SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver import graphed
from caffe_compat.solver.graphed import GraphedIteration, NotRecorded, obstacle
from caffe_compat.solver.solver import Solver
from tests.conftest import golden

CASES = [
    "adadelta_m90", "adagrad_delta", "adam_b8_99", "average_loss7_iter2", "bn_scale", "clip_iter4", "force_iter5_adam",
    "force_constant_adaptive_same_neg", "l1_mults", "lr_multistep_dup", "lr_sigmoid", "nesterov_m5", "rmsprop_d90",
    "shared_sgd", "two_losses",
]  # fmt: skip
SOLVER = """base_lr: 0.01 momentum: 0.9 weight_decay: 0.01 lr_policy: "step" stepsize: 7 gamma: 0.5 max_iter: 100
  force_type: "Constant" force_decay: 0.001 clip_gradients: 5 random_seed: 3 snapshot_after_train: false"""
NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ scale: 0.01 mirror: true }}
  data_param {{ source: "{source}" batch_size: 16 backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" param {{ force_mult: 1 }} param {{ lr_mult: 2 }}
  convolution_param {{ num_output: 8 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param {{ dropout_ratio: 0.3 }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param {{ num_output: 4
  weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


class Again:
    """Records by keeping the work, as a CUDA graph does: nothing runs before the first replay."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, work):
        self.recorded += 1
        return work


def solver_of(name, monkeypatch, record=None):
    monkeypatch.chdir(golden("solver", name))
    solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    solver.net.double()
    solver.state.history = [blob.double() for blob in solver.state.history]
    if record is not None:
        solver._graphed = GraphedIteration(solver._passes, solver.apply_update, record)
    return solver


@pytest.mark.parametrize("name", CASES)
def test_the_recorded_iteration_trains_as_the_ordinary_one(name, monkeypatch):
    """In float64 but for the rate, which passes through a tensor: every loss, weight and history, 12 iterations."""
    plain, record = solver_of(name, monkeypatch), Again()
    recorded = solver_of(name, monkeypatch, record)
    for _ in range(12):
        plain.step(1)
        recorded.step(1)
        assert recorded.loss == pytest.approx(plain.loss, rel=1e-10)
        assert recorded.smoothed_loss == pytest.approx(plain.smoothed_loss, rel=1e-10)
    for mine, theirs in zip(recorded.state.history, plain.state.history, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
    for mine, theirs in zip(recorded.net.learnable_params, plain.net.learnable_params, strict=True):
        torch.testing.assert_close(mine.tensor, theirs.tensor, rtol=1e-9, atol=1e-12)
    assert recorded.state.current_step == plain.state.current_step
    assert record.recorded == (2 if name == "force_iter5_adam" else 1)  # with and without the force


def test_the_batches_are_read_from_the_same_memory(monkeypatch):
    solver = solver_of("average_loss7_iter2", monkeypatch, Again())
    solver.step(1)
    places = [value.data_ptr() for batch in solver._graphed.values for value in batch.values()]
    assert len(solver._graphed.values) == 2  # of iter_size 2
    solver.step(5)
    assert [value.data_ptr() for batch in solver._graphed.values for value in batch.values()] == places


def test_what_cannot_be_recorded_is_said_once_and_loses_no_batch(monkeypatch, caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    plain, refused = solver_of("sgd_momentum", monkeypatch), solver_of("sgd_momentum", monkeypatch, refuse)
    plain.step(8)
    with caplog.at_level(logging.INFO):
        refused.step(8)
    lines = [line for line in caplog.messages if line.startswith("CUDA graph")]
    said = "RuntimeError: operation not permitted when stream is capturing"
    assert lines == [f"CUDA graph: {said}; training goes on without"]
    for mine, theirs in zip(refused.net.learnable_params, plain.net.learnable_params, strict=True):
        torch.testing.assert_close(mine.tensor, theirs.tensor, rtol=1e-9, atol=1e-12)


def test_batches_of_another_shape_are_not_recorded(monkeypatch):
    solver = solver_of("sgd_momentum", monkeypatch, Again())
    solver.step(4)
    whole = solver.net.next_values
    monkeypatch.setattr(solver.net, "next_values", lambda: {name: value[:2] for name, value in whole().items()})
    with pytest.raises(NotRecorded, match="change their shape"):
        solver._graphed.run(0.1)


def test_layers_that_look_at_values_are_named():
    net = parse_text(NET.format(source="none"), NetParameter)
    net.layer[0].CopyFrom(
        parse_text(
            'name: "in" type: "Input" top: "data" top: "label" '
            "input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } }",
            LayerParameter,
        )
    )
    assert obstacle(cc.Net(net, phase="TRAIN")) is None
    extra = """layer { name: "t" type: "Threshold" bottom: "label" top: "t" }
      layer { name: "f" type: "Filter" bottom: "label" bottom: "t" top: "f" }"""
    net.layer.extend(parse_text(extra, NetParameter).layer)
    assert obstacle(cc.Net(net, phase="TRAIN")) == "layer 'f' is of type Filter"


def gpu_solver(folder, **options):
    """A solver on the GPU, with force and clipping, its batches from an LMDB."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    if not (folder / "db").exists():
        cc.write_lmdb(folder / "db", ((b"%03d" % i, cc.encode_datum(image, i % 4)) for i, image in enumerate(images)))
    param = parse_text(SOLVER, SolverParameter)
    param.net_param.CopyFrom(parse_text(NET.format(source=folder / "db"), NetParameter))
    return Solver(param, device="cuda", **options)


@pytest.mark.gpu
def test_a_cuda_graph_trains_as_separate_kernels_do(tmp_path):
    losses = []
    for graph in (True, False):
        solver = gpu_solver(tmp_path, graph=graph)
        solver.net.layers["drop"].dropout_ratio = 0  # the masks of the two runs differ
        losses.append([])
        for _ in range(30):
            solver.step(1)
            losses[-1].append(solver.loss)
        assert (solver._graphed is not None) == graph
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.gpu
def test_no_iteration_waits_for_the_gpu(tmp_path):
    solver = gpu_solver(tmp_path)
    solver.step(graphed.WARM_UP + 2)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        solver.step(20)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert np.isfinite(solver.loss)
