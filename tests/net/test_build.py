from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import fx

from caffe_compat.errors import GraphError, ShapeError, UnsupportedLayerError
from caffe_compat.layers.base import Layer
from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } } '


def net(layers: str, phase: str = "TEST", **options: Any) -> Net:
    return Net(parse_text('name: "small-net" ' + INPUT + layers, NetParameter), phase, **options)


def ip(name: str, bottom: str, top: str, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {more} '
        f'inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" }} }} }} '
    )


def relu(name: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" {more} }} '


@pytest.mark.parametrize("name", ["lenet", "siamese", "googlenet_deploy", "resnet20_cifar"])
def test_there_is_one_call_a_layer_and_one_placeholder_an_input(name: str) -> None:
    model = Net(read_net(golden("nets", f"{name}.prototxt")), "TRAIN")
    calls = [node for node in model.graph_module.graph.nodes if node.op == "call_module"]
    called = [model.graph_module.get_submodule(str(call.target)) for call in calls]
    assert [layer.name for layer in called if isinstance(layer, Layer)] == [node.name for node in model.graph.nodes]
    placeholders = [node.target for node in model.graph_module.graph.nodes if node.op == "placeholder"]
    assert placeholders == list(model.input_names)
    model.graph_module.graph.lint()


def test_the_code_reads_like_the_prototxt() -> None:
    model = net(ip("conv1/3x3", "data", "conv1") + relu("relu1", "conv1", "conv1") + relu("out", "conv1", "out"))
    lines = [line.split(";")[0].strip() for line in model.graph_module.code.strip().splitlines()]
    assert lines == [
        "def forward(self, data):",
        "data_1 = self.data(data)",
        "conv1 = self.conv1_3x3(data_1)",
        "relu1 = self.relu1(conv1)",
        "out = self.out(relu1)",
        "return ({'out': out}, None)",
    ]


@pytest.mark.parametrize(
    "name", ["forward", "graph", "code", "training", "in", "1x1", "a.b-c/d", "_modules", "ünïcode", ""]
)
def test_no_layer_name_breaks_the_module(name: str) -> None:
    model = net(ip(name, "data", name or "top") + relu("r", name or "top", "out"))
    assert model(data=np.ones((2, 3)))["out"].shape == (2, 3)
    assert model.layers[name].name == name


def test_names_that_become_alike_stay_apart() -> None:
    model = net(ip("a/b", "data", "x") + ip("a_b", "x", "y") + ip("a.b", "y", "z"))
    names = [name for name, module in model.graph_module.named_children() if module is not model.layers["data"]]
    assert names == ["a_b", "a_b_1", "a_b_2"]
    every = model.blobs(data=np.ones((2, 3)))
    for layer, bottom, top in (("a/b", "data", "x"), ("a_b", "x", "y"), ("a.b", "y", "z")):
        weight, bias = model.params[layer]
        torch.testing.assert_close(every[top], every[bottom] @ weight.T + bias)


def test_the_interpreter_gives_what_the_module_gives() -> None:
    model = Net(read_net(golden("nets", "lenet.prototxt")), "TRAIN")
    inputs = (torch.randn(5, 1, 28, 28), torch.zeros(5))
    outputs, loss = fx.Interpreter(model.graph_module).run(*inputs)
    torch.testing.assert_close((outputs, loss), model.forward_with_loss(data=inputs[0], label=inputs[1]))


def test_total_loss_is_the_weighted_sum_over_all_tops() -> None:
    model = net(
        ip("a", "data", "a", "loss_weight: 0.5")
        + relu("r", "a", "r")
        + 'layer { name: "l" type: "EuclideanLoss" bottom: "r" bottom: "data" top: "l" }'
        + 'layer { name: "twice" type: "Power" bottom: "l" top: "p" power_param { scale: 2 } loss_weight: 3 }'
    )
    every = model.blobs(data=np.arange(6).reshape(2, 3))
    _, loss = model.forward_with_loss(data=np.arange(6).reshape(2, 3))
    torch.testing.assert_close(loss, 0.5 * every["a"].sum() + every["l"] + 3 * every["p"])


@pytest.mark.parametrize(
    ("loss_weight", "loss", "gradient"),
    [  # from a CPU build of Caffe 1.0
        ("", 341.25, [[220.5, 378.0], [598.5, 1008.0]]),
        ("loss_weight: 1", 351.75, [[224.0, 384.0], [608.0, 1024.0]]),
    ],
)
def test_a_loss_that_is_read_on_teaches_by_itself_only_with_a_given_weight(
    loss_weight: str, loss: float, gradient: list[list[float]]
) -> None:
    model = net(
        'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 dim: 2 } } }'
        'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 2 } } }'
        'layer { name: "p" type: "InnerProduct" bottom: "a" top: "p" '
        "  inner_product_param { num_output: 2 bias_term: false } }"
        f'layer {{ name: "e" type: "EuclideanLoss" bottom: "p" bottom: "b" top: "e" {loss_weight} }}'
        'layer { name: "f" type: "Power" bottom: "e" top: "f" power_param { power: 2 } loss_weight: 3 }'
    )
    model.load_weights({"p": [np.array([[1, 0], [-1, 2]], np.float32)]})
    inputs = {"a": [[1, 2], [3, 5]], "b": [[0, 2], [1, 1]], "data": np.zeros((2, 3))}
    total = model.forward_with_loss(**inputs)[1]
    total.backward()
    assert total.item() == loss
    assert model.params["p"][0].grad.tolist() == gradient


def test_a_net_without_losses_has_loss_0() -> None:
    loss = net(relu("r", "data", "r")).forward_with_loss(data=np.ones((2, 3)))[1]
    assert loss.shape == () and loss == 0


@pytest.mark.parametrize(
    ("kind", "label", "wanted"), [("EuclideanLoss", "dim: 2 dim: 3", 1.5), ("SoftmaxWithLoss", "dim: 2", np.log(3))]
)
def test_a_loss_without_a_top_counts_and_is_no_output(kind: str, label: str, wanted: float) -> None:
    model = net(
        f'layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{ {label} }} }} }} '
        f'layer {{ name: "l" type: "{kind}" bottom: "data" bottom: "label" }}'
    )
    outputs, loss = model.forward_with_loss(data=np.ones((2, 3)), label=np.zeros(model.shapes["label"]))
    assert outputs == {}
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-6)


