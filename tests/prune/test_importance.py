"""OrthoReg's importance, its order and its rounds, and the nets that its authors' pruner leaves."""

import re

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, RankError
from caffe_compat.net.net import Net
from caffe_compat.prune.importance import (
    FIXED,
    choose_least,
    filter_norms,
    fisher,
    mean_gradients,
    protected,
    round_ratios,
)
from caffe_compat.prune.masks import silence
from caffe_compat.prune.narrow import narrow
from tests.prune.building import Building, output
from tests.solver.methods.golden import Case, cases, close, runner_of


def blocks_of(case):
    """(names of a conv, of its normalization) in order: conv (bias) ReLU BN of the vgg branch, conv BN ReLU else."""
    convs = [name for name in case.names("p:") if case[f"p:{name}"].ndim == 4]
    numbers = [int(re.search(r"\d+", name)[0]) for name in convs]
    step = 2 if case.hyper["arch_branch"] == "vgg" else 1
    return [(f"features.{number}", f"features.{number + step}") for number in numbers]


def small_net(case):
    net = Building(case["x0"].shape)
    for conv, bn in blocks_of(case):
        bias = case.arrays.get(f"p:{conv}.bias")
        net.conv(conv, case[f"p:{conv}.weight"], bias)
        values = [
            case[f"p:{bn}.weight"],
            case[f"p:{bn}.bias"],
            case[f"b:{bn}.running_mean"],
            case[f"b:{bn}.running_var"],
        ]
        if case.hyper["arch_branch"] == "vgg":
            net.relu(conv)
            net.bn(bn, *values)
        else:
            net.bn(bn, *values)
            net.relu(conv)
    net.mean()
    last = "classifier" if "p:classifier.weight" in case else "linear"
    net.ip(last, case[f"p:{last}.weight"], case[f"p:{last}.bias"])
    dims = f"shape {{ dim: {len(case['y0'])} }}"
    net.text.append(f'layer {{ name: "label" type: "Input" top: "label" input_param {{ {dims} }} }}')
    net.add("loss", "SoftmaxWithLoss", bottoms=[last, "label"])
    return net.model()


def importance(case):
    model = small_net(case)
    net = Net(model.net, "TEST").double()
    net.load_weights(model.weights)
    batches = [{"data": case[f"x{k}"], "label": case[f"y{k}"]} for k in range(len(case.hyper["batch_sizes"]))]
    gradients, used = mean_gradients(net, batches, case.hyper["num_stop"])
    assert used == case["samples_used"]
    for number, (conv, bn) in enumerate(blocks_of(case)):
        blobs = net.params[conv]
        own = [gradients[conv, place] for place in range(len(blobs))]
        close(own[0].reshape(len(own[0]), -1), case[f"g:{conv}.weight"], 1e-10, conv)
        scores = {
            "fisher": fisher(blobs, own),
            "tfo": fisher([net.params[bn][0]], [gradients[bn, 0]]),
            "l1": filter_norms(case[f"p:{conv}.weight"], 1),
            "sfp": filter_norms(case[f"p:{conv}.weight"], 2),
        }
        gamma = np.abs(case[f"p:{bn}.weight"])
        scores["bn"] = gamma / (blobs[0][0].numel() if case.hyper["arch_branch"] == "vgg" else 1)
        for kind, found in scores.items():
            close(found, case[f"imp:{kind}:{number}"], 1e-10, f"{kind} of {conv}")


def rounds(case):
    found = round_ratios(case.hyper["prune_percent"] / 100, case.hyper["n_rounds"])
    np.testing.assert_allclose(found, case["ratios"], rtol=1e-15)
    left = 1.0
    for ratio in found:
        left *= 1 - ratio
    assert left == pytest.approx(1 - case.hyper["prune_percent"] / 100)


def vgg(case):
    """Protected filters are the last ones by index of the original net's layer, or of this one where it is shorter."""
    sizes, originals = case["sizes"], case["original_sizes"]
    scores = np.split(case["importance"].astype(float), np.cumsum(sizes)[:-1])
    starts = np.cumsum([0, *sizes[:-1]])
    flat = np.concatenate(scores)
    flat[case["protected"]] = FIXED
    marked = [
        starts[k] + n - protected(originals[k]) + i for k, n in enumerate(sizes) for i in range(protected(originals[k]))
    ]
    assert sorted(set(case["protected"].tolist())) == sorted(
        {max(0, place) for place in marked} & set(range(len(flat)))
    )
    parts = dict(zip(map(str, range(len(sizes))), np.split(flat, starts[1:]), strict=True))
    kept = choose_least(parts, float(case["ratio"]), keep=0)
    for number in range(len(sizes)):
        assert kept[str(number)] == case[f"kept_{number}"].tolist(), number
        assert sizes[number] - len(kept[str(number)]) == case["n_pruned"][number]
    model, convs = vgg_net(case)
    close(output(model, case["x"]), case["y_big"], 1e-10)
    gone = {
        conv: sorted(set(range(n)) - set(kept[str(k)])) for k, (conv, n) in enumerate(zip(convs, sizes, strict=True))
    }
    small = narrow(model, gone, fold=False).model
    close(output(small, case["x"]), case["y_small"], 1e-10)
    for conv in convs:
        assert list(small.weights[conv][0].shape) == case[f"q:{conv}.weight"].tolist()


