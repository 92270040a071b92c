"""Layers that move values in ONNX: unpooling, reorganising, cutting, choosing items."""

import numpy as np
import pytest

import caffe_compat as cc
from tests.export.cases import largest_error, one_layer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LAYERS = {
    "repeat": ('type: "Upsample" bottom: "a" top: "y" upsample_param { scale: 3 }', (2, 4, 5, 6)),
    "reorg": ('type: "Reorg" bottom: "a" top: "y" reorg_param { stride: 2 }', (2, 8, 4, 6)),
    "reorg_back": ('type: "Reorg" bottom: "a" top: "y" reorg_param { stride: 2 reverse: true }', (2, 8, 3, 5)),
    "crop_center": ('type: "CropCenter" bottom: "a" top: "y" crop_center_param { crop_size: 0 crop_size: 0 '
                    "crop_size: 1 crop_size: 2 }", (2, 3, 5, 6)),
    "gather": ('type: "Gather" bottom: "a" top: "y"', (2, 3)),
    "deconvolution": ('type: "Deconvolution" bottom: "a" top: "y" convolution_param { num_output: 4 group: 4 '
                      'kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" } }',
                      (2, 4, 5, 6)),
    "interp": ('type: "Interp" bottom: "a" top: "y" interp_param { zoom_factor: 2 pad_beg: -1 }', (2, 3, 5, 6)),
}  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_its_own_top(name, dynamic, tmp_path):
    layer, shape = LAYERS[name]
    assert largest_error(one_layer(f'layer {{ name: "l" {layer} }}', shape), tmp_path, dynamic_batch=dynamic) <= 1e-6


@pytest.mark.parametrize("pad", [0, 1])
def test_unpooling_puts_every_maximum_back_where_it_was(pad, tmp_path):
    text = f"""
    layer {{ name: "p" type: "Pooling" bottom: "a" top: "p" top: "mask"
      pooling_param {{ pool: MAX kernel_size: 2 stride: 2 pad: {pad} }} }}
    layer {{ name: "u" type: "Upsample" bottom: "p" bottom: "mask" top: "y"
      upsample_param {{ upsample_h: 6 upsample_w: 7 }} }}
    """
    model = one_layer(text, (2, 3, 6, 7))
    x = np.random.RandomState(0).permutation(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).astype(np.float32) + 1
    cc.write_onnx(model, tmp_path / "net.onnx", dynamic_batch=True, outputs=["y", "p"])
    assert cc.check_onnx(tmp_path / "net.onnx", model, {"a": x}) == {"y": 0, "p": 0}
    y = cc.Net(model)(a=x)["y"].numpy()
    assert (y[y != 0] == x[y != 0]).all() and (y != 0).sum() == cc.Net(model).shapes["p"][2] * 4 * 6


def test_batch_reindex_takes_the_items_that_are_named(tmp_path):
    model = one_layer('layer { name: "l" type: "BatchReindex" bottom: "a" bottom: "b" top: "y" }', (3, 2), (4,))
    inputs = {"a": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([2, 0, 0, 1], np.float32)}
    assert largest_error(model, tmp_path, inputs) == 0
