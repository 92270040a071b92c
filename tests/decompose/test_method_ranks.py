"""The rank that --keep asks for is the smallest at which the method's own chain keeps the share, in every group."""

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.decompose.bank import FilterBank
from caffe_compat.decompose.method_ranks import rank_of_method

NET = """
name: "n"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 dim: 9 dim: 7 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "a"
  convolution_param { num_output: 8 kernel_h: 3 kernel_w: 5 pad_h: 1 group: 2 } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 7 kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "b" top: "fc" inner_product_param { num_output: 5 } }
"""


@pytest.fixture(scope="module")
def model():
    net = cc.parse_text(NET, cc.NetParameter)
    random = np.random.RandomState(5)
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in cc.Net(net).weights().items()}
    return cc.Model(
        net, {name: tuple(random.standard_normal(s).astype(np.float32) for s in each) for name, each in shapes.items()}
    )


def kept(weight, rank, method, group):
    """The least share of energy that a group's chain keeps."""
    made = cc.factorize(weight, rank, method, group).reconstruct().astype(np.float64)
    pairs = zip(np.split(weight.astype(np.float64), group), np.split(made, group), strict=True)
    return min(1 - np.square(w - m).sum() / np.square(w).sum() for w, m in pairs)


@pytest.mark.parametrize("method", ["pca", "svd", "separable", "kmeans"])
@pytest.mark.parametrize("keep", [0.4, 0.8, 0.95])
def test_no_smaller_rank_of_the_method_keeps_the_share(model, method, keep):
    ranks = cc.ranks_by_energy(model, keep, method=method)
    for name, group in (("a", 2), ("b", 1)):
        weight = model.weights[name][0].astype(np.float64)
        assert kept(weight, ranks[name], method, group) >= keep - 1e-9
        assert ranks[name] == group or kept(weight, ranks[name] - group, method, group) < keep


@pytest.mark.parametrize("method", ["pca", "separable", "kmeans", "tucker"])
def test_all_the_energy_is_kept_by_the_whole_chain(model, method):
    ranks = cc.ranks_by_energy(model, 1.0, method=method)
    for name, group in (("a", 2), ("b", 1)):
        assert kept(model.weights[name][0], ranks[name], method, group) > 1 - 1e-9


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_tucker_keeps_the_share_in_each_mode_and_loses_at_most_twice_the_rest(model, keep):
    weight = model.weights["b"][0].astype(np.float64)
    inputs, outputs = cc.ranks_by_energy(model, keep, method="tucker")["b"]
    for rank, rows in ((inputs, weight.swapaxes(0, 1)), (outputs, weight)):
        shares = np.cumsum(np.linalg.svd(rows.reshape(len(rows), -1), compute_uv=False) ** 2) / np.square(weight).sum()
        assert shares[rank - 1] >= keep and (rank == 1 or shares[rank - 2] < keep)
    assert kept(weight, (inputs, outputs), "tucker", 1) >= 1 - 2 * (1 - keep)


def test_each_layer_has_its_own_method(model):
    ranks = cc.ranks_by_energy(model, 0.9, method={"a": "separable"})
    assert ranks["a"] == cc.ranks_by_energy(model, 0.9, method="separable")["a"]
    assert ranks["b"] == cc.ranks_by_energy(model, 0.9)["b"]


def test_zeros_have_rank_1():
    bank = FilterBank("z", np.zeros((4, 3, 2, 2), np.float32), None)
    assert [rank_of_method(bank, 0.9, each) for each in ("pca", "separable", "kmeans", "tucker")] == [1, 1, 1, (1, 1)]


@pytest.mark.parametrize(
    "method, said",
    [
        ("cp", "layer 'a': no energies tell the rank of method 'cp'; give ranks"),
        ("nmf", "layer 'a': method is 'nmf'; known: pca"),
    ],
)
def test_a_method_without_a_rule_is_refused(model, method, said):
    with pytest.raises(cc.RankError, match=said):
        cc.ranks_by_energy(model, 0.9, method=method)


def test_methods_of_height_and_width_refuse_other_filters(model):
    for method in ("separable", "tucker"):
        with pytest.raises(cc.RankError, match=f"layer 'fc': method '{method}' needs filters of height and width"):
            cc.ranks_by_energy(model, 0.9, inner_product=True, method=method)


@pytest.mark.parametrize("method", ["separable", "kmeans", "tucker"])
@pytest.mark.parametrize("multiple", [1, 2])
def test_the_certificate_of_a_decomposed_net_has_the_share(model, method, multiple, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cc.write_model(model, "net.prototxt", "net.caffemodel")
    words = ["--keep=0.9", f"--method={method}", f"--multiple={multiple}", "--out=small", "--certificate=c.json"]
    assert main(["decompose", "net.prototxt", "net.caffemodel", *words]) == 0
    found = cc.certify(model, cc.read_model("small.prototxt", "small.caffemodel"))
    least = 0.8 if method == "tucker" else 0.9
    assert set(found.layers) == {"a", "b"} and min(each.energy_kept for each in found.layers.values()) >= least
