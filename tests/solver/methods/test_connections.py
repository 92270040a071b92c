"""Convolutions that read some of their inputs: forward, backward, training, growth, resumption."""

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.layers.caffe.connections import draw, grow
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.solver.solver import Solver
from tests.solver.methods.golden import Case, cases, close

NET = """
layer {{ name: "data" type: "DummyData" top: "data" dummy_data_param {{ shape {{ dim: 2 dim: 8 dim: 5 dim: 5 }}
  data_filler {{ type: "gaussian" }} }} }}
layer {{ name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {{ num_output: 6 kernel_size: 3
  weight_filler {{ type: "xavier" }} {fields} }} }}
layer {{ name: "sum" type: "Reduction" bottom: "a" top: "sum" loss_weight: 1 }}
"""


@pytest.mark.parametrize("name", cases("channel_sparse"))
def test_it_computes_what_the_mask_leaves(name, tmp_path):
    case = Case("channel_sparse", name)
    cc.write_blob(tmp_path / "mask.binaryproto", case["mask"].astype(np.float32))
    hyper = case.hyper
    dims = " ".join(f"dim: {size}" for size in case["x"].shape)
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
    layer {{ name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param {{ num_output: {hyper["num_output"]}
      kernel_size: {hyper["kernel"]} stride: {hyper["stride"]} pad: {hyper["pad"]} group: {hyper["group"]}
      connection_mask: "{tmp_path / "mask.binaryproto"}" }} }}"""
    net = Net(cc.parse_text(text, cc.NetParameter), "TEST").double()
    net.load_weights({"a": (case["w"], case["b"])})
    x = torch.as_tensor(case["x"]).requires_grad_()
    y = net(x=x)["a"]
    close(y.detach(), case["y"], 1e-12)
    y.backward(torch.as_tensor(case["dy"]))
    close(x.grad, case["dx"], 1e-12)
    close(net.params["a"][0].grad, case["dw"], 1e-12)
    close(net.params["a"][1].grad, case["db"], 1e-12)
    assert (case["mask"].sum(1) == hyper["connections_a_filter"]).all()
    mine = draw(hyper["num_output"], case["mask"].shape[1], hyper["density"], 3)
    assert mine.sum(1).tolist() == [hyper["connections_a_filter"]] * hyper["num_output"]


def make(fields, solver="", folder="/tmp"):
    text = f'base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 snapshot_prefix: "{folder}/r" '
    param = cc.parse_text(text + solver, SolverParameter)
    param.net_param.CopyFrom(cc.parse_text(NET.format(fields=fields), cc.NetParameter))
    return Solver(param)


def planes(solver):
    return solver.net.params["a"][0].detach().flatten(2).ne(0).any(2)


def test_masked_weights_stay_zero_while_a_net_trains():
    solver = make("connection_density: 0.25")
    before = planes(solver)
    assert before.sum(1).tolist() == [2] * 6
    solver.step(5)
    assert torch.equal(planes(solver), before)


def test_connections_grow_and_those_that_are_there_stay():
    solver = make("connection_density: 0.25", "connection_growth { iteration: 2 density: 0.5 }")
    before = planes(solver)
    solver.step(5)
    assert planes(solver).sum(1).tolist() == [4] * 6 and bool((planes(solver) | ~before).all())
    mask = draw(5, 8, 0.25, 0)
    assert bool((grow(mask, 1.0)).all())


def test_a_resumed_run_has_the_mask_of_the_first(tmp_path):
    first = make("connection_density: 0.25", folder=tmp_path)
    first.step(3)
    path = first.snapshot()
    second = make("connection_density: 0.25", folder=tmp_path)
    second.net.layers["a"].connections = draw(6, 8, 0.25, 77)
    second.restore(path)
    assert torch.equal(second.net.layers["a"].connections, first.net.layers["a"].connections)


@pytest.mark.parametrize(
    ("fields", "solver", "message"),
    [
        ("connection_density: 0", "", "layer 'a': connection_density is 0; wanted more than 0 and at most 1"),
        ("connection_density: 1.5", "", "layer 'a': connection_density is 1.5"),
        ('connection_mask: "/none"', "", "layer 'a': connection_mask '/none': .* is not at"),
        ("", "connection_growth { iteration: 1 density: 0.5 }", "no convolution of the net has a connection_density"),
        (
            "connection_density: 0.5",
            "connection_growth { iteration: 1 density: 2 }",
            "connection_growth has iteration 1",
        ),
    ],
)
def test_what_cannot_be_is_named(fields, solver, message):
    with pytest.raises(cc.CaffeCompatError, match=message):
        make(fields, solver)
