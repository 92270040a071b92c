"""Joined layers: the same loss and gradients, and everything as before behind the context."""

import pytest
import torch

import caffe_compat as cc
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

NET = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 6 dim: 3 dim: 5 dim: 4 } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 2
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: BIAS
  filler { type: "uniform" min: 0.5 max: 2 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" }
layer { name: "copy" type: "ReLU" bottom: "scale" top: "copy" }
layer { name: "sum" type: "Eltwise" bottom: "scale" bottom: "copy" top: "sum" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "sum" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("bias", ["true", "false"])
def test_loss_gradients_and_statistics_are_those_of_the_layers_apart(bias):
    torch.manual_seed(3)
    apart = cc.Net(parse_text(NET.replace("BIAS", bias), NetParameter), phase="TRAIN").double()
    joined = cc.Net(parse_text(NET.replace("BIAS", bias), NetParameter), phase="TRAIN")
    joined.load_weights(apart.weights())
    joined.double()
    data, label = torch.randn(6, 3, 5, 4).double(), torch.tensor([0.0, 1, 2, 0, 1, 2]).double()
    _, wanted = apart.forward_with_loss(data=data, label=label)
    wanted.backward()
    with JoinedLayers(joined):
        _, found = joined.forward_with_loss(data=data, label=label)
        found.backward()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-7)  # weights went through float32
    for mine, theirs in zip(joined.learnable_params, apart.learnable_params, strict=True):
        torch.testing.assert_close(mine.tensor.detach(), theirs.tensor.detach(), rtol=1e-6, atol=1e-7)
        if theirs.tensor.grad is not None:
            torch.testing.assert_close(mine.tensor.grad, theirs.tensor.grad, rtol=1e-6, atol=1e-8)


def test_only_tensors_that_nobody_needs_are_overwritten():
    """Not what Sigmoid made, whose gradient reads it, nor where the net keeps the bottom under a name of its own."""
    net = cc.Net(parse_text(NET.replace("BIAS", "true"), NetParameter), phase="TRAIN")
    with JoinedLayers(net):
        assert [net.layers[name].overwrites for name in ("relu", "copy", "relu2")] == [True, False, False]
    assert not any(net.layers[name].overwrites for name in ("relu", "copy", "relu2"))


def test_behind_the_context_every_blob_is_caffes_again():
    net = cc.Net(parse_text(NET.replace("BIAS", "true"), NetParameter), phase="TRAIN")
    data = torch.randn(6, 3, 5, 4)
    before = net.blobs(data=data)
    with JoinedLayers(net):
        assert not torch.equal(net.blobs(data=data)["bn"], before["bn"])
    after = net.blobs(data=data)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
