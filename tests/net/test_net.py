from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caffe_compat.errors import GraphError, ShapeError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

SCORES = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
INPUTS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
"""
DUMMY = """
layer { name: "batches" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 }
                           data_filler { type: "constant" value: 2 } data_filler { type: "constant" value: 1 } } }
"""


def net(text: str, phase: str = "TEST", **options: Any) -> Net:
    return Net(parse_text('name: "n" ' + text, NetParameter), phase, **options)


def test_inputs_and_outputs_go_by_name() -> None:
    model = net(INPUTS + SCORES)
    assert model.input_names == ("data", "label")
    assert model.output_names == ("accuracy", "loss")
    outputs = model(data=np.ones((4, 3)), label=np.zeros(4, dtype=np.int64))
    assert list(outputs) == ["accuracy", "loss"]
    assert all(value.dtype == torch.float32 and value.shape == () for value in outputs.values())


def test_blobs_gives_every_blob_as_its_last_layer_left_it() -> None:
    model = net(INPUTS + SCORES)
    data = torch.randn(4, 3)
    every = model.blobs(data=data, label=torch.zeros(4))
    splits = [f"{blob}_split_{i}" for blob in ("label_label_0", "ip_relu_0") for i in range(2)]
    assert sorted(every) == sorted(["data", "label", "ip", *splits, "accuracy", "loss"])
    weight, bias = model.params["ip"]
    torch.testing.assert_close(every["ip"], (data @ weight.T + bias).clamp(min=0))
    torch.testing.assert_close(every["data"], data)


def test_blobs_can_be_differentiated_to_params_and_inputs() -> None:
    model = net(INPUTS + SCORES)
    data = torch.randn(4, 3, requires_grad=True)
    model.blobs(data=data, label=torch.zeros(4))["ip"].sum().backward()
    assert data.grad is not None and data.grad.shape == (4, 3)
    assert model.params["ip"][0].grad is not None


def test_other_batch_sizes_run_without_building_again() -> None:
    model = net(INPUTS + SCORES)
    assert model.blobs(data=np.ones((7, 3)), label=np.zeros(7))["ip"].shape == (7, 5)
    assert model.shapes["ip"] == (4, 5)


def test_input_shapes_replace_what_the_prototxt_declares() -> None:
    model = net(INPUTS + SCORES, input_shapes={"data": (9, 6), "label": (9,)})
    assert model.shapes["ip"] == (9, 5)
    assert model.params["ip"][0].shape == (5, 6)


def test_data_layers_give_what_is_not_fed() -> None:
    model = net(DUMMY + SCORES)
    every = model.blobs()
    assert (every["data"] == 2).all() and (every["label"] == 1).all()
    assert every.keys() >= {"accuracy", "loss"}


def test_feeding_some_tops_runs_what_follows_from_them() -> None:
    model = net(DUMMY + SCORES)
    data = torch.randn(6, 3)
    outputs = model(data=data)
    assert list(outputs) == ["ip"]
    weight, bias = model.params["ip"]
    torch.testing.assert_close(outputs["ip"], (data @ weight.T + bias).clamp(min=0))
    every = model.blobs(data=data)
    assert "loss" not in every and "label" not in every
    assert model.forward_with_loss(data=data)[1] == 0


def test_a_fed_source_does_not_stop_another_that_has_its_own_batches() -> None:
    batches = 'layer { name: "b" type: "DummyData" top: "data" dummy_data_param { shape { dim: 4 dim: 3 } } } '
    model = net(batches + INPUTS[INPUTS.index('layer { name: "label"') :] + SCORES)
    assert list(model(label=np.ones(4))) == ["accuracy", "loss"]


def test_programs_for_fewer_inputs_are_made_once() -> None:
    model = net(INPUTS + SCORES)
    model(data=np.ones((4, 3)))
    programs = dict(model._programs)
    model(data=np.zeros((2, 3)))
    assert model._programs == programs


def test_an_unknown_input_is_named_with_those_there_are() -> None:
    with pytest.raises(GraphError, match=r"net 'n' has no input 'images'; its inputs: data, label"):
        net(INPUTS + SCORES)(images=np.ones((4, 3)))
    with pytest.raises(GraphError, match=r"net 'n' has no input 'images'; its inputs: data, label"):
        net(INPUTS + SCORES, input_shapes={"images": (4, 3)})


def test_what_is_no_model_is_told_what_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"wanted a Model, a Net, a Solver, a path, .*; found int"):
        Net(3)  # type: ignore[arg-type]


def test_no_input_at_all_is_an_error() -> None:
    with pytest.raises(GraphError, match=r"net 'n' was given no input; its inputs: data, label"):
        net(INPUTS + SCORES)()


def test_an_input_of_a_wrong_shape_names_the_layer_that_cannot_take_it() -> None:
    with pytest.raises(ShapeError, match=r"layer 'ip'.*8"):
        net(INPUTS + SCORES)(data=np.ones((4, 8)))


@pytest.mark.parametrize("shape", [(), (4,), (4, 3)])
def test_an_input_of_too_few_axes_names_the_layer_that_needs_them(shape: tuple[int, ...]) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 5 dim: 5 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 2 kernel_size: 3 } }
    """
    with pytest.raises(ShapeError, match="layer 'conv'"):
        net(text)(data=np.ones(shape))


