"""BatchNorm and what stands beside it folded into filters: outputs stay, whatever the order; refusals say why."""

import logging
import shutil

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

CONV = 'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{2}" {4} '
CONV += "convolution_param {{ num_output: 6 {3} }} }}"
BN = 'layer {{ name: "{0}" type: "BatchNorm" bottom: "{1}" top: "{2}" }}'
SCALE = 'layer {{ name: "{0}" type: "Scale" bottom: "{1}" top: "{2}" scale_param {{ {3} }} }}'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "z" top: "out" }'


def conv(name, bottom, top, fields="kernel_size: 3 pad: 1", more="", kind="Convolution"):
    return CONV.format(name, bottom, top, fields, more).replace('"Convolution"', f'"{kind}"')


def bn(name, bottom, top, fields=""):
    return BN.format(name, bottom, top).replace("}", f"batch_norm_param {{ {fields} }} }}")


def scale(name, bottom, top, fields="bias_term: true"):
    return SCALE.format(name, bottom, top, fields)


def layer(kind, name, bottom, top, fields=""):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {fields} }}'


IP = "inner_product_param { num_output: 6 }"
NETS = {
    "conv, bn, scale": [conv("c", "x", "c", more=""), bn("b", "c", "y"), scale("s", "y", "z"), RELU],
    "in place": [conv("c", "x", "z", "kernel_size: 3 bias_term: false"), bn("b", "z", "z"), scale("s", "z", "z"), RELU],
    "bn alone": [conv("c", "x", "c"), bn("b", "c", "z"), RELU],
    "scale without bias": [conv("c", "x", "c", "kernel_size: 1"), scale("s", "c", "z", ""), RELU],
    "scale of one value": [conv("c", "x", "c"), scale("s", "c", "z", "axis: 0 num_axes: 0 bias_term: true"), RELU],
    "scale, bn": [conv("c", "x", "c"), scale("s", "c", "y"), bn("b", "y", "z"), RELU],
    "bias": [conv("c", "x", "c", "kernel_size: 3 bias_term: false"), layer("Bias", "s", "c", "z"), RELU],
    "power": [conv("c", "x", "c"), layer("Power", "p", "c", "z", "power_param { scale: 0.5 shift: -2 }"), RELU],
    "dropout between": [conv("c", "x", "c"), layer("Dropout", "d", "c", "d"), bn("b", "d", "z"), RELU],
    "groups": [conv("c", "x", "c", "kernel_size: 3 group: 2"), bn("b", "c", "y"), scale("s", "y", "z"), RELU],
    "depthwise": [conv("c", "x", "c", "kernel_size: 3 group: 6"), bn("b", "c", "y"), scale("s", "y", "z"), RELU],
    "dilated": [conv("c", "x", "c", "kernel_h: 3 kernel_w: 2 dilation: 2"), bn("b", "c", "z"), RELU],
    "deconvolution": [conv("c", "x", "c", "kernel_size: 3 stride: 2", kind="Deconvolution"), bn("b", "c", "z"), RELU],
    "deconvolution in groups": [
        conv("c", "x", "c", "kernel_size: 2 group: 3", kind="Deconvolution"), bn("b", "c", "y"), scale("s", "y", "z"),
        RELU,
    ],
    "inner product": [layer("InnerProduct", "c", "x", "c", IP), bn("b", "c", "y"), scale("s", "y", "z"), RELU],
    "transposed": [
        layer("InnerProduct", "c", "x", "c", "inner_product_param { num_output: 6 transpose: true bias_term: false }"),
        bn("b", "c", "z"), RELU,
    ],
    "before a convolution": [bn("b", "x", "b"), scale("s", "b", "s"), conv("c", "s", "z", "kernel_size: 3"), RELU],
    "before groups": [scale("s", "x", "s"), conv("c", "s", "z", "kernel_size: 2 group: 3 bias_term: false"), RELU],
    "before, padded, no shift": [scale("s", "x", "s", ""), conv("c", "s", "z"), RELU],
    "before an inner product": [
        bn("b", "x", "b"), scale("s", "b", "s"), layer("InnerProduct", "c", "s", "z", IP), RELU
    ],
    "before a deconvolution": [
        scale("s", "x", "s", ""), conv("c", "s", "z", "kernel_size: 3", kind="Deconvolution"), RELU
    ],
    "both sides": [
        bn("b", "x", "b"), conv("c", "b", "c", "kernel_size: 3"), bn("e", "c", "e"), scale("s", "e", "z"), RELU
    ],
    "nvidia's five blobs": [conv("c", "x", "c"), bn("b", "c", "z", "scale_bias: true"), RELU],
    "intel's five blobs": [conv("c", "x", "c"), bn("b", "c", "z", "use_weight_bias: true filler { value: 2 }"), RELU],
    "fork's BN": [conv("c", "x", "c"), layer("BN", "b", "c", "z", "bn_param { slope_filler { value: 1 } }"), RELU],
    "two in a row": [
        conv("c", "x", "c"), bn("b", "c", "b"), conv("e", "b", "e", "kernel_size: 3"), bn("f", "e", "f"),
        scale("s", "f", "z"), RELU,
    ],
}  # fmt: skip


