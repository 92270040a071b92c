"""Copies, pickles, moves and state dicts of nets: what belongs to a net goes with it, and shared blobs stay shared."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

SHARED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "i1" type: "InnerProduct" bottom: "data" top: "i1" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "i2" type: "InnerProduct" bottom: "i1" top: "i2" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
"""
MEMORY = """
layer { name: "memory" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }
layer { name: "power" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
"""
RECURRENT = """
layer { name: "x" type: "Input" top: "x" top: "cont"
        input_param { shape { dim: 2 dim: 3 dim: 4 } shape { dim: 2 dim: 3 } } }
layer { name: "l" type: "%s" bottom: "x" bottom: "cont" top: "l"
        recurrent_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" } } }
"""
MARGIN = """
layer { name: "x" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 4 } shape { dim: 4 } } }
layer { name: "l" type: "MarginInnerProduct" bottom: "x" bottom: "label" top: "l" top: "lambda"
        margin_inner_product_param { num_output: 3 type: QUADRUPLE weight_filler { type: "gaussian" std: 1 }
                                     base: 1000 gamma: 0.12 power: 1 lambda_min: 5 } }
"""
COPIES = (copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)))
copied = pytest.mark.parametrize("duplicate", COPIES, ids=("copy", "deepcopy", "pickle"))


def net(text: str, phase: str = "TEST") -> Net:
    return Net(parse_text(f'name: "n" {text}', NetParameter), phase)


@copied
def test_a_copy_learns_what_its_original_learns_and_knows_its_pixels(duplicate: Any) -> None:
    model = net(SHARED, "TRAIN").eval()
    model.params["i1"][1].requires_grad_(False)
    model.pixels = {"data": "as they come"}  # type: ignore[dict-item]
    twin = duplicate(model)
    assert not twin.training and twin.pixels == model.pixels and twin.load_report == model.load_report
    assert [blob.requires_grad for blob in twin.params["i2"]] == [True, False]
    assert is_shared(twin) and twin.params["i1"][0] is not model.params["i1"][0]


@copied
def test_a_copy_of_memory_data_goes_on_with_its_arrays(duplicate: Any) -> None:
    model = net(MEMORY)
    model.layers["memory"].set_arrays(np.arange(16.0).reshape(4, 1, 2, 2), np.arange(4.0))
    model()
    twin = duplicate(model)
    for twice in (2 * np.arange(8.0, 16.0), 2 * np.arange(8.0)):  # the second batch, then the first again
        np.testing.assert_array_equal(twin()["twice"].flatten(), twice)
        np.testing.assert_array_equal(model()["twice"].flatten(), twice)


@copied
@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_copy_goes_on_from_the_last_hidden_state(duplicate: Any, kind: str) -> None:
    model = net(RECURRENT % kind)
    x = np.random.RandomState(0).randn(4, 3, 4)
    whole = Net(model.model(), input_shapes={"x": (4, 3, 4), "cont": (4, 3)})(x=x, cont=np.ones((4, 3)))["l"]
    model(x=x[:2], cont=np.ones((2, 3)))
    twin = duplicate(model)
    torch.testing.assert_close(twin(x=x[2:], cont=np.ones((2, 3)))["l"], whole[2:])
    torch.testing.assert_close(model(x=x[2:], cont=np.ones((2, 3)))["l"], whole[2:])


@copied
def test_a_copy_counts_on_where_its_original_is(duplicate: Any) -> None:
    model = net(MARGIN, "TRAIN")
    inputs = {"x": np.random.RandomState(0).randn(4, 4), "label": np.arange(4) % 3}
    for _ in range(5):
        model(**inputs)
    for each in (duplicate(model), model):
        assert float(each(**inputs)["lambda"].detach()) == pytest.approx(1000 / (1 + 0.12 * 6))


def is_shared(model: Net) -> bool:
    """Whether both layers have the same Parameters, which are those that a solver updates."""
    first, second = model.params["i1"], model.params["i2"]
    learnable = [param.tensor for param in model.learnable_params]
    return all(a is b is c for a, b, c in zip(first, second, learnable, strict=True))


def test_assigned_weights_stay_shared_and_are_those_that_learn() -> None:
    source, model, inner = net(SHARED), net(SHARED), net(SHARED)
    model.load_state_dict(source.state_dict(), assign=True)
    whole = nn.Sequential(inner)
    whole.load_state_dict({f"0.{name}": value for name, value in source.state_dict().items()}, assign=True)
    for each in (model, inner):
        assert is_shared(each)
        assert torch.equal(each.params["i1"][0], source.params["i1"][0])
        each(data=torch.ones(2, 3))["i2"].sum().backward()
        source.zero_grad()
        source(data=torch.ones(2, 3))["i2"].sum().backward()
        assert torch.equal(each.learnable_params[0].tensor.grad, source.params["i1"][0].grad)  # of both layers


def test_a_net_moved_by_new_parameters_shares_still() -> None:
    model = nn.Sequential(net(SHARED)).to("meta").to_empty(device="cpu")
    assert is_shared(model[0])  # type: ignore[arg-type]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        assert is_shared(net(SHARED).double())
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
