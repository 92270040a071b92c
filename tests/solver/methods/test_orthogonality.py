"""OrthoReg and OCNN: their authors' values, gradients and trajectories, through a Solver."""

import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from caffe_compat.errors import SolverError
from caffe_compat.solver.methods.method import Step
from caffe_compat.solver.regularizers.ocnn import (
    column_orthogonality,
    conv_orthogonality,
    matrix_orthogonality,
)
from caffe_compat.solver.regularizers.ortho import orthogonality
from tests.solver.methods.golden import Case, Given, beside, cases, close, runner_of
from tests.solver.methods.nets import chain, residual

ACTS = "param { ortho_mult: 1 }"
ORTHO_NETS = {"vgg": (chain, f"{ACTS} ortho_bias: true"), "mobilenet": (chain, ACTS), "resnet": (residual, ACTS)}


def net_of(case, prefix):
    """(rule, prototxt, names of the parameters) of an OrthoReg case."""
    rule = re.search("vgg|mobilenet|resnet", case.name)[0]
    build, extra = ORTHO_NETS[rule]
    return rule, *build({name: case[prefix + name].shape for name in case.names(prefix)}, extra)


def added(solver, weights):
    """What the methods of a solver add to gradients of zero, by name of the parameter."""
    gradients = [torch.zeros_like(weight) for weight in weights]
    solver._shaping.regularize(Step(0, weights, []), gradients)
    return gradients


def check_gradients(given, case, value, tolerance):
    weights = [given.params[name].detach() for name in given.names]
    close(sum(given.solver.penalties.values()), value, tolerance, "penalty")
    for name, gradient in zip(given.names, added(given.solver, weights), strict=True):
        if f"g:{name}" in case:
            close(gradient, case[f"g:{name}"], tolerance, name)
        else:
            assert not gradient.any(), name


def ortho_penalty(case, folder):
    rule, net, names = net_of(case, "w:")
    start = {name: case[f"w:{name}"] for name in names}
    fields = f'base_lr: 1 ortho_decay: {case.hyper["lambda"]} ortho_rule: "{rule}"'
    given = Given(net, fields, names, start, None, folder, double=case.is_double)
    check_gradients(given, case, case["loss"], 1e-11 if case.is_double else 5e-6)


def ortho_trajectory(case, folder):
    rule, net, names = net_of(case, "w0:")
    start = {name: case[f"w0:{name}"] for name in names}
    hyper = case.hyper
    fields = (
        f"base_lr: {hyper['lr']} momentum: {hyper['momentum']} weight_decay: {hyper['weight_decay']} "
        f'ortho_decay: {hyper["lambda"]} ortho_rule: "{rule}"'
    )
    given = Given(net, fields, names, start, lambda name, t, w: case[f"task:{name}"], folder, case.is_double)
    tolerance = 1e-9 if case.is_double else 1e-5
    losses = []
    told = case.meta["arrays"][f"w:{names[0]}"]["meaning"]
    recorded = [int(step) for step in re.findall(r"after step (\d+)", told)]
    assert len(recorded) == len(case[f"w:{names[0]}"])
    for done in range(1, hyper["steps"] + 1):
        task = sum(float((case[f"task:{name}"] * given.weight(name)).sum()) for name in names)
        losses.append(given.solver.penalties["OrthoReg"] + task)
        given.step()
        if done in recorded:
            for name in names:
                close(given.weight(name), case[f"w:{name}"][recorded.index(done)], tolerance, f"{name} after {done}")
        if done == hyper["steps"] // 2:
            given.resume()
    close(losses, case["loss"], tolerance)


def ortho_metric(case, folder):
    weights = [name for name in case.names("w:") if name.endswith("weight")]
    rule = re.search("vgg|mobilenet|resnet", case.name)[0]
    for place, (name, wanted) in enumerate(zip(weights, case["ratio"], strict=True)):
        filters = torch.as_tensor(case[f"w:{name}"]).flatten(1)
        bias = name.replace("weight", "bias")
        if rule == "vgg":
            filters = torch.cat([filters, torch.as_tensor(case[f"w:{bias}"])[:, None]], 1)
        smaller = "rows" if len(filters) <= filters.shape[1] else "columns"
        side = {"vgg": "rows", "mobilenet": "columns", "resnet": smaller}[rule] if place else "columns"
        close(orthogonality(filters, side), wanted, 1e-12, name)