def model_of(layers, seed=0):
    head = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 dim: 7 dim: 8 } } }'
    net = cc.parse_text("\n".join([head, *layers]), cc.NetParameter)
    random = np.random.RandomState(seed)
    weights = {}
    for name, blobs in cc.Net(net).weights().items():
        kind = next(each for each in net.layer if each.name == name and each.type not in ("ReLU", "Input")).type
        weights[name] = tuple(random.uniform(0.5, 1.5, blob.shape).astype(np.float32) for blob in blobs)
        if kind in ("Convolution", "Deconvolution", "InnerProduct"):
            weights[name] = tuple(random.standard_normal(blob.shape).astype(np.float32) for blob in blobs)
        if kind == "BatchNorm":
            weights[name][2][...] = 3
            weights[name][0][...] = random.standard_normal(blobs[0].shape)
    return cc.Model(net, weights)


def assert_equal_outputs(one, other):
    found = cc.compare_blobs(cc.Net(one), cc.Net(other), tolerance=1e-5)
    outputs = cc.Net(one).output_names
    assert cc.Net(other).output_names == outputs
    worst = {blob.blob: blob.relative for blob in found.blobs}
    assert all(worst[name] <= 1e-5 for name in outputs), worst


@pytest.mark.parametrize("name", NETS)
def test_outputs_stay_and_the_layers_go(name):
    model = model_of(NETS[name])
    folded = cc.fold_batch_norm(model)
    types = {each.type for each in folded.net.layer}
    assert types <= {"Input", "Convolution", "Deconvolution", "InnerProduct", "ReLU"}
    assert_equal_outputs(model, folded)
    cc.Net(folded)  # every blob fits, none is missing
    assert set(folded.weights) == set(cc.Net(folded).params)


def test_a_rectifying_batch_norm_leaves_its_relu():
    model = model_of([conv("c", "x", "c"), bn("b", "c", "z", "relu: true"), RELU])
    folded = cc.fold_batch_norm(model)
    assert [each.type for each in folded.net.layer] == ["Input", "Convolution", "ReLU", "ReLU"]
    assert_equal_outputs(model, folded)


