"""Nets and weights that Caffe refuses, in its own words; and what it takes."""

from pathlib import Path

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe.bindings import CheckError
from caffe_compat.pycaffe.proto import caffe_pb2
from tests.pycaffe.nets import DATA, inner, layer, net

LABELLED = DATA + 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
REFUSED = {
    "Cannot configure batch normalization statistics": DATA
    + layer("b", "BatchNorm", "data", "b", "param { lr_mult: 1 }"),
    "loss_weight must be unspecified or specified once per top": LABELLED
    + inner("ip", "data", "ip", 2)
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss", 'top: "p"'),
    "Too many params specified for layer 'ip'": DATA
    + inner("ip", "data", "ip", 2).replace("inner_", "param {} " * 3 + "inner_"),
    "Specify either include rules or exclude rules; not both": DATA
    + layer("r", "ReLU", "data", "r", "include {} exclude {}"),
    "either 0 or bottom_size times": DATA + layer("r", "ReLU", "data", "r", "propagate_down: true " * 2),
    "Unknown bottom blob 'dta' \\(layer 'r'\\)": DATA + layer("r", "ReLU", "dta", "r"),
    "Top blob 'r' produced by multiple sources": DATA
    + layer("r", "TanH", "data", "r")
    + layer("q", "TanH", "data", "r"),
    "Unknown layer type: Relu \\(known types: AbsVal, ": DATA + layer("r", "Relu", "data", "r"),
    "does not allow in-place computation": DATA + layer("a", "AbsVal", "data", "data"),
    "Failed to parse NetParameter file": DATA + "layer {",
}


@pytest.mark.parametrize("words", REFUSED)
def test_nets_are_refused_in_caffes_words(words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        net(REFUSED[words])


def test_a_forward_pass_is_refused_in_caffes_words() -> None:
    built = net(DATA + inner("ip", "data", "ip", 2))
    built.blobs["data"].reshape(2, 4)
    with pytest.raises(RuntimeError, match=r"Input size incompatible with inner product parameters.*'ip'"):
        built.forward()


def test_weights_that_do_not_fit_change_nothing() -> None:
    net(DATA + inner("ip", "data", "ip", 2)).save("two.caffemodel")
    five = net(DATA + inner("ip", "data", "ip", 5))
    before = five.params["ip"][0].data.copy()
    with pytest.raises(RuntimeError, match=r"Source param shape is 2 3 \(6\); target param shape is 5 3 \(15\)"):
        five.copy_from("two.caffemodel")
    assert np.array_equal(five.params["ip"][0].data, before)


@pytest.mark.parametrize("seeded", [False, True])
def test_weights_given_at_once_are_those_copied_later(seeded: bool) -> None:
    """A net that gets weights is not filled first, unless a seed tells what later draws must be."""
    text = DATA + inner("ip", "data", "ip", 2).replace("num_output", 'weight_filler { type: "xavier" } num_output')
    net(text).save("w.caffemodel")
    if seeded:
        caffe.set_random_seed(3)
    at_once = caffe.Net("net.prototxt", caffe.TEST, weights="w.caffemodel")
    later = caffe.Net("net.prototxt", caffe.TEST)
    later.copy_from("w.caffemodel")
    assert np.array_equal(at_once.params["ip"][0].data, later.params["ip"][0].data)


def test_a_level_given_overrides_that_of_the_file() -> None:
    Path("net.prototxt").write_text(
        "state { level: 3 }\n" + DATA + layer("r", "ReLU", "data", "r", "include { min_level: 1 }")
    )
    assert list(caffe.Net("net.prototxt", caffe.TEST)._layer_names) == ["data"]
    assert list(caffe.Net("net.prototxt", caffe.TEST, level=1)._layer_names) == ["data", "r"]


SAME = DATA + inner("ip", "data", "a", 4) + inner("ip", "a", "b", 2)


def test_layers_of_one_name_are_taken_and_the_first_gets_the_weights() -> None:
    """net.cpp: CopyTrainedLayersFrom stops at the first layer of a name; pycaffe.py: of params the last one stays."""
    built = net(SAME)
    assert list(built._layer_names) == ["data", "ip", "ip"]
    assert [tuple(blob.shape) for blob in built.params["ip"]] == [(2, 4), (2,)]
    assert [tuple(layer.blobs[0].shape) for layer in built.layers if len(layer.blobs)] == [(4, 3), (2, 4)]
    built.save("both.caffemodel")
    message = caffe_pb2.NetParameter.FromString(Path("both.caffemodel").read_bytes())
    assert [list(each.blobs[0].shape.dim) for each in message.layer[1:]] == [[4, 3], [2, 4]]
    with pytest.raises(CheckError, match="Cannot copy param 0 weights from layer 'ip'; shape mismatch"):
        built.copy_from("both.caffemodel")  # the second one's do not fit the first
    with pytest.raises(CheckError, match="two layers are named 'ip'"):
        built.save_hdf5("both.h5")


def test_of_two_layers_of_one_name_in_a_file_the_second_ones_weights_count() -> None:
    text = DATA + inner("ip", "data", "a", 3) + inner("ip", "a", "b", 3)
    source = net(text)
    first, second = (layer for layer in source.layers if len(layer.blobs))
    second.blobs[0].data[...] = 7
    source.save("both.caffemodel")
    second.blobs[0].data[...] = 1
    first.blobs[0].data[...] = 0
    source.copy_from("both.caffemodel")
    assert (first.blobs[0].data == 7).all()
    assert (second.blobs[0].data == 1).all()
    built = caffe.Net("net.prototxt", "both.caffemodel", caffe.TEST)
    assert (next(layer for layer in built.layers if len(layer.blobs)).blobs[0].data == 7).all()
    assert np.isfinite(built.params["ip"][0].data).all()


def test_code_that_a_net_names_is_announced_before_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    code = "import caffe, logging\nlogging.getLogger('caffe_compat').warning('the module runs')\n"
    Path("announced.py").write_text(f"{code}class Told(caffe.Layer):\n    setup = reshape = lambda *_: None\n")
    net(DATA + layer("p", "Python", "data", "p", "python_param { module: 'announced' layer: 'Told' }"))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said[0].endswith("class Told of announced.py") and said[1] == "the module runs"


@pytest.mark.parametrize("content", [b"\x0a\x7fcut", b"layer {}\n"])
def test_weights_that_cannot_be_parsed_have_the_words_of_a_binary_file_given_at_once_or_later(content: bytes) -> None:
    built = net(DATA + inner("ip", "data", "ip", 2))
    Path("w.caffemodel").write_bytes(content)
    words = r"ReadProtoFromBinaryFile\(param_file, param\) Failed to parse NetParameter file: w.caffemodel"
    with pytest.raises(RuntimeError, match=words):
        built.copy_from("w.caffemodel")
    Path("n.prototxt").write_text(DATA + inner("ip", "data", "ip", 2))
    with pytest.raises(RuntimeError, match=words):
        caffe.Net("n.prototxt", "w.caffemodel", caffe.TEST)


def test_empty_weights_are_a_message_of_no_fields_given_at_once_or_later(caplog: pytest.LogCaptureFixture) -> None:
    built = net(DATA + inner("ip", "data", "ip", 2))
    Path("w.caffemodel").write_bytes(b"")
    Path("n.prototxt").write_text(DATA + inner("ip", "data", "ip", 2))
    built.copy_from("w.caffemodel")
    assert list(caffe.Net("n.prototxt", "w.caffemodel", caffe.TEST).params) == ["ip"]
    assert caplog.text.count("w.caffemodel: the file is empty, and gives no layer weights") >= 2
