"""`compare_blobs` says how far apart two nets are, and names the blob where that begins."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from tests.conftest import shared

TEXT = """
name: "n"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 4 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Power" bottom: "a" top: "b" power_param { scale: 2 } }
layer { name: "c" type: "Power" bottom: "b" top: "c" power_param { scale: 3 } }
layer { name: "d" type: "Eltwise" bottom: "a" bottom: "c" top: "d" }
"""
WEIGHTS = {"a": (np.arange(12, dtype=np.float32).reshape(4, 3) - 5, np.ones(4, np.float32))}


def net(text=TEXT, weights=WEIGHTS):
    return cc.Net(cc.Model(cc.parse_text(text, cc.NetParameter), weights))


def test_a_net_is_equal_to_itself():
    found = cc.compare_blobs(net(), net())
    assert found.first_divergence is None
    assert [(each.blob, each.layer, each.absolute) for each in found.blobs] == [
        ("a", "relu", 0), ("b", "b", 0), ("c", "c", 0), ("d", "d", 0)
    ]  # fmt: skip
    assert "4 blobs are equal" in str(found)


def test_the_first_divergence_is_named_in_the_order_of_the_net():
    data = np.float32([[1, 2, 3], [4, 5, 6]])
    found = cc.compare_blobs(net(), net(TEXT.replace("scale: 2", "scale: 2 shift: 0.5")), {"data": data})
    a = np.maximum(data @ WEIGHTS["a"][0].T + 1, 0)
    assert found.first_divergence.blob == "b" and found.first_divergence.layer == "b"
    assert found.blobs[1].absolute == 0.5 and found.blobs[2].absolute == 1.5
    assert found.blobs[1].relative == pytest.approx(0.5 / (2 * a.max()))
    assert "3 of 4 blobs differ" in str(found) and "from 'b' of layer 'b' on" in str(found)


def test_a_tolerance_is_a_share_of_the_largest_value():
    data, other = np.float32([[1, 2, 3], [4, 5, 6]]), TEXT.replace("scale: 2", "scale: 2 shift: 0.5")
    share = cc.compare_blobs(net(), net(other), {"data": data}).blobs[1].relative
    for tolerance, equal in ((share * 1.01, True), (share * 0.99, False)):
        found = cc.compare_blobs(net(), net(other), {"data": data}, tolerance)
        assert (found.first_divergence is None or found.first_divergence.blob != "b") == equal


def test_a_dump_gives_the_inputs_and_the_values():
    dump = cc.run_blobs(net(), {"data": np.float32([[1, 2, 3], [4, 5, 6]])})
    assert sorted(dump) == ["a", "b", "c", "d", "data"]  # Splits are left out
    assert cc.compare_blobs(net(), dump).first_divergence is None
    dump["c"] = dump["c"] + 1
    assert cc.compare_blobs(net(), dump).first_divergence.blob == "c"


def test_blobs_of_one_side_are_listed():
    found = cc.compare_blobs(net(), net(TEXT.replace('top: "d"', 'top: "e"')))
    assert (found.only_first, found.only_second) == (("d",), ("e",))
    assert "only in the first: d" in str(found)


def test_another_shape_and_a_lone_nan_are_infinitely_far():
    dump = cc.run_blobs(net(), {"data": np.ones((2, 3), np.float32)})
    dump["b"], dump["c"] = dump["b"][:1], np.full_like(dump["c"], np.nan)
    absolute = {each.blob: each.absolute for each in cc.compare_blobs(net(), dump).blobs}
    assert absolute["b"] == absolute["c"] == float("inf") and absolute["d"] == 0


def test_nan_on_both_sides_is_equal():
    dump = cc.run_blobs(net(), {"data": np.full((2, 3), np.nan, np.float32)})
    assert cc.compare_blobs(net(), dump).first_divergence is None


def test_a_dump_without_the_input_asks_for_it():
    with pytest.raises(cc.GraphError, match=r"data.*--inputs"):
        cc.compare_blobs(net(), {"d": np.zeros(1)})


def test_sides_without_a_blob_in_common_are_refused():
    with pytest.raises(cc.GraphError, match="no blob has a name of the other side"):
        cc.compare_blobs(net(), {"data": np.zeros((2, 3), np.float32), "x": np.zeros(1)})


def test_the_comparison_is_json_too():
    found = json.loads(cc.compare_blobs(net(), net()).to_json())
    assert found["equal"] is True and found["first_divergence"] is None and len(found["blobs"]) == 4


def test_a_net_without_its_data_takes_the_shape_of_the_others_input():
    data = 'layer { name: "in" type: "Data" top: "data" top: "label" data_param { source: "no" batch_size: 9 } }'
    lines = TEXT.splitlines()
    lines[2] = data
    models = [cc.Model(cc.parse_text("\n".join(text), cc.NetParameter)) for text in (lines, TEXT.splitlines())]
    assert cc.common_shapes(models, "TEST", {}) == [{"data": (2, 3), "label": (2,)}, {}]
    assert cc.common_shapes(models, "TEST", {"data": (5, 3)}) == [{"data": (5, 3), "label": (5,)}, {"data": (5, 3)}]


def test_real_models_of_another_snapshot_differ_from_the_first_layer_on():
    folder = shared("models", "cifar10_full_v1")
    nets = [
        cc.Net(cc.read_model(folder / "cifar10_full.prototxt", folder / f"cifar10_full_iter_{iteration}.caffemodel"))
        for iteration in (60000, 70000)
    ]
    found = cc.compare_blobs(*nets)
    assert found.first_divergence.layer == "conv1"
    assert cc.compare_blobs(nets[0], nets[0]).first_divergence is None
