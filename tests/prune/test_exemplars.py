"""EPruner: the exemplars that its authors' code with scikit-learn 0.20.1 finds, and the nets that it leaves."""

import re

import numpy as np
import pytest

from caffe_compat.errors import RankError
from caffe_compat.prune.exemplars import find_exemplars, medians, similarities
from caffe_compat.prune.narrow import couple, narrow, narrow_classes
from caffe_compat.prune.reset import reset_normalization
from caffe_compat.prune.selection import Selection, select
from tests.prune.building import Building, output
from tests.solver.methods.golden import Case, cases, close, runner_of


def cluster(case):
    for beta in case.hyper["betas"]:
        found = find_exemplars(case["W"], beta)
        assert list(found.kept) == case[f"exemplars:{beta}"].tolist(), beta
        assert list(found.labels) == case[f"labels:{beta}"].tolist(), beta
    if "median" in case:
        np.testing.assert_allclose(medians(similarities(case["W"])), case["median"], rtol=1e-6)


def residual(case):
    """Their shortcut is every second place and zeros for new channels: here a fixed 1 x 1 convolution."""
    p = {name: case[f"p:{name}"] for name in case.names("p:")}
    net = Building(case["x"].shape)
    net.conv("conv1", p["conv1.weight"])
    net.bn("bn1", *normalization(p, "bn1"))
    net.relu("stem")
    width = len(p["conv1.weight"])
    for block in dict.fromkeys(re.match(r"layer\d+\.\d+", name)[0] for name in p if name.startswith("layer")):
        start, stride = net.bottom, 2 if len(p[f"{block}.conv1.weight"]) != width else 1
        net.conv(f"{block}.conv1", p[f"{block}.conv1.weight"], stride=stride)
        net.bn(f"{block}.bn1", *normalization(p, f"{block}.bn1"))
        net.relu(f"{block}.1")
        net.conv(f"{block}.conv2", p[f"{block}.conv2.weight"])
        end = net.bn(f"{block}.bn2", *normalization(p, f"{block}.bn2"))
        if stride == 2:
            start = net.conv(f"{block}.shortcut", padded(width, len(p[f"{block}.conv1.weight"])), None, 2, start)
            width = len(p[f"{block}.conv1.weight"])
        net.sum(f"{block}.sum", end, start)
        net.relu(block)
    net.mean()
    net.ip("fc", p["fc.weight"], p["fc.bias"])
    return net.model()


def padded(before, after):
    weight = np.zeros((after, before, 1, 1))
    first = (after - before) // 2
    weight[first + np.arange(before), np.arange(before)] = 1
    return weight


def normalization(p, name):
    return [p[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def rewrite_resnet(case):
    model = residual(case)
    close(output(model, case["x"]), case["y_big"], 1e-5)
    coupled = couple(model)
    removed = select(model, coupled, Selection("eprune", beta=case.hyper["preference_beta"]))
    small = narrow_classes(model, coupled, removed, fold=False)
    blocks = case.names("kept:")
    for block in blocks:
        assert small.kept[f"{block}.conv1"] == case[f"kept:{block}"].tolist(), block
    assert [len(small.kept[f"{block}.conv1"]) for block in blocks] == case["cfg"].tolist()
    reset = reset_normalization(small.model, small.kept)
    for block in blocks:
        for part in ("conv1", "conv2"):
            np.testing.assert_array_equal(reset.weights[f"{block}.{part}"][0], case[f"q:{block}.{part}.weight"])
        statistics = [*reset.weights[f"{block}.bn1"], *reset.weights[f"{block}.bn1.bn"][:2]]
        for found, wanted in zip(statistics, normalization_of(case, f"q:{block}.bn1"), strict=True):
            np.testing.assert_array_equal(found, wanted)
    close(output(reset, case["x"]), case["y_small"], 1e-5)


def normalization_of(case, name):
    return [case[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def rewrite_vgg(case):
    count = len(case["cfg"])
    net = Building((1, case["W_0"].shape[1], 4, 4))
    for number in range(count):
        net.conv(str(number), case[f"W_{number}"])
    net.ip("classifier", np.zeros((2, 16 * len(case[f"W_{count - 1}"]))), np.zeros(2))
    gone = {}
    for number in range(count):
        beta = case.hyper["preference_beta"] if number < 8 else case.hyper["beta_from_conv_index_8_on"]
        kept = find_exemplars(case[f"W_{number}"], beta).kept
        assert list(kept) == case[f"kept_{number}"].tolist(), number
        gone[str(number)] = [k for k in range(len(case[f"W_{number}"])) if k not in kept]
    small = narrow(net.model(), gone)
    assert [len(small.kept[str(number)]) for number in range(count)] == case["cfg"].tolist()
    for number in range(count):
        np.testing.assert_array_equal(small.model.weights[str(number)][0], case[f"V_{number}"])


RUNNERS = {"cluster": cluster, "real": cluster, "rewrite_resnet": rewrite_resnet, "rewrite_vgg": rewrite_vgg}


@pytest.mark.parametrize("name", cases("eprune"))
def test_eprune_is_its_authors(name):
    runner_of(RUNNERS, name)(Case("eprune", name))


def test_a_larger_preference_leaves_fewer_filters():
    weight = np.random.default_rng(0).normal(size=(32, 3, 3, 3))
    counts = [len(find_exemplars(weight, beta).kept) for beta in (0.5, 1, 3)]
    assert counts[0] >= counts[1] >= counts[2] >= 1


def test_one_filter_stands_for_itself():
    assert find_exemplars(np.ones((1, 2))).kept == (0,)


def test_equal_filters_have_no_exemplar_but_one_or_are_refused():
    try:
        assert len(find_exemplars(np.ones((4, 3))).kept) >= 1
    except RankError as error:
        assert "no exemplar among 4 filters" in str(error)


@pytest.mark.parametrize("seed", range(4))
def test_equal_filters_are_told_apart_as_scikit_learn_does(seed):
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(24, 3, 3, 3))
    weight[5], weight[11:15] = weight[4], 0
    for beta in (0.5, 0.73, 0.92):
        flat = weight.reshape(24, -1)
        preference = beta * medians(similarities(weight))
        found = cluster.AffinityPropagation(preference=preference, random_state=0).fit(flat)
        assert list(find_exemplars(weight, beta).kept) == sorted(found.cluster_centers_indices_.tolist()), beta