def conv_case(case, folder):
    tolerance = 1e-11 if case.is_double else 5e-6
    stride, padding = case.hyper["stride"], case.hyper["padding"]
    weight = torch.as_tensor(case["W"])
    value, gradient = conv_orthogonality(weight, (stride, stride), (padding, padding))
    close(value, case["loss"], tolerance)
    close(gradient, case["grad"], tolerance)
    name = "paper" if padding == (weight.shape[2] - 1) // stride * stride else "code"
    value, gradient = conv_orthogonality(weight, (stride, stride), name)
    close(value, case["loss"], tolerance, name)
    close(gradient, case["grad"], tolerance, name)


def derived_case(case, folder):
    value, gradient = conv_orthogonality(
        torch.as_tensor(case["W"]), tuple(case.hyper["stride"]), "paper", case.hyper["groups"]
    )
    close(value, case["loss"], 1e-12)
    close(gradient, case["grad"], 1e-7)  # theirs by central differences


def matrix_case(case, folder):
    value, gradient = matrix_orthogonality(torch.as_tensor(case["W"]))
    close(value, case["loss"], 1e-11 if case.is_double else 5e-6)
    close(gradient, case["grad"], 1e-11 if case.is_double else 5e-6)


def column_case(case, folder):
    value, gradient = column_orthogonality(torch.as_tensor(case["W"]), case.hyper["stride"])
    close(value, case["loss"], 1e-11 if case.is_double else 5e-6)
    close(gradient, case["grad"], 1e-11 if case.is_double else 5e-6)


def ocnn_net(case, folder):
    names = case.names("w:")
    shapes = {name: case[f"w:{name}"].shape for name in names}
    stride = {name: 2 for name in names if re.match(r"layer[234]\.0\.conv[12]\.", name) and shapes[name][2] > 1}
    net, names = beside(shapes, {name: ACTS for name in case.hyper["penalised"]}, stride=stride)
    fields = 'base_lr: 1 ortho_type: "OCNN" ortho_decay: 1 ortho_padding: "code"'
    start = {name: case[f"w:{name}"] for name in names}
    given = Given(net, fields, names, start, None, folder, double=case.is_double)
    check_gradients(given, case, case["diff"], 1e-11 if case.is_double else 5e-6)


def ocnn_trajectory(case, folder):
    layers, hyper = case.hyper["layers"], case.hyper
    shapes = {str(number): tuple(layer["shape"]) for number, layer in enumerate(layers)}
    stride = {str(number): layer["stride"] for number, layer in enumerate(layers)}
    net, names = beside(shapes, {name: ACTS for name in shapes}, stride=stride)
    fields = (
        f"base_lr: {hyper['lr']} momentum: {hyper['momentum']} weight_decay: {hyper['weight_decay']} "
        f'ortho_type: "OCNN" ortho_decay: {hyper["r"]} ortho_padding: "{case.name.split("_")[1]}"'
    )
    start = {name: case[f"w0_{name}"] for name in names}
    given = Given(net, fields, names, start, lambda name, t, w: case[f"task_grad_{name}"][t], folder, case.is_double)
    tolerance = 1e-10 if case.is_double else 2e-5
    for done in range(hyper["steps"]):
        close(given.solver.penalties["OCNN"] / hyper["r"], case["diff"][done], tolerance)
        given.step()
        for name in names:
            close(given.weight(name), case[f"w_{name}"][done], tolerance, f"{name} after {done + 1}")
        if done == hyper["steps"] // 2:
            given.resume()


ONE = torch.ones((), dtype=torch.float64)


def pairs(count):
    """The places of an identity of `count` rows."""
    return torch.arange(count), torch.arange(count)


ORTHO = {"penalty": ortho_penalty, "trajectory": ortho_trajectory, "metric": ortho_metric}
OCNN = {
    "column": column_case, "conv": conv_case, "derived": derived_case, "matrix": matrix_case, "net": ocnn_net,
    "trajectory": ocnn_trajectory,
}  # fmt: skip
OTHER = ("importance", "prune", "rounds")  # of OrthoReg, in tests/prune


