"""The registry: a type's module is imported when it is asked for; names twice and names unknown."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from caffe_compat.errors import PluginError, UnsupportedLayerError
from caffe_compat.layers.base import Layer
from caffe_compat.layers.registry import find_class, known_types, layer_class, loss_types, register
from caffe_compat.layers.table import layer_types
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text

CONVOLUTION = "convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } }"
ALEXNET = f"""
name: "small AlexNet"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 9 dim: 9 }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" {CONVOLUTION} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1" pooling_param {{ kernel_size: 3 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param {{ num_output: 2 }} }}
layer {{ name: "drop" type: "Dropout" bottom: "fc" top: "fc" }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""


def modules_after(program: str, text: str = ALEXNET) -> set[str]:
    """The modules of layers that a process of its own holds after it has run `program` on the net `text`."""
    whole = f"import sys, caffe_compat as cc\ntext = sys.stdin.read()\n{program}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", whole], input=text, capture_output=True, text=True, check=True)
    prefix = "caffe_compat.layers."
    return {name.removeprefix(prefix) for name in done.stdout.split() if name.startswith(prefix)}


BUILD = "cc.Net(cc.parse_text(text, cc.NetParameter))"


def test_an_alexnet_loads_no_fork_and_no_other_type() -> None:
    found = modules_after(BUILD)
    assert {"caffe.convolution", "caffe.lrn"} <= found
    assert not {name for name in found if name.startswith("forks")}
    assert not {"caffe.lstm", "caffe.data", "caffe.infogain_loss"} & found


def test_a_field_of_a_fork_loads_that_forks_class_alone() -> None:
    found = modules_after(BUILD, ALEXNET.replace("num_output: 4", "num_output: 4 relu: true"))
    assert {name for name in found if name.startswith("forks")} == {"forks", "forks.nvidia_intel"} | {
        "forks.nvidia_intel.convolution"
    }


def test_the_table_is_read_without_torch() -> None:
    program = "import sys, caffe_compat as cc; assert cc.layer_types(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", layer_types())
def test_every_type_has_the_class_that_the_table_says(name: str) -> None:
    found = find_class(name)
    assert found is not None
    assert (found.__module__, found.__name__) == (
        f"caffe_compat.layers.{layer_types()[name].module}",
        layer_types()[name].class_name,
    )


def test_losses_are_known_without_their_classes() -> None:
    assert set(known_types()) >= set(layer_types())
    names = {name for name in known_types() if name in loss_types()}
    assert {"SoftmaxWithLoss", "EuclideanLoss", "MultiBoxLoss"} <= names == set(loss_types())
    assert "Convolution" not in loss_types() and "NoSuchType" not in loss_types()
    assert len(loss_types()) == len(names)


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ('type: "BatchNorm"', "caffe.batch_norm"),
        ('type: "BatchNorm" batch_norm_param { scale_bias: true }', "forks.nvidia_intel.batch_norm"),
        ('type: "Normalize"', "forks.ssd.normalize"),
        ('type: "Normalize" top: "a" top: "b"', "forks.faces.normalize"),
        ('type: "Normalize" normalize_param { normalize_type: "L2" }', "forks.faces.normalize"),
        ('type: "InnerProduct" inner_product_param { relu: false }', "caffe.inner_product"),
        ('type: "InnerProduct" inner_product_param { relu: true }', "forks.nvidia_intel.inner_product"),
    ],
)
def test_fields_choose_whose_class_it_is(text: str, home: str) -> None:
    found = layer_class(parse_text(f'name: "lay" {text}', LayerParameter))
    assert found.__module__ == f"caffe_compat.layers.{home}"


@pytest.mark.parametrize("name", ["ReLU", "GaussianYolov3"])
def test_a_type_of_the_package_cannot_be_registered_anew(name: str) -> None:
    with pytest.raises(PluginError, match=rf"layer type '{name}' is registered twice: as caffe_compat\.layers\..* and"):
        register(name)(type("Mine", (Layer,), {}))


def test_a_class_that_is_defined_anew_takes_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = importlib.import_module("caffe_compat.layers.registry")
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    first, again = (register("MyCell")(type("MyCell", (Layer,), {})) for _ in range(2))
    assert find_class("MyCell") is again is not first
    with pytest.raises(PluginError, match="layer type 'MyCell' is registered twice"):
        register("MyCell")(type("OtherCell", (Layer,), {}))


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(UnsupportedLayerError, match=r"has type 'Relu', which is not known; did you mean 'ReLU'\?"):
        layer_class(LayerParameter(name="lay", type="Relu"))


def test_a_type_that_no_fork_registers_is_said_to_be_unknowable() -> None:
    with pytest.raises(
        UnsupportedLayerError, match=r"no fork of Caffe is known that registers it.*; MaxUnPool .* Upsample"
    ):
        layer_class(LayerParameter(name="lay", type="MaxUnpooling"))
