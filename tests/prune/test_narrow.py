"""Narrower nets compute what the masked ones do: every kind of coupling, and the constants of filters that are 0."""

import re

import numpy as np
import pytest

from caffe_compat.errors import RankError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.prune.masks import cut_off
from caffe_compat.prune.narrow import couple, narrow, narrow_classes
from caffe_compat.prune.pruning import certify_pruned, prune_filters
from caffe_compat.prune.selection import Selection, select
from tests.prune.building import Building, output
from tests.solver.methods.golden import Case, cases, close, runner_of


def small_block(case):
    """Their last convolution is cut too and its output scattered: here it keeps its width, with filters of zeros."""
    net, convs = Building(case["x"].shape), case.names("W")
    for number in convs:
        weight = case[f"W{number}"]
        net.conv(f"conv{number}", weight)
        last = net.bn(f"bn{number}", *case[f"bn{number}"])
        if number != convs[-1]:
            net.relu(f"conv{number}")
    net.sum("sum", last, "data")
    net.relu("end")
    model = net.model()
    close(output(model, case["x"]), case["y_big"], 1e-11)
    gone = {f"conv{k}": sorted(set(range(len(case[f"W{k}"]))) - set(case[f"kept{k}"].tolist())) for k in convs[:-1]}
    dropped = narrow(model, gone, fold=False)
    close(output(dropped.model, case["x"]), case["y_small"], 1e-11)
    folded = narrow(model, gone)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # beyond the reach of the borders
    close(output(folded.model, case["x"])[inner], case["y_big"][inner], 1e-11)
    assert set(folded.inexact) == {f"conv{k}" for k in convs[1:] if case[f"W{k}"].shape[2] > 1 and folded.constants}


@pytest.mark.parametrize("name", [name for name in cases("sfp") if name.startswith("small_block")])
def test_soft_pruned_blocks_become_their_authors_small_ones(name):
    runner_of({"small_block": small_block}, name)(Case("sfp", name))


