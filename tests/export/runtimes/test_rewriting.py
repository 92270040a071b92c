"""Nets in the form that a runtime computes right: the same values, nothing known against them, or refused by name."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.export.runtimes.test_facts import LAYERS, parsed

ROADS = ("mnn:caffe", "opencv:caffe", "opencv:onnx")
REFUSED = {  # types, or a layer of a type, that have no form
    *("ArgMax", "BatchNorm", "BatchReindex", "Embed", "Im2col", "Parameter", "Reorg", "Threshold", "Upsample"),
}
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 9 dim: 8 } } }'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: 4 kernel_size: 3 '
    'pad: 1 weight_filler { type: "gaussian" std: 0.3 } bias_filler { value: 0.2 } } }'
)


def with_weights(model: cc.Model) -> cc.Model:
    torch.manual_seed(0)
    net = cc.Net(model, "TEST")
    return cc.Model(net.param, net.weights())


def outputs(model: cc.Model, given: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = cc.Net(model, "TEST").eval()(**given)
    return {name: values for name, values in found.items() if name not in given}


def check_same(model: cc.Model, road: str, positive: bool = False) -> cc.Model:
    """The rewritten model, which gives the outputs of `model` in all sizes above one, and against which nothing is."""
    made = cc.for_runtime(model, road)
    assert [each for each in cc.known_differences(made, road) if each.effect != "not-tried"] == []
    net = cc.Net(model, "TEST")
    rng = np.random.default_rng(1)
    given = {name: rng.standard_normal(net.shapes[name]).astype(np.float32) for name in net.input_names}
    if positive:
        given = {name: np.abs(values) + 0.5 for name, values in given.items()}
    before, after = outputs(model, given), outputs(made, given)
    assert set(before) == set(after)
    for name, values in before.items():
        assert [size for size in values.shape if size > 1] == [size for size in after[name].shape if size > 1]
        largest = float(values.abs().max())
        torch.testing.assert_close(after[name].reshape(values.shape), values, rtol=1e-5, atol=1e-5 * largest)
    return made


def rewritten_rows() -> list[tuple[str, str, str]]:
    """(road, name, net) for every small net that a runtime does not compute right."""
    columns = {"mnn:caffe": "mnn:caffe", "opencv4:caffe": "opencv:caffe", "opencv4:onnx": "opencv:onnx"}
    return [
        (road, row["name"], row["net"])
        for row in LAYERS
        for column, road in columns.items()
        if row[column] not in ("right", "-")
    ]


ROWS = rewritten_rows()


def check_rows(given: list[tuple[str, str, str]]) -> int:
    refused = 0
    for road, name, text in given:
        model = with_weights(parsed(text))
        try:
            check_same(model, road, positive=name.startswith("l"))
        except cc.UnsupportedLayerError as error:
            refused += 1
            kinds = {layer.type for layer in model.net.layer}
            known = kinds & REFUSED or any(
                word in str(error) for word in ("spread", "pad_beg", "k is 0", "no other form")
            )
            assert known, (road, name, str(error))
    return refused


def test_small_nets_come_out_the_same_in_another_form() -> None:
    some = [row for row in ROWS if zlib.crc32(row[1].encode()) % 12 == 0]
    assert len(some) > 20 and check_rows(some) < len(some) / 2


@pytest.mark.slow
def test_all_small_nets_come_out_the_same_in_another_form_or_are_refused_by_name() -> None:
    assert check_rows(ROWS) < len(ROWS) / 4


LAYER = {  # what only some runtimes ask for, each with the types that stand there then
    "slice": ('type: "Slice" bottom: "x" top: "t" top: "u"', ["Slice"]),
    "clip": ('type: "Clip" bottom: "x" top: "x" clip_param { min: -0.3 max: 0.5 }', ["Power", "Eltwise"] * 2),
    "max": (
        'type: "Pooling" bottom: "x" top: "t" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 '
        "round_mode: FLOOR }",
        ["Pooling", "Convolution"],
    ),
    "mean": (
        'type: "Pooling" bottom: "x" top: "t" pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }',
        ["Convolution"],
    ),
    "lrn": ('type: "LRN" bottom: "x" top: "t" lrn_param { local_size: 3 alpha: 0.5 k: 2 }', ["LRN", "Power"]),
    "sum": (
        'type: "Eltwise" bottom: "x" bottom: "data" top: "t" eltwise_param { coeff: 0.5 coeff: -2 }',
        ["Power", "Power", "Eltwise"],
    ),
    "permuted": ('type: "Transpose" bottom: "x" top: "t" transpose_param { dim: 3 dim: 0 dim: 2 dim: 1 }', ["Permute"]),
    "normed": (
        'type: "BN" bottom: "x" top: "x" bn_param { slope_filler { type: "gaussian" std: 1 } bias_filler { } }',
        ["Scale"],
    ),
    "scaled": (
        'type: "SyncBN" bottom: "x" top: "t" bn_param { bn_mode: INFERENCE scale_filler { type: "gaussian" std: 1 } }',
        ["Scale"],
    ),
    "negative": ('type: "NegReLU" bottom: "x" top: "t" relu_param { negative_slope: 0.3 }', ["Power", "ReLU"]),
    "mish": ('type: "Mish" bottom: "x" top: "x"', ["BNLL", "TanH", "Eltwise"]),
    "hswish": ('type: "HSwish" bottom: "x" top: "t"', ["Power", "ReLU6", "Eltwise"]),
    "reverse": ('type: "Reverse" bottom: "x" top: "t" reverse_param { axis: 2 }', ["Slice", "Concat"]),
    "reversed_alone": ('type: "Reverse" bottom: "x" top: "t" reverse_param { axis: 0 }', ["Power"]),
    "pyramid": (
        'type: "SPP" bottom: "x" top: "t" spp_param { pyramid_height: 2 pool: AVE }',
        ["Pooling", "Flatten", "Convolution", "Flatten", "Concat"],
    ),
    "one_level": ('type: "SPP" bottom: "x" top: "t" spp_param { pyramid_height: 1 }', ["Pooling"]),
    "pixels": ('type: "Upsample" bottom: "x" top: "t" upsample_param { scale_h: 3 scale_w: 2 }', ["Deconvolution"]),
    "tile": ('type: "Tile" bottom: "x" top: "t" tile_param { axis: 2 tiles: 2 }', ["Concat"]),
}


@pytest.mark.parametrize("kind", LAYER)
def test_a_layer_is_written_as_the_layers_that_mnn_takes(kind: str) -> None:
    text, types = LAYER[kind]
    behind = 'layer { name: "end" type: "TanH" bottom: "x" top: "end" }'
    made = check_same(with_weights(parsed(f'{INPUT} {CONV} layer {{ name: "l" {text} }} {behind}')), "mnn:caffe")
    found = [layer.type for layer in made.net.layer[2:-1]]
    assert found[: len(types)] == types or sorted(set(found)) == sorted(set(types))


OTHERS = {  # road, layer and types of what others than MNN ask for
    "reference_lrn": (
        "onnx.reference:onnx",
        'type: "LRN" bottom: "x" top: "t" lrn_param { local_size: 5 alpha: 0.3 beta: 0.6 k: 2 }',
        ["Power", "Convolution", "Power", "Eltwise"],
    ),
    "openvino_point": (
        "openvino:onnx",
        'type: "Convolution" bottom: "x" top: "t" convolution_param { num_output: 3 kernel_size: 1 stride: 2 pad_h: 1 '
        'pad_w: 0 weight_filler { type: "gaussian" std: 1 } }',
        ["Convolution"],
    ),
    "opencv_kernel": (
        "opencv:caffe",
        'type: "Pooling" bottom: "x" top: "t" pooling_param { pool: AVE kernel_h: 11 kernel_w: 3 stride: 3 }',
        ["Pooling"],
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_layer_is_written_as_what_other_runtimes_take(kind: str) -> None:
    road, text, types = OTHERS[kind]
    model = with_weights(parsed(f'{INPUT} {CONV} layer {{ name: "l" {text} }}'))
    assert cc.known_differences(model, road)
    assert [layer.type for layer in check_same(model, road).net.layer[2:]] == types


COPIES = {
    "split": 'layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }',
    "split_read": 'layer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" } '
    'layer { name: "r" type: "TanH" bottom: "b" top: "r" }',
    "twins": 'layer { name: "p" type: "TanH" bottom: "x" top: "m" } layer { name: "q" type: "TanH" bottom: "x" '
    'top: "n" } layer { name: "o" type: "AbsVal" bottom: "m" top: "a" } layer { name: "u" type: "AbsVal" '
    'bottom: "n" top: "b" } layer { name: "v" type: "AbsVal" bottom: "n" top: "c" }',
}


@pytest.mark.parametrize("road", ["mnn:caffe", "opencv:caffe"])
@pytest.mark.parametrize("kind", COPIES)
def test_outputs_that_are_the_same_value_stay_apart(kind: str, road: str) -> None:
    made = check_same(with_weights(parsed(f"{INPUT} {CONV} {COPIES[kind]}")), road)
    assert {"a", "b"} <= {top for layer in made.net.layer for top in layer.top}
    assert "Split" not in [layer.type for layer in made.net.layer]


def test_a_bn_by_the_batch_and_an_unpooling_have_no_other_form() -> None:
    learns = 'layer { name: "l" type: "BN" bottom: "x" top: "t" bn_param { bn_mode: LEARN } }'
    with pytest.raises(cc.UnsupportedLayerError, match="takes the statistics of the batch in TEST too"):
        cc.for_runtime(with_weights(parsed(f"{INPUT} {CONV} {learns}")), "opencv:caffe")
    unpools = 'layer { name: "l" type: "Upsample" bottom: "x" bottom: "data" top: "t" upsample_param { scale: 2 } }'
    with pytest.raises(cc.UnsupportedLayerError, match="a mask says where its values go"):
        cc.for_runtime(with_weights(parsed(f"{INPUT} {CONV} {unpools}")), "mnn:caffe")


def test_a_net_that_is_right_already_stays_as_it_is() -> None:
    model = with_weights(parsed(f"{INPUT} {CONV}"))
    for road in ("mnn:caffe", "opencv:caffe", "mnn:onnx", "openvino:onnx", "onnxruntime:onnx"):
        assert cc.for_runtime(model, road) is model


def test_a_layer_without_another_form_is_refused_by_name() -> None:
    model = with_weights(parsed(f'{INPUT} {CONV} layer {{ name: "best" type: "ArgMax" bottom: "x" top: "best" }}'))
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'best' \(ArgMax\): MNN 3\.6\.1 computes otherwise"):
        cc.for_runtime(model, "mnn:caffe")


def test_values_that_caffe_loses_in_place_are_refused() -> None:
    layer = 'layer { name: "l" type: "LRN" bottom: "x" top: "x" lrn_param { local_size: 3 alpha: 0.5 k: 2 } }'
    model = with_weights(parsed(f'{INPUT} {CONV} {layer} layer {{ name: "r" type: "ReLU" bottom: "x" top: "y" }}'))
    with pytest.raises(cc.UnsupportedLayerError, match="where Caffe computes with what a layer in place has left"):
        cc.for_runtime(model, "mnn:caffe")


def test_a_form_that_needs_weights_says_so() -> None:
    text = (
        f'{INPUT} layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 3 transpose: true } }"
    )
    with pytest.raises(cc.WeightsError, match="layer 'ip' has no weights, which its other form is made of"):
        cc.for_runtime(parsed(text), "opencv:caffe")


def test_a_layer_that_shares_its_blobs_gets_its_own_where_they_change() -> None:
    fields = 'param { name: "w" } inner_product_param { num_output: 4 axis: 3 bias_term: false transpose: %s }'
    both = [
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {fields % transpose} }}'
        for name, bottom, transpose in (("a", "data", "true"), ("b", "data", "true"))
    ]
    model = with_weights(parsed(f"{INPUT} {' '.join(both)}"))
    model.weights["a"][0][...] = np.random.default_rng(0).standard_normal(model.weights["a"][0].shape)
    model = dataclasses.replace(model, weights={"a": model.weights["a"]})
    made = cc.for_runtime(model, "opencv:caffe")
    assert set(made.weights) == {"a", "b"}
    given = {"data": np.random.default_rng(1).standard_normal((1, 4, 9, 8)).astype(np.float32)}
    for name, values in outputs(model, given).items():
        torch.testing.assert_close(outputs(made, given)[name], values)
