"""Gradients that are 0 but for rounding: left out where nobody reads them, and there as zeros afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 8 dim: 2 dim: 7 dim: 6 } shape { dim: 8 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" }
  bias_filler { type: "constant" value: 0.5 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 9 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = (
    """base_lr: 0.05 weight_decay: 0.01 lr_policy: "fixed" max_iter: 5 random_seed: 3 snapshot_after_train: false """
)


def solver_of(more: str = "", **options: Any) -> cc.Solver:
    return cc.Solver(parse_text(f"{SOLVER} {more} net_param {{ {NET} }}", SolverParameter), **options)


class Reader:
    """A callback that may look at gradients, as of anybody."""

    def after_step(self, solver: Any) -> None:
        pass


@pytest.mark.parametrize("kind", ["SGD", "Nesterov"])
def test_weights_are_those_of_all_gradients(kind):
    sparing, other = (solver_of(f'type: "{kind}" momentum: 0.9') for _ in range(2))
    other.callbacks.append(Reader())
    for solver in (sparing, other):
        torch.manual_seed(5)
        solver.step(4)
    mine, theirs = sparing.net.params["conv"][1], other.net.params["conv"][1]
    assert torch.equal(mine.grad, torch.zeros(6)) and theirs.grad.abs().sum() > 0
    for found, wanted in zip(sparing.net.learnable_params, other.net.learnable_params, strict=True):
        torch.testing.assert_close(found.tensor, wanted.tensor, rtol=1e-5, atol=1e-7)
    assert torch.equal(mine.detach(), torch.full((6,), 0.5))


@pytest.mark.parametrize(
    ("more", "options"),
    [
        pytest.param('type: "Adam" momentum: 0.9', {}, id="Adam divides rounding by rounding"),
        pytest.param("clip_gradients: 10", {}, id="clipping counts all"),
        pytest.param("iter_size: 2", {}, id="gradients are summed"),
        pytest.param("debug_info: true", {}, id="debug_info shows them"),
        pytest.param("", {"callbacks": [Reader()]}, id="a callback may read them"),
    ],
)
def test_all_gradients_are_there_where_they_may_be_read(more, options):
    solver = solver_of(more, **options)
    solver.step(1)
    assert solver.net.params["conv"][1].grad.abs().sum() > 0


WITHOUT_DECAY = SOLVER.replace("weight_decay: 0.01 ", "")
SCALED = """
layer {{ name: "data" type: "DummyData" top: "x" dummy_data_param {{ shape {{ dim: {batch} dim: 3 dim: 4 dim: 5 }}
  data_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "scale" type: "Scale" bottom: "x" top: "y" scale_param {{ {fields} bias_term: true }} }}
layer {{ name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }}
"""


@pytest.mark.parametrize(
    ("batch", "fields", "in_place", "kept"),
    [
        pytest.param(1, "", "caffe", "last", id="a batch of 1"),
        pytest.param(2, "", "caffe", "sum", id="a batch of 2"),
        pytest.param(2, "axis: 0 num_axes: -1", "caffe", "last", id="a factor for each value"),
        pytest.param(1, "num_axes: 0", "caffe", "sum", id="one factor for all"),
        pytest.param(1, "", "right", "sum", id="a batch of 1, as the prototxt says"),
    ],
)
def test_scale_keeps_the_gradient_of_the_last_batch_where_caffe_writes_over_it(batch, fields, in_place, kept):
    """scale_layer.cpp gives gemv a beta of 0 where outer_dim_ is 1, and mul the diff itself where counts are equal."""
    text = f"{WITHOUT_DECAY} iter_size: 3 net_param {{ {SCALED.format(batch=batch, fields=fields)} }}"
    solver = cc.Solver(parse_text(text, SolverParameter), in_place=in_place)
    seen = []
    solver.net.layers["scale"].register_forward_pre_hook(lambda layer, bottoms: seen.append(bottoms[0].clone()))
    solver.step(1)
    scale, bias = solver.net.layers["scale"].blobs
    others = [axis for axis, size in enumerate(seen[0].shape) if size not in scale.shape]
    sums = [x.sum(others) if others else x for x in seen]  # the gradient of sum(x * scale + bias)
    wanted = sums[-1] if kept == "last" else sum(sums)
    torch.testing.assert_close(scale.grad * 3, wanted)
    torch.testing.assert_close(bias.grad * 3, torch.full_like(bias, 3 * seen[0].numel() / bias.numel()))


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_a_net_of_which_nothing_learns_is_run_and_stays_as_it_is(kind):
    still = "param { lr_mult: 0 } param { lr_mult: 0 }"
    fixed = NET.replace("param { } param { lr_mult: 2 decay_mult: 0 }", still)
    fixed = fixed.replace('top: "ip"', f'top: "ip" {still}')
    solver = cc.Solver(
        parse_text(f'{WITHOUT_DECAY} type: "{kind}" iter_size: 2 net_param {{ {fixed} }}', SolverParameter)
    )
    before = [param.tensor.detach().clone() for param in solver.net.learnable_params]
    solver.step(2)
    statistics = {id(blob) for blob in solver.net.params["bn"]}
    assert solver.iteration == 2 and solver.loss > 0
    for param, value in zip(solver.net.learnable_params, before, strict=True):
        assert id(param.tensor) in statistics or torch.equal(param.tensor, value)
