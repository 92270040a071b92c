"""Implicit filter sparsity: what is counted, and the first author's prune_and_fuse on a small SelecSLS net."""

import numpy as np
import pytest

from caffe_compat.prune.sparsity import (
    active_by_activation,
    active_by_scale,
    measure_sparsity,
    pooled,
    prune_and_fuse,
    universality,
)
from tests.prune.building import Building, output
from tests.solver.methods.golden import Case, cases, close

STRIDES = {"stem": 2, "features.0.conv1": 2}


def selecsls(case):
    """Six convolutions a block read one another by concatenation; the second block reads the first one's output too."""
    net = Building(case["x"].shape)

    def conv(name, bottom=None):
        net.conv(name, case[f"param.{name}.0.weight"], None, STRIDES.get(name, 1), bottom)
        net.bn(f"{name}.scale", *(case[f"param.{name}.1.{part}"] for part in ("weight", "bias")), *statistics(name))
        net.relu(name)
        return net.bottom

    def statistics(name):
        return [case[f"buffer.{name}.1.running_{part}"] for part in ("mean", "var")]

    conv("stem")
    skip = None
    blocks = sorted({key.split(".conv")[0] for key in case.names("param.") if ".conv" in key})
    for block in blocks:
        parts = [first := conv(f"{block}.conv1")]
        parts.append(second := conv(f"{block}.conv3", conv(f"{block}.conv2", first)))
        parts.append(conv(f"{block}.conv5", conv(f"{block}.conv4", second)))
        net.add(f"{block}.cat", "Concat", bottoms=[*parts, *([skip] if skip else [])])
        out = conv(f"{block}.conv6")
        skip = skip or out
    for head in sorted({key.split(".")[1] for key in case.names("param.") if key.startswith("head")}):
        conv(f"head.{head}")
    net.mean()
    net.ip("classifier", case["param.classifier.0.weight"], case["param.classifier.0.bias"])
    return net.model()


@pytest.mark.parametrize("name", cases("implicit_sparsity"))
def test_it_is_its_authors(name):
    case = Case("implicit_sparsity", name)
    model = selecsls(case)
    close(output(model, case["x"]), case["y"], 1e-6)
    for layer in case.names("pooled."):
        largest = pooled(output(model, case["x"], f"{layer}.relu"))
        close(largest, case[f"pooled.{layer}"], 1e-6, layer)
        recorded = case[f"pooled.{layer}"]
        assert active_by_activation(recorded).tolist() == case[f"active_by_activation.{layer}"].tolist(), layer
        np.testing.assert_allclose(universality(recorded), case[f"universality.{layer}"], err_msg=layer)
        gamma = case[f"param.{layer}.1.weight"]
        assert active_by_scale(gamma).tolist() == case[f"active_by_scale.{layer}"].tolist(), layer
    small = prune_and_fuse(model, case.hyper["gamma_thresh"])
    close(output(small, case["x"]), case["y_small"], 1e-6)
    heads = {"head.0": "head.0", "head.2": "head.1"}  # a ReLU between counts there
    for key in case.names("small."):
        parent, part = key.rsplit(".", 1)
        layer = heads.get(parent, parent.removesuffix(".0"))
        close(small.weights[layer][part == "bias"].reshape(case[f"small.{key}"].shape), case[f"small.{key}"], 1e-6, key)


def test_layers_are_measured_with_and_without_data():
    case = Case("implicit_sparsity", cases("implicit_sparsity")[0])
    model = selecsls(case)
    alone = measure_sparsity(model)
    assert alone["stem"].by_scale == int((~case["active_by_scale.stem"]).sum()) and alone["stem"].by_activation is None
    both = measure_sparsity(model, [{"data": case["x"][:2]}, {"data": case["x"][2:]}])
    assert both["stem"].by_activation == int((~case["active_by_activation.stem"]).sum())
    np.testing.assert_allclose(both["stem"].universality, case["universality.stem"])
