"""Training with layers in place that overwrite what a gradient is computed from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.solver.run_options import agreed

NET = """
name: "n"
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 3 dim: 4 } data_filler { type: "constant" value: 0.5 }
  shape { dim: 3 dim: 2 } data_filler { type: "constant" } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 bias_term: false weight_filler { type: "constant" value: 0.3 } } }
layer { name: "b" type: "BNLL" bottom: "ip" top: "ip" }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }
"""


def solver(net=NET, **options):
    param = cc.parse_text('base_lr: 0.1 lr_policy: "fixed" max_iter: 9', cc.SolverParameter)
    param.net_param.CopyFrom(cc.parse_text(net, cc.NetParameter))
    return cc.Solver(param, **options)


@pytest.mark.parametrize("in_place", ["caffe", "right"])
def test_a_bnll_in_place_learns_from_what_it_left(in_place):
    """Caffe's slope is the logistic function of the top, which lies where the bottom was (bnll_layer.cpp)."""
    trained = solver(in_place=None if in_place == "caffe" else in_place)
    trained.step(1)
    z = np.full((3, 2), 4 * 0.5 * 0.3)
    top = np.log1p(np.exp(z))
    slope = 1 / (1 + np.exp(-(top if in_place == "caffe" else z)))
    gradient = (top / 3 * slope).T @ np.full((3, 4), 0.5)
    found = trained.net.params["ip"][0].detach().numpy()
    np.testing.assert_allclose(found, 0.3 - 0.1 * gradient, rtol=1e-6)


def test_the_default_of_a_block_is_kept_as_an_option_of_the_run():
    with cc.default_in_place("right"):
        made = solver()
    assert not made.net.hazards
    assert made._options["in_place"] == "right"
    assert solver().net.hazards


def test_a_resume_that_would_change_it_stops():
    assert agreed({}, {"in_place": "right"}, "s")["in_place"] == "right"
    with pytest.raises(cc.SolverError, match="in-place right, this one asks for in-place caffe"):
        agreed({"in_place": "caffe"}, {"in_place": "right"}, "s")


CHAIN = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 dim: 5 dim: 4 } data_filler { type: "gaussian" }
  shape { dim: 4 dim: 6 dim: 5 dim: 4 } data_filler { type: "gaussian" } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "last" type: "Scale" bottom: "c" top: "c" scale_param { filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "t" top: "loss" }
"""


def test_the_joined_passes_of_training_give_the_gradients_of_the_net():
    torch.manual_seed(5)
    net = solver(CHAIN).net
    assert net.hazards
    values = net.next_values()
    _, loss = net.forward_with_loss(**values)
    loss.backward()
    wanted = [param.tensor.grad.clone() for param in net.learnable_params if param.tensor.grad is not None]
    net.zero_grad()
    with JoinedLayers(net):
        _, again = net.forward_with_loss(**values)
        again.backward()
    found = [param.tensor.grad for param in net.learnable_params if param.tensor.grad is not None]
    for first, second in zip(wanted, found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