def grown_single(case):
    """Convolutions in a chain, BN and ReLU behind each, and two fully connected layers."""
    convs = [name for name in case.names("w_end:") if case[f"w_end:{name}"].ndim == 4]
    first, last = (case[f"w_end:{conv}"].shape for conv in (convs[0], convs[-1]))
    dense = next(name for name in case.names("w_end:") if case[f"w_end:{name}"].ndim == 2)
    net = Building((1, first[1], 1, case[f"w_end:{dense}"].shape[1] // last[0]))
    for conv in convs:
        net.conv(conv, case[f"w_end:{conv}"], case.arrays.get(f"b_end:{conv}"))
        bn = conv.replace(conv.split(".")[1], str(int(conv.split(".")[1]) + 1))
        net.bn(bn, *case[f"bn:{bn}"])
        net.relu(conv)
    for fc in [name for name in case.names("w_end:") if case[f"w_end:{name}"].ndim == 2]:
        bias = case.arrays.get(f"b_end:{fc}", np.zeros(len(case[f"w_end:{fc}"])))
        net.ip(fc, case[f"w_end:{fc}"], bias)
    return net.model()


def grown_residual(case):
    """Blocks of two or three convolutions, as the authors' parameters are named; all of stride 1."""
    names = case.names("w_end:")
    net = Building((1, case["w_end:conv1"].shape[1], 3, 3))

    def conv_bn(conv, bn, bottom=None):
        net.conv(conv, case[f"w_end:{conv}"], None, 1, bottom)
        return net.bn(bn, *case[f"bn:{bn}"])

    conv_bn("conv1", "bn1")
    net.relu("stem")
    for block in dict.fromkeys(name.rsplit(".", 1)[0] for name in names if re.search(r"\.conv\d$", name)):
        start = net.bottom
        for name in [name for name in names if re.fullmatch(rf"{block}\.conv\d", name)]:
            end = conv_bn(name, name.replace(".conv", ".bn"))
            net.relu(name)
        if f"{block}.downsample.0" in names:
            start = conv_bn(f"{block}.downsample.0", f"{block}.downsample.1", start)
        net.sum(f"{block}.sum", end, start)
        net.relu(block)
    net.mean()
    net.ip("fc", case["w_end:fc"], case["b_end:fc"])
    return net.model()


SMALL = [name for name in cases("greg") if name.startswith("greg") and Case("greg", name).names("small:")]


@pytest.mark.parametrize("name", SMALL)
def test_greg_leaves_its_authors_small_net(name):
    case = Case("greg", name)
    model = (grown_residual if "w_end:conv1" in case else grown_single)(case)
    names = [layer for layer in case.meta["layers_in_order"] if case[f"w_end:{layer}"].ndim == 4]
    makers = dict(zip(names, names if case.hyper["wg"] == "filter" else [None, *names], strict=False))
    gone = {makers[layer]: case[f"pruned:{layer}"].tolist() for layer in names if len(case[f"pruned:{layer}"])}
    small = narrow(model, gone).model
    for key in case.names("small:"):
        layer, part = key.rsplit(".", 1)
        np.testing.assert_array_equal(small.weights[layer][part == "bias"], case[f"small:{key}"], err_msg=key)
    for bn in case.names("small_bn:"):
        found = [*small.weights[bn], *small.weights[f"{bn}.bn"][:2]]
        np.testing.assert_array_equal(np.stack(found), case[f"small_bn:{bn}"])


def random_model(text, seed=0):
    net = parse_text(text, NetParameter)
    made = Net(net, "TEST")
    rng = np.random.default_rng(seed)
    weights = {}
    for name, blobs in made.params.items():
        values = [rng.normal(size=tuple(blob.shape)) for blob in blobs]
        if made.layers[name].param.type == "BatchNorm":
            values = [values[0], np.abs(values[1]) + 0.5, np.ones(1)]
        weights[name] = tuple(values)
    return Model(net, weights)


def layer(name, kind, bottoms, fields=""):
    bottoms = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{name}" {fields} }}\n'


def conv(name, bottom, outputs, kernel=1, more=""):
    settings = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} {more}"
    return layer(name, "Convolution", bottom, f"convolution_param {{ {settings} }}")


DATA = layer("data", "Input", "", "input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } }")
END = layer("end", "InnerProduct", "last", "inner_product_param { num_output: 4 }")
NETS = {
    "chain": conv("a", "data", 6, 3) + conv("last", "a", 5),
    "batch norm and scale": conv("a", "data", 6, 3, "bias_term: false")
    + layer("bn", "BatchNorm", "a")
    + layer("scale", "Scale", "bn", "scale_param { bias_term: true }")
    + layer("prelu", "PReLU", "scale")
    + conv("last", "prelu", 5, 3),
    "residual": conv("stem", "data", 6)
    + conv("a", "stem", 4, 3)
    + conv("b", "a", 6, 3)
    + layer("sum", "Eltwise", "stem b")
    + conv("last", "sum", 5),
    "depthwise": conv("a", "data", 6) + conv("dw", "a", 6, 3, "group: 6") + conv("last", "dw", 5),
    "grouped": conv("a", "data", 6) + conv("g", "a", 8, 3, "group: 2") + conv("last", "g", 5),
    "concatenated": conv("a", "data", 6)
    + conv("b", "data", 4, 3)
    + layer("cat", "Concat", "b a")
    + layer("relu", "ReLU", "cat")
    + conv("last", "relu", 5, 3),
    "sliced": conv("a", "data", 6)
    + 'layer { name: "cut" type: "Slice" bottom: "a" top: "x" top: "y" slice_param { slice_point: 2 } }\n'
    + conv("b", "x", 3)
    + conv("c", "y", 3)
    + layer("last", "Eltwise", "b c"),
    **{
        f"cut {axis}": conv("a", "data", 6)
        + f'layer {{ name: "cut" type: "Slice" bottom: "a" top: "x" top: "y" slice_param {{ {axis} }} }}\n'
        + conv("b", "x", 3, 3)
        + conv("c", "y", 3, 3)
        + layer("last", "Eltwise", "b c")
        for axis in ("", "axis: -3", "axis: -3 slice_point: 4", "slice_dim: 1", "axis: 2", "slice_dim: 2", "axis: -2")
    },
    "flattened": conv("a", "data", 6) + layer("last", "InnerProduct", "a", "inner_product_param { num_output: 5 }"),
    "fully connected": conv("a", "data", 6)
    + layer("f", "InnerProduct", "a", "inner_product_param { num_output: 7 }")
    + layer("last", "InnerProduct", "f", "inner_product_param { num_output: 5 }"),
    "deconvolution": conv("a", "data", 6)
    + layer("d", "Deconvolution", "a", "convolution_param { num_output: 4 kernel_size: 2 stride: 2 }")
    + conv("last", "d", 5),
    "depthwise deconvolution": conv("a", "data", 6)
    + layer("d", "Deconvolution", "a", "convolution_param { num_output: 12 group: 6 kernel_size: 2 stride: 2 }")
    + conv("last", "d", 5),
    "layers of one name": layer("a", "Power", "data", "power_param { scale: 2 }").replace('top: "a"', 'top: "twice"')
    + conv("a", "twice", 6, 3)
    + layer("a", "ReLU", "a")
    + layer("last", "TanH", "a").replace('top: "last"', 'top: "t"')
    + conv("last", "t", 5)
    + layer("end", "ReLU", "last").replace('top: "end"', 'top: "last"'),
    "normalization across": conv("a", "data", 6) + layer("lrn", "LRN", "a") + conv("last", "lrn", 5),
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("remove", [0.34, 0.5])
def test_the_narrower_net_computes_what_the_masked_one_does(kind, remove):
    model = random_model(f'name: "n"\n{DATA}{NETS[kind]}{END}')
    coupled = couple(model)
    removed = select(model, coupled, Selection("l2", remove))
    if kind == "normalization across":
        assert all("a" not in {axis.layer for axis in coupled.channels.classes[n].producers} for n in removed)
        return
    assert removed
    small = narrow_classes(model, coupled, removed).model
    assert not any(each.HasField("convolution_param") and "onvolution" not in each.type for each in small.net.layer)
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 5))
    close(output(small, x), output(cut_off(model, coupled, removed), x), 1e-12)
    assert sum(blob.size for blobs in small.weights.values() for blob in blobs) < sum(
        blob.size for blobs in model.weights.values() for blob in blobs
    )