def test_an_array_of_any_strides_and_byte_order_may_be_given() -> None:
    model = net(INPUTS + SCORES)
    data = np.random.RandomState(0).rand(4, 3).astype(np.float32)
    wanted = model.blobs(data=data, label=np.zeros(4))["ip"]
    assert torch.equal(model.blobs(data=data[::-1].astype(">f8")[::-1], label=np.zeros(4, ">i4"))["ip"], wanted)


@pytest.mark.parametrize("make", [torch.ones, pytest.param(np.ones, marks=pytest.mark.slow)])
def test_torch_compile_makes_one_program_of_a_net_for_a_shape_it_has_not_had(make: Any) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 5 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" } } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    """
    model = net(text)
    images = make((2, 3, 7, 5))
    compiled = torch.compile(model, backend="eager", fullgraph=True)(data=images)
    torch.testing.assert_close(compiled["conv"], model(data=images)["conv"])


@pytest.mark.parametrize("ignored", ["", "loss_param { ignore_label: 2 }"])
def test_gradients_of_each_item_can_be_had_from_torch_func(ignored: str) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 5 } } }
    layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" } } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "conv2" type: "Convolution" bottom: "pool" top: "conv2"
            convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" } } }
    layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
            inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" %s }
    """
    model = net(text % ignored, "TRAIN").double()
    params = dict(model.named_parameters())
    images, labels = torch.randn(3, 3, 6, 5).double(), torch.tensor([0.0, 2.0, 4.0])

    def loss(params: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        given = {"data": image[None], "label": label[None]}
        found: Tensor = torch.func.functional_call(model, params, (), given)["loss"]
        return found

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(params, images, labels)
    for item in range(3):
        model.zero_grad()
        model(data=images[item : item + 1], label=labels[item : item + 1])["loss"].backward()
        for name, param in params.items():
            torch.testing.assert_close(each[name][item], param.grad)


def test_an_unknown_compat_names_those_there_are() -> None:
    with pytest.raises(GraphError, match="compat is 'caffe2'; allowed: bvlc, wen2017"):
        net(INPUTS + SCORES, compat="caffe2")


def test_double_precision_runs_throughout() -> None:
    model = net(INPUTS + SCORES).double()
    outputs, loss = model.forward_with_loss(data=np.ones((4, 3)), label=np.zeros(4))
    assert outputs["loss"].dtype == loss.dtype == torch.float64


def test_rules_choose_the_layers_of_phase_and_stage() -> None:
    text = INPUTS + 'layer { name: "%s" type: "ReLU" bottom: "data" top: "%s" include { %s } }\n' * 2
    model = net(text % ("a", "a", "phase: TRAIN", "b", "b", 'stage: "deploy"'), stages=["deploy"])
    assert list(model.layers) == ["data", "label", "b"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_computes_the_same_and_is_independent(duplicate: Any) -> None:
    model = Net(
        read_net(golden("nets", "siamese.prototxt")), "TRAIN", input_shapes={"pair_data": (2, 2, 28, 28), "sim": (2,)}
    )
    with torch.no_grad():
        for param in model.learnable_params:
            param.tensor.normal_(std=0.1)
    twin = duplicate(model)
    inputs = {"pair_data": torch.randn(2, 2, 28, 28), "sim": torch.ones(2)}
    found, wanted = twin.forward_with_loss(**inputs), model.forward_with_loss(**inputs)
    torch.testing.assert_close(found, wanted)
    assert twin.shapes == model.shapes
    assert twin.params["conv1"][0] is twin.params["conv1_p"][0] is not model.params["conv1"][0]
    with torch.no_grad():
        twin.params["conv1"][0].zero_()
    assert model.params["conv1"][0].any()


def test_moving_a_net_keeps_its_learnable_params() -> None:
    model = net(INPUTS + SCORES)
    before: list[Tensor] = [param.tensor for param in model.learnable_params]
    model.to("cpu").double().float()
    assert all(now.tensor is then for now, then in zip(model.learnable_params, before, strict=True))
    assert [param.tensor for param in model.learnable_params] == model.params["ip"]
