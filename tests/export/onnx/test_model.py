"""ONNX files, run by onnxruntime, give what Caffe gave: layer by layer, and for whole nets."""

import json
import re

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.export.onnx.program import WRITERS
from tests.conftest import golden, shared
from tests.export.cases import one_layer
from tests.net.test_golden_nets import _drawn_inputs, _drawn_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5  # of the largest value, as for Caffe's own tops
EXPRESSIBLE = {*WRITERS, "Input"}
# Cases of types that ONNX has a form for, and the reason why it has none for this case
REFUSED = {
    "pool_stochastic_test": "layer 'lay' (Pooling): pool is STOCHASTIC",
    "silence": "has no output",
}
CASES = [
    case["name"]
    for case in json.loads(golden("layers", "cases.json").read_text())
    if set(case["types"]) <= EXPRESSIBLE and case["phase"] == "TEST" and case["nfwd"] == 1
]


def run(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    return dict(zip(names, session.run(names, {k: v for k, v in inputs.items() if k in wanted}), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_layer_gives_caffes_top(name, tmp_path):
    expected = dict(np.load(golden("layers", f"{name}.npz")))
    weights = {}
    for key in sorted(key for key in expected if key.startswith("param_")):
        weights.setdefault(key.removeprefix("param_").rsplit("_", 1)[0], []).append(expected[key])
    model = cc.Model(cc.read_net(golden("layers", f"{name}.prototxt")), weights)
    compat = "wen2017" if str(expected["source"]) == "caffe" else "bvlc"
    if name in REFUSED:
        with pytest.raises(cc.CaffeCompatError, match=re.escape(REFUSED[name])):
            cc.to_onnx(model, compat=compat)
        return
    cc.write_onnx(model, tmp_path / "net.onnx", compat=compat)
    inputs = {key.removeprefix("bottom_"): value for key, value in expected.items() if key.startswith("bottom_")}
    for blob, found in run(tmp_path / "net.onnx", inputs).items():
        wanted = expected[f"top_{blob.removesuffix(':1')}"]
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max(initial=0) <= TOLERANCE * np.abs(wanted).max(initial=1e-30)


def golden_model(name):
    rule = json.loads(golden("nets", f"{name}.json").read_text())
    weights = {layer: tuple(blobs) for layer, blobs in _drawn_weights(rule).items()}
    return rule, cc.Model(cc.read_net(golden("nets", f"{name}.prototxt")), weights)


@pytest.mark.parametrize("name", ["googlenet_deploy", "mobilenet_v1_like", "squeezenet_v1_1"])
def test_a_deploy_net_gives_caffes_scores(name, tmp_path):
    rule, model = golden_model(name)
    cc.write_onnx(model, tmp_path / "net.onnx")
    found = run(tmp_path / "net.onnx", _drawn_inputs(rule))
    expected = np.load(golden("nets", f"{name}.npz"))
    for blob, values in found.items():
        wanted = expected[f"out_{blob}"]
        assert np.abs(values - wanted).max() <= 2 * TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["lenet", "cifar10_quick", "fcn_like"])
def test_a_net_for_training_goes_by_way_of_its_deploy_net(name, tmp_path):
    _, model = golden_model(name)
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'loss' \(SoftmaxWithLoss\), which belongs to training"):
        cc.to_onnx(model)
    deployed = cc.deploy(model)
    cc.write_onnx(deployed, tmp_path / "net.onnx")
    assert max(cc.check_onnx(tmp_path / "net.onnx", deployed).values()) <= TOLERANCE


@pytest.mark.parametrize(
    "net, weights",
    [
        (("lenet", "lenet.prototxt"), ("lenet", "lenet_iter_10000.caffemodel")),
        (("cifar10_full_h5", "cifar10_full.prototxt"), ("cifar10_full_h5", "cifar10_full_iter_100000.caffemodel.h5")),
    ],
)
@pytest.mark.parametrize("decomposed", [False, True])
def test_trained_nets_give_their_scores_at_any_batch(net, weights, decomposed, tmp_path):
    model = cc.read_model(shared("models", *net), shared("models", *weights))
    if decomposed:
        model = cc.decompose(model, cc.ranks_by_energy(model, 0.9))
    cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=True)
    shape = cc.Net(model).shapes["data"][1:]
    for batch in (1, 3):
        images = np.random.default_rng(batch).uniform(0, 1, (batch, *shape)).astype(np.float32)
        assert cc.check_onnx(tmp_path / "net.onnx", model, {"data": images})["prob"] <= TOLERANCE


def test_every_layer_that_onnx_cannot_express_is_named_with_the_reason():
    text = """
    layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
    layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: STOCHASTIC kernel_size: 2 } }
    layer { name: "f" type: "Im2col" bottom: "y" top: "z" convolution_param { kernel_size: 2 } }
    """
    model = cc.Model(cc.parse_text(text, cc.NetParameter))
    with pytest.raises(cc.UnsupportedLayerError) as caught:
        cc.to_onnx(model)
    assert "layer 'p' (Pooling): pool is STOCHASTIC; layer 'f' (Im2col)" in str(caught.value)


def test_a_file_that_gives_something_else_is_found_out(tmp_path):
    text = """
    layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "p" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }
    """
    net = cc.parse_text(text, cc.NetParameter)
    cc.write_onnx(cc.Model(net), tmp_path / "net.onnx")
    net.layer[1].power_param.scale = 2.001
    with pytest.raises(cc.GraphError, match=r"output 'y' is off by 0\.0005 of its largest value"):
        cc.check_onnx(tmp_path / "net.onnx", cc.Model(net))


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_a_layer_gives_the_same_at_any_batch_or_says_why_not(name, tmp_path):
    model = cc.Model(cc.read_net(golden("layers", f"{name}.prototxt")))
    model = cc.Model(model.net, cc.Net(model).weights())
    try:
        cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=True)
    except cc.CaffeCompatError as error:
        known = "takes no other batch than|cuts along the batch|has no output|number of steps follows"
        assert re.search(known, str(error)), error
        return
    declared = onnx.load(str(tmp_path / "net.onnx")).graph
    assert any(value.type.tensor_type.shape.dim[0].dim_param == "batch" for value in declared.input)
    assert all(error <= TOLERANCE for error in cc.check_onnx(tmp_path / "net.onnx", model).values())