def vgg_net(case):
    net = Building(case["x"].shape)
    convs = [name.removesuffix(".weight") for name in case.names("p:") if case[f"p:{name}"].ndim == 4]
    numbers = [int(name.split(".")[1]) for name in convs]
    for number, conv in zip(numbers, convs, strict=True):
        net.conv(conv, case[f"p:{conv}.weight"], case[f"p:{conv}.bias"])
        net.relu(conv)
        bn = f"features.{number + 2}"
        net.bn(bn, *(case[f"p:{bn}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")))
        if number + 3 not in numbers:
            net.pool(f"pool{number}")
    net.ip("classifier", case["p:classifier.weight"], case["p:classifier.bias"])
    return net.model(), convs


def resnet(case):
    p = {name: case[f"p:{name}"] for name in case.names("p:")}
    net, convs = Building(case["x"].shape), []

    def conv_bn(conv, bn, stride=1, bottom=None):
        net.conv(conv, p[f"{conv}.weight"], None, stride, bottom)
        convs.append(conv)
        return net.bn(bn, *(p[f"{bn}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")))

    conv_bn("conv1", "bn1")
    net.relu("stem")
    for block in dict.fromkeys(re.match(r"layer\d+\.\d+", name)[0] for name in p if name.startswith("layer")):
        start, stride = net.bottom, 2 if re.match(r"layer[234]\.0$", block) else 1
        conv_bn(f"{block}.conv1", f"{block}.bn1", stride)
        net.relu(f"{block}.1")
        end = conv_bn(f"{block}.conv2", f"{block}.bn2")
        if f"{block}.shortcut.0.weight" in p:
            start = conv_bn(f"{block}.shortcut.0", f"{block}.shortcut.1", stride, start)
        net.sum(f"{block}.sum", end, start)
        net.relu(block)
    net.mean()
    last = next(name.removesuffix(".weight") for name in p if name.endswith("weight") and p[name].ndim == 2)
    net.ip(last, p[f"{last}.weight"], p[f"{last}.bias"])
    return net.model(), convs


def prune_resnet(case):
    """conv1 of a block is cut, conv2 and the shortcut keep their width with zeros behind their normalization."""
    model, convs = resnet(case)
    close(output(model, case["x"]), case["y_big"], 1e-10)
    parts = np.split(case["importance"].astype(float), np.cumsum(case["sizes"])[:-1])
    kept = choose_least(dict(zip(convs, parts, strict=True)), case.hyper["ratio"])
    gone = {}
    for number, conv in enumerate(convs):
        assert kept[conv] == case[f"kept_{number}"].tolist(), conv
        gone[conv] = sorted(set(range(case["sizes"][number])) - set(kept[conv]))
    inner = {conv: filters for conv, filters in gone.items() if conv.endswith(".conv1") and filters}
    masked = silence(model, {conv: filters for conv, filters in gone.items() if conv not in inner})
    close(output(narrow(masked, inner, fold=False).model, case["x"]), case["y_small"], 1e-10)


RUNNERS = {"importance": importance, "rounds": rounds, "prune_vgg": vgg, "prune_resnet": prune_resnet}
ELSEWHERE = ("penalty", "trajectory", "metric")  # in tests/solver/methods


@pytest.mark.parametrize("name", [name for name in cases("orthoreg") if not name.startswith(ELSEWHERE)])
def test_orthoreg_is_its_authors(name):
    runner_of(RUNNERS, name)(Case("orthoreg", name))


def test_importance_by_gradients_needs_data():
    case = Case("orthoreg", next(name for name in cases("orthoreg") if name.startswith("importance")))
    net = Net(small_net(case).net, "TEST")
    with pytest.raises(DataError, match="importance by gradients needs data, and there is none"):
        mean_gradients(net, [])


@pytest.mark.parametrize("share", [1, -0.1, 1.5])
def test_no_share_removes_all(share):
    with pytest.raises(RankError, match=f"remove is {share:g}; wanted 0 or more and less than 1"):
        choose_least({"a": torch.ones(3).numpy()}, share)


def test_a_layer_keeps_its_best_filter():
    assert choose_least({"a": np.array([1.0, 2.0]), "b": np.array([5.0, 6.0])}, 0.5)["a"] == [1]