def test_filters_of_zeros_go_exactly_where_nothing_is_padded():
    text = (
        DATA
        + conv("a", "data", 6, 3)
        + layer("scale", "Scale", "a", "scale_param { bias_term: true }")
        + conv("last", "scale", 5, 1, "bias_term: false")
        + END
    )
    model = random_model(text)
    model.weights["a"][0][[1, 4]] = 0
    coupled = couple(model)
    removed = select(model, coupled, Selection("zeros"))
    small = narrow_classes(model, coupled, removed)
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 5))
    assert small.kept["a"] == [0, 2, 3, 5] and small.constants == ("last",) and not small.inexact
    close(output(small.model, x), output(model, x), 1e-12)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_whole_groups_of_zeros_go_with_their_inputs(kind):
    """What Group Fisher leaves of a grouped layer; other criteria keep all groups, and take equal places of each."""
    grouped = layer("g", kind, "a", "convolution_param { num_output: 9 group: 3 kernel_size: 3 pad: 1 }")
    text = f'name: "n"\n{DATA}{conv("a", "data", 6)}{grouped}{conv("last", "g", 5)}{END}'
    model = random_model(text)
    rows = slice(2, 4) if kind == "Deconvolution" else slice(3, 6)
    for blob, places in (("a", slice(2, 4)), ("g", rows)):
        model.weights[blob][0][places] = 0
    for blob, places in (("a", slice(2, 4)), ("g", slice(3, 6))):
        model.weights[blob][1][places] = 0
    made = prune_filters(model, Selection("zeros"))
    found = {each.name: each for each in made.model.net.layer}
    assert (found["g"].convolution_param.group, found["g"].convolution_param.num_output) == (2, 6)
    assert found["a"].convolution_param.num_output == 4
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 5))
    close(output(made.model, x), output(model, x), 1e-12)
    kept = {name: each.kept for name, each in made.certificate.layers.items()}
    assert kept["a"] == (0, 1, 4, 5)
    again = certify_pruned(model, made.model, kept)
    assert again.layers.keys() == made.certificate.layers.keys()
    assert max(each.weights for each in again.layers.values()) == 0
    fewer = prune_filters(random_model(text), Selection("l2", 0.34)).model
    assert {each.name: each for each in fewer.net.layer}["g"].convolution_param.group == 3