@pytest.mark.parametrize("shape", [(6, 4, 3, 2), (4, 7, 1, 3), (3, 2, 5, 5), (8, 3, 2, 4)])
def test_at_stride_1_all_shifts_are_those_of_a_convolution_with_itself(shape):
    """conv2d of W with itself, differentiated by torch."""
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    pad = (shape[2] - 1, shape[3] - 1)
    off = F.conv2d(weight, weight, padding=pad)
    norm = (off - torch.zeros_like(off).index_put_((*pairs(shape[0]), *map(torch.tensor, pad)), ONE)).norm()
    norm.backward()
    value, gradient = conv_orthogonality(weight.detach())
    torch.testing.assert_close(value, norm.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, weight.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in cases("orthoreg") if not name.startswith(OTHER)])
def test_orthoreg_is_its_authors(name, tmp_path):
    case = Case("orthoreg", name)
    runner_of(ORTHO, name)(case, tmp_path)


@pytest.mark.parametrize("name", cases("ocnn"))
def test_ocnn_is_its_authors(name, tmp_path):
    case = Case("ocnn", name)
    runner_of(OCNN, name)(case, tmp_path)


def make(fields, extra="", rows=4):
    shapes = {"a.weight": (rows, 3, 3, 3), "a.bias": (rows,), "b.weight": (2, rows, 1, 1), "b.bias": (2,)}
    net, names = chain(shapes, extra)
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return Given(net, f"base_lr: 0.1 {fields}", names, start, lambda name, t, w: np.zeros(w.shape), "/tmp", False)


def test_the_penalty_falls_when_only_it_acts():
    given = make("ortho_decay: 0.1", ACTS)
    before = given.solver.penalties["OrthoReg"]
    given.step(50)
    assert given.solver.penalties["OrthoReg"] < 0.7 * before


def test_without_ortho_decay_there_is_no_method():
    assert not make("", ACTS).solver._shaping


@pytest.mark.parametrize(
    ("fields", "extra", "message"),
    [
        ('ortho_decay: 1 ortho_type: "OCN"', ACTS, "ortho_type is 'OCN'; did you mean 'OCNN'\\? allowed: OrthoReg,"),
        ('ortho_decay: 1 ortho_rule: "vg"', ACTS, "ortho_rule is 'vg'; did you mean 'vgg'"),
        ('ortho_decay: 1 ortho_padding: "same"', ACTS, "ortho_padding is 'same'; allowed: paper, code"),
        ("ortho_decay: nan", ACTS, "ortho_decay is nan; wanted a finite number"),
        ("ortho_decay: 1", "", "ortho_decay acts where ortho_mult is not 0, but net '' sets none; add ortho_mult: 1"),
        ("ortho_decay: 1", 'param { ortho_mult: 1 ortho_side: "left" }', "ortho_side is 'left'; allowed: auto, rows"),
        ("ortho_decay: 1", "param { } param { ortho_mult: 1 }", "layer 'a': ortho_mult is 1, but blob 1 is no filter"),
        (
            "ortho_decay: 1 force_decay: 0.1", "param { ortho_mult: 1 force_mult: 1 }",
            "layer 'a': the force \\(force_mult\\) and OrthoReg contradict one another on its weights; keep one",
        ),
        (
            'ortho_decay: 1 ortho_type: "OCNN" spectral_decay: 0.1', "param { ortho_mult: 1 force_mult: 1 }",
            "layer 'a': spectral_decay and OCNN contradict one another",
        ),
        (
            'ortho_decay: 1 growing_reg: "GReg-1"', "param { ortho_mult: 1 } prune_param { prune_ratio: 0.5 }",
            "layer 'a': OrthoReg and GReg-1 contradict one another",
        ),
        (
            'force_decay: 1 prune_method: "SFP" prune_rate: 0.5 prune_interval: 1 max_iter: 1',
            "param { force_mult: 1 }",
            "layer 'a': the force \\(force_mult\\) and SFP contradict one another",
        ),
        (
            'ortho_decay: 1 ortho_type: "OCNN"', 'param { ortho_mult: 1 ortho_side: "columns" }',
            "layer 'b': ortho_side is 'columns', which OCNN has for square kernels larger than their stride",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(fields, extra, message):
    with pytest.raises(SolverError, match=message):
        make(fields, extra)


def test_discrimination_and_orthogonality_go_together():
    assert make("ortho_decay: 1 force_decay: -0.1", "param { ortho_mult: 1 force_mult: 1 }").solver._shaping
