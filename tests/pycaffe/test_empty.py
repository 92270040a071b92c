"""Batches of no items: refused where Caffe ends (a CHECK of its BLAS, a division by their number), else run."""

from pathlib import Path

import pytest

import caffe_compat.pycaffe as caffe
from tests.pycaffe.nets import layer

IMAGES = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }\n'


def _emptied(kind: str, fields: str = "") -> caffe.Net:
    Path("net.prototxt").write_text("force_backward: true\n" + IMAGES + layer("x", kind, "data", "x", fields))
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.blobs["data"].reshape(0, 3, 4, 4)
    return net


@pytest.mark.parametrize(
    "kind", ["BNLL", "ELU", "Flatten", "PReLU", "Sigmoid", "Tile", "InnerProduct", "Convolution", "Pooling"]
)
def test_most_types_run(kind: str) -> None:
    fields = {
        "InnerProduct": "inner_product_param { num_output: 2 }",
        "Convolution": "convolution_param { num_output: 2 kernel_size: 3 }",
        "Pooling": "pooling_param { kernel_size: 2 stride: 2 }",
        "Tile": "tile_param { tiles: 2 }",
    }
    net = _emptied(kind, fields.get(kind, ""))
    assert len(net.forward()["x"]) == 0
    assert net.backward()["data"].shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("kind", "fields", "end"),
    [
        ("BatchNorm", "", "reshape"),
        ("AbsVal", "", "forward"),
        ("LRN", "", "forward"),
        ("Softmax", "", "forward"),
        ("SPP", "spp_param { pyramid_height: 2 }", "forward"),
        ("Power", "power_param { power: 2 }", "forward"),
        ("Power", "power_param { scale: 3 }", "backward"),
        ("Scale", "", "backward"),
    ],
)
def test_others_are_refused_where_caffe_ends(kind: str, fields: str, end: str) -> None:
    net = _emptied(kind, fields)
    for name, run in (("reshape", net.reshape), ("forward", net.forward), ("backward", net.backward)):
        if name == end:
            with pytest.raises(RuntimeError, match=rf"n > 0 \(0 vs. 0\) layer 'x': {kind}"):
                run()
            return
        run()


def test_no_pass_is_left_out_after_a_refusal() -> None:
    net = _emptied("Scale")
    for _ in range(3):
        net.forward()
        with pytest.raises(RuntimeError, match="n > 0"):
            net.backward()
