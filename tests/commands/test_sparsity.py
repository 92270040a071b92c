"""caffe-compat sparsity: what it counts, what it writes, and one line for a net that has nothing to tell by."""

import json

import numpy as np

import caffe_compat as cc
from caffe_compat.commands import main

NET = """
name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param { num_output: 2 } }
"""


def write(folder, text=NET):
    net = cc.parse_text(text, cc.NetParameter)
    rng = np.random.default_rng(0)
    made = cc.Net(net)
    weights = {
        name: tuple(np.abs(rng.normal(size=tuple(b.shape))).astype(np.float32) for b in blobs)
        for name, blobs in made.params.items()
    }
    if "scale" in weights:
        weights["scale"] = (np.array([1, 0, 5e-4, 2], np.float32), np.array([0, -1, -1, 0], np.float32))
    cc.write_model(cc.Model(net, weights), folder / "n.prototxt", folder / "n.caffemodel")
    return [str(folder / "n.prototxt"), str(folder / "n.caffemodel")]


def test_it_counts_by_scale_and_writes_the_net_without_them(tmp_path, capsys):
    files = write(tmp_path)
    assert main(["sparsity", *files, "--fuse", str(tmp_path / "s")]) == 0
    assert "a\t4\t2\t-\t-" in capsys.readouterr().out
    small = cc.read_model(tmp_path / "s.prototxt", tmp_path / "s.caffemodel")
    assert [layer.type for layer in small.net.layer] == ["Input", "Convolution", "ReLU", "InnerProduct"]
    assert small.weights["a"][0].shape == (2, 3, 3, 3)
    before, after = (
        cc.Net(model)(data=np.ones((2, 3, 6, 6)))["ip"].detach().numpy() for model in (cc.read_model(*files), small)
    )
    np.testing.assert_allclose(after, before, rtol=1e-3)  # |gamma| of 5e-4 and beta of -1: nothing behind the ReLU


def test_without_data_or_scales_it_says_so(tmp_path, capsys):
    files = write(
        tmp_path, "".join(line + "\n" for line in NET.splitlines() if "bn" not in line and "scale" not in line)
    )
    assert main(["sparsity", *files, "--batches", "2"]) == 2
    assert "has no data layer in phase TEST" in capsys.readouterr().err
    assert main(["sparsity", *files, "--fuse", str(tmp_path / "s")]) == 2
    assert "no Convolution has a Scale behind it" in capsys.readouterr().err


def test_a_net_without_convolutions_says_that_nothing_is_counted(tmp_path, capsys):
    net = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 4 } } }\n'
    net += 'layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 2 } }\n'
    assert main(["sparsity", *write(tmp_path, net)]) == 0
    assert "n.prototxt: no Convolution, and these are what is counted" in capsys.readouterr().err


def test_a_net_with_a_data_layer_needs_no_data_for_its_scales(tmp_path, capsys):
    files = write(tmp_path)
    first = NET.splitlines()[2]
    stored = (
        'layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 6 } '
        'data_param { source: "nowhere" batch_size: 2 } }'
    )
    (tmp_path / "n.prototxt").write_text(NET.replace(first, stored), encoding="utf-8")
    assert main(["sparsity", *files]) == 0
    assert "a\t4\t2\t-\t-" in capsys.readouterr().out


def test_weights_of_another_net_are_told_in_a_line(tmp_path, capsys):
    files = write(tmp_path)
    (tmp_path / "n.prototxt").write_text(NET.replace('name: "a"', 'name: "other"'), encoding="utf-8")
    assert main(["sparsity", *files]) == 2
    assert "net 'n' has no weights for other" in capsys.readouterr().err


def test_json_has_the_numbers_of_the_table(tmp_path, capsys):
    assert main(["sparsity", *write(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["layers"]
    assert found == {"a": {"filters": 4, "by_scale": 2, "by_activation": None, "selectivity": None}}