@pytest.mark.parametrize(
    "layers, said",
    [
        ([conv("c", "x", "c"), bn("b", "c", "b"), conv("d", "c", "d")], "it stands behind 'c': others read it too"),
        (
            [conv("c", "x", "c", more='param { name: "w" }'), bn("b", "c", "b"),
             conv("d", "x", "d", more='param { name: "w" }')],
            "it stands behind 'c': it shares its weights with 'd'",
        ),
        ([layer("AbsVal", "a", "x", "a"), bn("b", "a", "b")], "its type, AbsVal, takes no factor and no shift"),
        ([scale("s", "x", "s"), conv("c", "s", "c"), bn("b", "s", "b")], "its type, Input, takes no factor"),
        (
            [conv("c", "x", "c"), bn("b", "c", "b", "use_global_stats: false")],
            "layer 'b': it normalizes by the statistics of its batch",
        ),
        ([bn("b", "x", "b"), conv("c", "b", "c")], "it shifts what 'c' pads with zeros"),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_is_said(layers, said):
    with pytest.raises(cc.GraphError, match="nothing can be folded") as refusal:
        cc.fold_batch_norm(model_of(layers))
    assert said in str(refusal.value)


def test_what_stays_beside_what_is_folded_is_warned_of(caplog):
    layers = [conv("c", "x", "c"), bn("b", "c", "b"), layer("AbsVal", "a", "b", "a"), bn("e", "a", "out")]
    model = model_of(layers)
    with caplog.at_level(logging.WARNING):
        folded = cc.fold_batch_norm(model)
    assert "layer 'e' stays: it stands behind 'a': its type, AbsVal" in caplog.text
    assert [each.name for each in folded.net.layer] == ["x", "c", "a", "e"]
    assert_equal_outputs(model, folded)


@pytest.mark.parametrize(
    "blob, value, said",
    [
        (2, 0, r"layer 'b': factor \(blob 2\) is 0"),
        (0, np.nan, "layer 'b': blob 0 has values that are not finite"),
        (1, -9, "layer 'b': its variance is below 0"),
    ],
)
def test_statistics_that_are_none_are_refused(blob, value, said):
    model = model_of(NETS["bn alone"])
    model.weights["b"][blob][0] = value
    with pytest.raises(cc.WeightsError, match=said):
        cc.fold_batch_norm(model)


def test_without_weights_there_is_nothing_to_fold():
    model = model_of(NETS["bn alone"])
    with pytest.raises(cc.WeightsError, match="has no weights to fold"):
        cc.fold_batch_norm(cc.Model(model.net))
    with pytest.raises(cc.WeightsError, match="nothing for layer 'b'"):
        cc.fold_batch_norm(cc.Model(model.net, {"c": model.weights["c"]}))


@pytest.mark.parametrize("name", ["mobilenet_v1_like", "fcn_like", "squeezenet_v1_1"])
def test_golden_nets_give_the_same_once_folded(name):
    from tests.export.onnx.test_model import golden_model

    made = cc.deploy(golden_model(name)[1])
    folded = cc.fold_batch_norm(made)
    assert not {"BatchNorm", "Scale", "Dropout"} & {each.type for each in folded.net.layer}
    assert_equal_outputs(made, folded)


@pytest.fixture
def merged(tmp_path, monkeypatch):
    """The folder of a trained net with BatchNorm, and the prototxt that somebody merged by hand."""
    monkeypatch.chdir(shutil.copytree(golden("merged_bn"), tmp_path / "nets"))


def test_deploy_merges_and_needs_the_weights(merged, capsys):
    words = ["deploy", "train.prototxt", "--merge-bn", "--out", "m.prototxt"]
    assert main(words) == 2
    assert "--merge-bn: it changes weights; give --weights FILE and --out-weights FILE" in capsys.readouterr().err
    assert main([*words, "--weights", "train.caffemodel", "--out-weights", "m.caffemodel"]) == 0
    trained, found = cc.read_weights("train.caffemodel"), cc.read_weights("m.caffemodel")
    (weight,), (mean, variance, factor), (gain, shift) = (trained[n] for n in ("conv0", "conv0/bn", "conv0/scale"))
    a = gain / np.sqrt(variance / factor + 1e-5)
    np.testing.assert_allclose(found["conv0"][0], weight * a[:, None, None, None], rtol=1e-5)
    np.testing.assert_allclose(found["conv0"][1], shift - mean / factor * a, rtol=1e-5, atol=1e-6)
    by_hand = cc.read_model("merged.prototxt", "m.caffemodel")
    assert_equal_outputs(cc.read_model("train.prototxt", "train.caffemodel"), by_hand)


def test_check_knows_weights_that_were_not_folded(merged):
    report = cc.check(cc.Model(cc.read_net("merged.prototxt"), cc.read_weights("train.caffemodel")))
    (problem,) = report.problems
    assert "those before BatchNorm was folded into its neighbours: they have 'conv0/bn'" in problem.message
    assert "caffe-compat deploy TRAINED_NET" in problem.message and "--merge-bn" in problem.message
    assert cc.check(cc.read_model("train.prototxt", "train.caffemodel")).clean