def test_the_phase_of_a_layer_wins_over_that_of_the_net() -> None:
    text = 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" %s }'
    x = torch.ones(2, 3)
    torch.testing.assert_close(net(text % "phase: TEST", "TRAIN")(data=x)["d"], x)
    assert set(net(text % "", "TRAIN")(data=x)["d"].unique().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (
            relu("r", "data", "r").replace("ReLU", "Relu"),
            UnsupportedLayerError,
            "layer 'r' has type 'Relu', which is not known; did you mean 'ReLU'?",
        ),
        (
            'layer { name: "c" type: "Concat" top: "c" }',
            GraphError,
            "layer 'c': type Concat takes 1 or more bottoms, found 0: none",
        ),
        (
            'layer { name: "r" type: "ReLU" bottom: "data" top: "a" top: "b" }',
            GraphError,
            "layer 'r': type ReLU takes 1 tops, found 2: 'a', 'b'",
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "data" top: "a" loss_weight: 1 loss_weight: 2 }',
            GraphError,
            "layer 'a': loss_weight is given 2 times; wanted none, or 1, one a top",
        ),
        (
            ip("a", "data", "a") + ip("a", "a", "b"),
            GraphError,
            "two layers are named 'a'; blobs are kept by layer name, so rename one",
        ),
        (
            'layer { name: "f" type: "Flatten" bottom: "data" top: "data" }',
            GraphError,
            "layer 'f': type Flatten does not work in place; give its top another name than 'data'",
        ),
    ],
)
def test_layers_that_do_not_fit_are_named(layers: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        net(layers)
    assert str(caught.value).startswith(message)


def test_a_shape_that_a_layer_cannot_take_is_named() -> None:
    concat = 'layer { name: "cat" type: "Concat" bottom: "a" bottom: "data" top: "cat" concat_param { axis: 0 } }'
    with pytest.raises(ShapeError, match=r"layer 'cat': bottom 1 'data' has shape \(2, 3\).*\(2, 4\)"):
        net(ip("a", "data", "a").replace("num_output: 3", "num_output: 4") + concat)


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d" convolution_param {
  num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "s" type: "ReLU" bottom: "d" top: "s" }
layer { name: "z" type: "Input" top: "z" input_param { shape { dim: 6 } } }
layer { name: "q" type: "ReLU" bottom: "z" top: "z" }
"""


def test_relu_writes_on_its_bottom_only_where_nobody_can_tell():
    net = Net(parse_text(NET, NetParameter))
    assert [net.layers[name].inplace for name in "rsq"] == [True, False, False]
    inputs = {"x": torch.randn(2, 3, 5, 4), "z": torch.randn(6)}
    kept = inputs["z"].clone()
    with torch.no_grad():
        quiet = net.blobs(**inputs)
    trained = net.blobs(**inputs)
    assert torch.equal(inputs["z"], kept)
    assert quiet["d"].min() < 0 <= quiet["c"].min()
    for name in ("c", "d", "s", "z"):
        assert torch.equal(quiet[name], trained[name])


@pytest.mark.parametrize("name", ["99", "9a", "class", "None", "lambda", "a/b", "\u00e4", "-", "def", "_"])
def test_a_blob_may_have_any_name(name: str) -> None:
    text = 'layer { name: "%s" type: "Input" top: "%s" input_param { shape { dim: 1 } } }' % (name, name)  # noqa: UP031
    net = Net(parse_text(text + f'layer {{ name: "r" type: "ReLU" bottom: "{name}" top: "r" }}', NetParameter))
    assert net(**{name: [-1.0]})["r"].tolist() == [0.0]
