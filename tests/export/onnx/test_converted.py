"""Layers of forks that ONNX has operators for: onnxruntime gives what the layers give, at any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

PLANES = "dim: 2 dim: 4 dim: 4 dim: 6"
NETS = {  # the layer, and the shapes of its bottoms
    "relu6": ('type: "ReLU6"', [PLANES]),
    "leaky6": ('type: "Relu6" relu6_param { negative_slope: -9 }', [PLANES]),
    "hard sigmoid": ('type: "HardSigmoid" hard_sigmoid_param { alpha: 0.5 beta: 0.25 }', [PLANES]),
    "softplus": ('type: "Softplus"', [PLANES]),
    "instance norm": ('type: "InstanceNorm"', [PLANES]),
    "l2 norm": ('type: "L2Norm"', [PLANES]),
    "l2 norm, eps": ('type: "L2Norm" l2norm_param { eps: 0.5 }', [PLANES]),
    "l2 norm, length": ('type: "L2Norm" l2norm_param { l2_length: 3 }', [PLANES]),
    "matrices": ('type: "MatMul"', ["dim: 2 dim: 3 dim: 4 dim: 6", "dim: 2 dim: 3 dim: 6 dim: 5"]),
    "matrices turned": ('type: "MatMul" matmul_param { transpose_a: true transpose_b: true }',
                        ["dim: 2 dim: 4 dim: 3", "dim: 2 dim: 5 dim: 4"]),
    "blob": ('type: "MatMul" matmul_param { blob_shape: 6 blob_shape: 5 }', [PLANES]),
    "gnina": ('type: "MatMul"', ["dim: 2 dim: 3 dim: 2 dim: 4", "dim: 2 dim: 8 dim: 2 dim: 3"]),
    "sophgo": ('type: "MatMul" matmul_param { dim_1: 4 dim_2: 3 dim_3: 5 }', ["dim: 2 dim: 6", "dim: 5 dim: 3"]),
    "padding": ('type: "Padding" padding_param { pad_t: 1 pad_b: 2 pad_l: 3 pad_value: -2 }', [PLANES]),
    "padding to 8": ('type: "Padding" padding_param { pad_to_power_of_2: true }', [PLANES]),
    "cut": ('type: "Padding" padding_param { pad_beg: -1 pad_end: -2 }', [PLANES]),
    "mirror": ('type: "Padding" padding_param { type: MIRROR pad_up: 4 pad_down: 3 pad_left: 1 pad_right: 6 }',
               [PLANES]),
    "blocks": ('type: "PassThrough" pass_through_param { block_height: 2 block_width: 2 }', [PLANES]),
    "long blocks": ('type: "PassThrough" pass_through_param { block_height: 2 block_width: 3 }', [PLANES]),
    "reorg": ('type: "Reorg" reorg_param { stride: 2 }', [PLANES]),
    "reorg back": ('type: "Reorg" reorg_param { stride: 2 reverse: true }', [PLANES]),
    "reorg yolo": ('type: "ReorgYolo" reorg_yolo_param { stride: 2 }', [PLANES]),
    "region 2": ('type: "RegionYolo" region_yolo_param { coords: 4 classes: 3 num: 2 }',
                 ["dim: 2 dim: 16 dim: 3 dim: 5"]),
    "region 2 whole": ('type: "RegionYolo" region_yolo_param { coords: 2 classes: 3 } flatten_param { axis: 2 }',
                       ["dim: 2 dim: 6 dim: 3 dim: 5"]),
    "region 3": ('type: "RegionYolo" region_yolo_param { classes: 3 num: 9 do_softmax: false mask: 3 mask: 4 }',
                 ["dim: 2 dim: 16 dim: 3 dim: 5"]),
}  # fmt: skip


def net_of(layer: str, shapes: list[str]) -> cc.Model:
    bottoms = "".join(f' bottom: "x{index}"' for index in range(len(shapes)))
    inputs = "".join(
        f'layer {{ name: "x{index}" type: "Input" top: "x{index}" input_param {{ shape {{ {shape} }} }} }}\n'
        for index, shape in enumerate(shapes)
    )
    net = cc.parse_text(f'{inputs}layer {{ name: "lay"{bottoms} top: "y" {layer} }}', cc.NetParameter)
    weights = {
        name: tuple(np.random.default_rng(3).standard_normal(blob.shape).astype(np.float32) for blob in blobs)
        for name, blobs in cc.Net(cc.Model(net)).weights().items()
    }
    return cc.Model(net, weights)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("opened", [False, True])
def test_onnxruntime_gives_the_layers_top(name: str, opened: bool, tmp_path: Path) -> None:
    model = net_of(*NETS[name])
    if opened and name in ("sophgo",):
        with pytest.raises(cc.CaffeCompatError, match="takes no other batch than"):
            cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=True)
        return
    cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=opened)
    assert max(cc.check_onnx(tmp_path / "net.onnx", model).values()) <= 1e-5


@pytest.mark.parametrize("between", ["", 'type: "Dropout"'])
def test_padding_with_0_counts_as_0_in_a_maximum_behind_it(between: str, tmp_path: Path) -> None:
    """Without a value between them onnxruntime makes one MaxPool of the two, whose pad is no value."""
    second = f'layer {{ name: "d" {between} bottom: "y" top: "d" }}' if between else ""
    model = net_of('type: "Padding" padding_param { pad_beg: 1 pad_end: 1 }', [PLANES])
    pooling = f"""layer {{ name: "p" type: "Pooling" bottom: "{"d" if between else "y"}" top: "p"
        pooling_param {{ kernel_size: 3 stride: 2 }} }}"""
    model = cc.Model(cc.parse_text(cc.format_text(model.net) + second + pooling, cc.NetParameter))
    values = -1 - np.random.default_rng(0).random((2, 4, 4, 6), dtype=np.float32)
    cc.write_onnx(model, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (top,) = session.run(["p"], {"x0": values})
    padded = np.pad(values, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(padded, [(0, 0)] * 2 + [(0, 1)] * 2, constant_values=-np.inf), (3, 3), (2, 3)
    )
    np.testing.assert_array_equal(top, windows[:, :, ::2, ::2].max(axis=(-2, -1)))


@pytest.mark.parametrize("opened", [False, True])
def test_values_go_where_a_mask_says(opened: bool, tmp_path: Path) -> None:
    model = net_of('type: "MaxUnPool" max_unpool_param { dst_h: 3 dst_w: 5 }', ["dim: 2 dim: 3 dim: 2 dim: 2"] * 2)
    cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=opened)
    draw = np.random.default_rng(5)
    for batch in (1, 4) if opened else (2,):
        values = draw.standard_normal((batch, 3, 2, 2)).astype(np.float32)
        mask = draw.permuted(np.tile(np.arange(15.0), (batch, 3, 1)), axis=2)[..., :4].reshape(values.shape)
        inputs = {"x0": values, "x1": mask.astype(np.float32)}
        assert cc.check_onnx(tmp_path / "net.onnx", model, inputs) == {"y": 0.0}


def test_boxes_and_first_steps_are_constants(tmp_path: Path) -> None:
    model = net_of(
        'type: "PriorBoxClustered" prior_box_param { width: 9 height: 5 width: 3 height: 8 step: 4 clip: true }',
        ["dim: 1 dim: 2 dim: 3 dim: 4", "dim: 1 dim: 3 dim: 12 dim: 16"],
    )
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert cc.check_onnx(tmp_path / "net.onnx", model) == {"y": 0.0}
    text = 'layer { name: "go" type: "ContinuationIndicator" top: "y" continuation_indicator_param { time_step: 3 } }'
    model = cc.Model(cc.parse_text(text, cc.NetParameter))
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert cc.check_onnx(tmp_path / "net.onnx", model) == {"y": 0.0}


def test_a_bottom_that_says_which_sequences_go_on_is_told(tmp_path: Path) -> None:
    model = net_of('type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 }', ["dim: 1"])
    with pytest.raises(cc.UnsupportedLayerError, match="its bottom says which sequences go on"):
        cc.write_onnx(model, tmp_path / "net.onnx")
