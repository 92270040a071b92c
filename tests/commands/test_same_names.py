"""Layers of one name, which Caffe allows: what looks a layer up finds the right one. Values are real Caffe's."""

import re
import shutil

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

NETS = ["a_conv_relu", "b_pools", "c_relus", "d_power_scale", "e_relu_conv", "f_ip_softmax", "g_data_names"]
TWO = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 9 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "c" type: "Convolution" bottom: "c" top: "d" convolution_param { num_output: 4 kernel_size: 1 } }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(golden("same_name"), tmp_path / "nets"))


def read(name):
    return cc.read_model(f"{name}.prototxt", f"{name}.caffemodel")


def caffes(name):
    """Its blobs and its inputs."""
    stored = np.load(f"{name}.npz")
    blobs, inputs = ({key[2:]: stored[key] for key in stored.files if key.startswith(kind)} for kind in ("b:", "i:"))
    return blobs, inputs


@pytest.mark.parametrize("name", NETS)
def test_every_blob_is_caffes(folder, name):
    blobs, inputs = caffes(name)
    found = cc.Net(read(name)).blobs(**inputs)
    for blob, values in blobs.items():
        assert np.abs(found[blob].detach().numpy() - values).max() <= 1e-6 * max(np.abs(values).max(), 1)


@pytest.mark.parametrize("name", NETS)
def test_an_onnx_file_gives_caffes_outputs(folder, name):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    blobs, inputs = caffes(name)
    cc.write_onnx(read(name), "net.onnx")
    session = runtime.InferenceSession("net.onnx")
    inputs = inputs or {each.name: blobs[each.name] for each in session.get_inputs()}
    for output, found in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        assert np.abs(found - blobs[output.name]).max() <= 1e-6 * max(np.abs(blobs[output.name]).max(), 1)


@pytest.mark.parametrize("name", ["a_conv_relu", "e_relu_conv"])
def test_params_are_those_of_the_layer_with_blobs(folder, name):
    net = cc.Net(read(name))
    assert [tuple(blob.shape) for blob in net.params["c"]] == [(4, 4, 3, 3), (4,)]
    assert net.layers["c"].param.type == "Convolution" and net.load_report.copied == ("c",)


def test_two_with_blobs_are_refused():
    net = cc.parse_text(TWO, cc.NetParameter)
    with pytest.raises(cc.GraphError, match="two layers are named 'c'; blobs are kept by layer name, so rename one"):
        cc.Net(net)
    assert [found.kind for found in cc.check(cc.Model(net)).problems] == ["name"]


@pytest.mark.parametrize("name", ["a_conv_relu", "e_relu_conv", "f_ip_softmax", "h_group"])
def test_the_layer_with_blobs_alone_is_decomposed_and_certified(folder, name):
    model, layer = read(name), "g" if name == "f_ip_softmax" else "c"
    small = cc.decompose(model, {layer: 2})
    types = [each.type for each in small.net.layer if each.name == layer]
    assert len(types) == 1 and types[0] in ("ReLU", "Softmax")
    whole = cc.decompose(model, {layer: 3 if name == "f_ip_softmax" else 4})
    certificate = cc.certify(model, whole)
    assert certificate.layers[layer].chain == (f"{layer}_lowrank", f"{layer}_linear")
    assert max(certificate.blobs.values()) < 1e-5
    cost = cc.compare_cost(model, small)
    assert list(cost.layers) == ["in", layer] and cost.before.parameters > cost.after.parameters


def test_ranks_under_a_budget_are_counted_on_the_layer_with_blobs(folder):
    plan = cc.ranks_by_budget(read("a_conv_relu"), 0.6)
    assert plan.ranks == {"c": 2} and plan.before == 4 * 4 * 9 * 81


def test_groups_are_split_and_merged_without_their_namesake(folder):
    model = read("h_group")
    split = cc.split_groups(model)
    assert [layer.name for layer in split.net.layer] == ["in", "c_slice", "c_group0", "c_group1", "c_concat", "c"]
    assert sorted(split.weights) == ["c_group0", "c_group1"]
    merged = cc.merge_groups(split)
    assert sorted(merged.weights) == ["c"] and [layer.type for layer in merged.net.layer][1:] == ["Convolution", "ReLU"]
    for other in (split, merged):
        assert cc.compare_blobs(cc.Net(model), cc.Net(other)).first_divergence is None