@pytest.mark.parametrize(
    ("kind", "gone", "message"),
    [
        ("chain", {"a": range(6)}, "layer 'a' would lose all its 6 filters; remove fewer"),
        ("chain", {"a": [9]}, "layer 'a' has no filter 9"),
        ("normalization across", {"a": [1]}, "layer 'a': its filters cannot go, for layer 'lrn' \\(LRN\\)"),
    ],
)
def test_what_cannot_go_is_named(kind, gone, message):
    with pytest.raises(RankError, match=message):
        narrow(random_model(f"{DATA}{NETS[kind]}{END}"), gone)


def test_groups_stay_equal_and_what_goes_for_that_is_told(caplog):
    model = random_model(f"{DATA}{NETS['grouped']}{END}")
    assert narrow(model, {"g": [0, 4]}).kept["g"] == [1, 2, 3, 5, 6, 7] and not caplog.text
    assert narrow(model, {"g": [0]}).kept["g"] == [1, 2, 3, 5, 6, 7]
    assert "layer 'g': filters [4] go too, for groups would become unequal without them" in caplog.text


def test_a_certificate_whose_groups_are_unequal_fits_no_net():
    model = random_model(f"{DATA}{NETS['grouped']}{END}")
    weights = {**model.weights, "g": tuple(blob[1:] for blob in model.weights["g"])}
    with pytest.raises(WeightsError, match=r"layer 'g' has blobs of .*; the certificate's filters leave"):
        certify_pruned(model, Model(model.net, weights), {"g": tuple(range(1, 8))})


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection("l3"), "criterion is 'l3'; did you mean 'l1'|'l2'\\? allowed: l1, l2, bn"),
        (Selection("fisher"), "criterion 'fisher' needs data: name the net that has a data layer and a loss"),
        (Selection("l2", 1.0), "remove is 1; wanted 0 or more and less than 1"),
        (Selection("l2", min_filters=0), "min_filters is 0; wanted 1 or more"),
        (Selection("l2", ratios={"stm": 0.5}), "net 'n' has no layer 'stm'; did you mean 'stem'\\?"),
        (Selection("l2", ratios={"stem": 1.5}), "layer 'stem': ratio is 1.5; wanted 0 or more"),
        (Selection("bn"), "criterion 'bn': no Scale follows layer 'stem'"),
        (Selection("l2", ratios={"stem": 0.2, "b": 0.5}, strict=True), "different ratios: stem 0.2, b 0.5"),
    ],
)
def test_a_selection_that_cannot_be_is_named(selection, message):
    model = random_model(f'name: "n"\n{DATA}{NETS["residual"]}{END}')
    with pytest.raises(RankError, match=message):
        select(model, couple(model), selection)


def test_of_different_ratios_the_smallest_counts(caplog):
    model = random_model(f'name: "n"\n{DATA}{NETS["residual"]}{END}')
    coupled = couple(model)
    removed = select(model, coupled, Selection("l2", 0.5, {"stem": 0.2, "b": 0.5}))
    small = narrow_classes(model, coupled, removed)
    assert len(small.kept["stem"]) == 5 and "the smallest counts: stem 0.2, b 0.5" in caplog.text