OPEN = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
layer { name: "m" type: "Input" top: "m" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "s" type: "Scale" bottom: "x" bottom: "m" top: "s" scale_param { axis: 0 } }
layer { name: "b" type: "Bias" bottom: "s" bottom: "m" top: "b" bias_param { axis: 0 } }
layer { name: "i" type: "Interp" bottom: "b" top: "i" interp_param { height: 7 width: 9 } }
layer { name: "joined" type: "Reshape" bottom: "i" top: "joined" reshape_param { shape { dim: -1 dim: 63 } } }
layer { name: "apart" type: "Reshape" bottom: "joined" top: "apart" reshape_param { shape { dim: -1 dim: 3 dim: 63 } } }
layer { name: "all" type: "Flatten" bottom: "i" top: "all" flatten_param { axis: 0 } }
layer { name: "turned" type: "Reshape" bottom: "m" top: "turned" reshape_param { shape { dim: 3 dim: -1 } } }
"""


def test_the_batch_stays_open_behind_operands_interpolation_and_reshapes(tmp_path):
    net = cc.parse_text(OPEN, cc.NetParameter)
    cc.write_onnx(cc.Model(net), tmp_path / "net.onnx", dynamic_batch=True)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert {each.name for each in graph.initializer} <= {name for node in graph.node for name in node.input}
    for batch in (1, 2, 5):
        random = np.random.RandomState(batch)
        inputs = {"x": (batch, 3, 4, 5), "m": (batch, 3)}
        inputs = {name: random.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
        right = cc.Net(net, input_shapes={name: value.shape for name, value in inputs.items()})(**inputs)
        found = run(tmp_path / "net.onnx", inputs)
        assert found.keys() == right.keys() == {"apart", "all", "turned"}
        for blob, values in found.items():
            assert values.shape == tuple(right[blob].shape)
            np.testing.assert_allclose(values, right[blob].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_an_input_of_another_first_axis_stays_as_it_is(tmp_path):
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 } } }
    layer { name: "m" type: "Input" top: "m" input_param { shape { dim: 3 } } }
    layer { name: "s" type: "Scale" bottom: "x" bottom: "m" top: "s" }
    """
    model = cc.Model(cc.parse_text(text, cc.NetParameter))
    cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=True)
    assert cc.check_onnx(tmp_path / "net.onnx", model)["s"] <= TOLERANCE


def test_a_net_that_fixes_its_batch_is_refused():
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "r" type: "Reshape" bottom: "x" top: "r" reshape_param { shape { dim: 2 dim: 3 } } }
    """
    with pytest.raises(cc.GraphError, match="takes no other batch than 2: layer 'r'"):
        cc.to_onnx(cc.Model(cc.parse_text(text, cc.NetParameter)), dynamic_batch=True)


def test_mvn_across_channels_reduces_planes_first(tmp_path):
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
    layer { name: "m" type: "MVN" bottom: "x" top: "m" mvn_param { across_channels: true } }
    """
    made = cc.to_onnx(cc.Model(cc.parse_text(text, cc.NetParameter)))
    axes = [list(each.ints) for node in made.graph.node if node.op_type == "ReduceMean" for each in node.attribute
            if each.name == "axes"]  # fmt: skip
    assert axes == [[2, 3], [1], [2, 3], [1]]


def test_a_layer_that_onnx_will_never_hold_is_refused_with_the_reason():
    layer = (
        'layer { name: "l" type: "MarginInnerProduct" bottom: "a" bottom: "b" top: "y" top: "lambda" '
        "margin_inner_product_param { num_output: 3 } }"
    )
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'l' \(MarginInnerProduct\): its margin falls with each"):
        cc.to_onnx(one_layer(layer, (2, 4), (2,)))