def test_groups_go_there_and_back_by_files_that_hold_two_layers_of_one_name(folder, capsys):
    assert main(["groups", "split", "h_group.prototxt", "h_group.caffemodel"]) == 0
    split = ["h_group.prototxt.split.prototxt", "h_group.caffemodel.split.caffemodel.h5"]
    assert main(["groups", "merge", *split]) == 0
    net, weights = (line.removeprefix("Saved as ") for line in capsys.readouterr().out.splitlines()[-2:])
    assert weights.endswith(".merge.caffemodel")
    models = (read("h_group"), cc.read_model(net, weights))
    blobs = [cc.Net(model).blobs(x=np.ones((2, 4, 9, 9)))["r"] for model in models]
    np.testing.assert_allclose(*(blob.detach().numpy() for blob in blobs), rtol=1e-5, atol=1e-6)


def test_a_net_without_blobs_is_verified(folder):
    words = ["verify", "b_pools.prototxt", "b_pools.caffemodel", "--original", "b_pools.prototxt"]
    assert main([*words, "--original-weights", "b_pools.caffemodel"]) == 0


@pytest.mark.parametrize("name", ["a_conv_relu", "e_relu_conv"])
@pytest.mark.parametrize("weights", ["conv_only.caffemodel", None])
def test_check_is_clean(folder, name, weights):
    model = cc.read_model(f"{name}.prototxt", weights or f"{name}.caffemodel")
    assert cc.check(model).clean


def test_a_deploy_net_has_no_weights_for_a_namesake(folder):
    net = cc.parse_text(TWO.replace("Convolution", "ReLU", 2).replace("ReLU", "Convolution", 1), cc.NetParameter)
    net.layer.add(name="loss", type="EuclideanLoss", bottom=["c", "x"], top=["loss"])
    model = cc.Model(net, {"c": (np.ones((4, 4, 1, 1), np.float32), np.ones(4, np.float32))})
    assert set(cc.deploy(model).weights) == {"c"}
    assert cc.Net(cc.deploy(model)).load_report.missing == ()


def test_a_page_and_a_table_of_times_have_a_row_for_each(folder, capsys):
    page = cc.html_page(cc.Net(read("a_conv_relu")), {"c": 3})
    assert page.count("><td>c</td>") == 2 and page.count("3 of 4</td>") == 1
    anchors = re.findall(r"<tr id=(\S+?)>", page)
    assert len(anchors) == len(set(anchors)) == 3
    assert main(["time", "d_power_scale.prototxt", "--iterations", "1"]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["layer", "in", "s", "a_s_0_split", "s", "s", "median"]


def test_times_of_a_chain_stand_beside_its_layer_not_its_namesake(folder, capsys):
    cc.write_model(cc.decompose(read("a_conv_relu"), {"c": 2}), "small.prototxt")
    assert main(["time", "--compare", "a_conv_relu.prototxt", "small.prototxt", "--iterations", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert [row[0] for row in rows] == ["c", "c"] and all("-" not in row for row in rows)


def test_a_resumed_run_goes_on_with_each_of_two_data_layers_of_one_name(folder, tmp_path):
    layer = 'layer { name: "d" type: "HDF5Data" top: "TOP" hdf5_data_param { source: "l.txt" batch_size: SIZE } }'
    net = layer.replace("TOP", "a").replace("SIZE", "2") + layer.replace("TOP", "b").replace("SIZE", "2")
    net += 'layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param { num_output: 3 } }'
    net += 'layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "b" top: "l" }'
    h5py = pytest.importorskip("h5py")
    with h5py.File("two.h5", "w") as file:
        file["a"], file["b"] = np.random.RandomState(0).standard_normal((2, 10, 3)).astype(np.float32)
    (tmp_path / "nets" / "l.txt").write_text("two.h5\n")
    (tmp_path / "nets" / "n.prototxt").write_text(net)
    solver = 'net: "n.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 6 snapshot: 3 snapshot_prefix: "w" display: 0'
    (tmp_path / "nets" / "s.prototxt").write_text(solver)
    whole = cc.Solver("s.prototxt")
    whole.solve()
    again = cc.Solver("s.prototxt")
    again.restore("w_iter_3.solverstate")
    assert [layer.cursor for _, layer in again.net.steps if hasattr(layer, "next_batch")] == [3, 3]
    again.step(3)
    np.testing.assert_array_equal(again.net.weights()["ip"][0], whole.net.weights()["ip"][0])
