"""SFP, ASFP, SRFP and ASRFP: what their authors' and other people's code chooses, schedules and ends with."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver.methods.layers import shortcuts
from caffe_compat.solver.regularizers.soft_pruning import alpha, choose_filters, keep_at
from tests.solver.methods.golden import Case, Given, beside, cases, close, runner_of
from tests.solver.methods.nets import convolution, data, sum_of


def choose(case, folder):
    weight = torch.as_tensor(case["W"])
    chosen = choose_filters(weight, case.hyper["rate_kept"])
    assert chosen.tolist() == (~case["kept"]).tolist()
    masked = weight.masked_fill(chosen.view(-1, *[1] * (weight.dim() - 1)), 0)
    np.testing.assert_array_equal(masked.numpy(), case["masked"])


def counts(case, folder):
    for n, keep, wanted in zip(case["n"], case["rate_kept"], case["zeroed"], strict=True):
        weight = torch.arange(1.0, n + 1).view(-1, 1, 1, 1)
        assert int(choose_filters(weight, float(keep)).sum()) == wanted, (n, keep)


BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3], "resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3],
          "resnet152": [3, 8, 36, 3]}  # fmt: skip


def imagenet_net(name):
    """torchvision's ResNet of one channel a conv, in the order of its parameters: downsample behind a block's convs."""
    deep = name not in ("resnet18", "resnet34")
    layers, bottom, count = [data(1), convolution("0", "data", (1, 1, 3, 3))], "0", 1
    for stage, blocks in enumerate(BLOCKS[name]):
        for block in range(blocks):
            kernels, start = ((1, 3, 1) if deep else (3, 3)), bottom
            for kernel in kernels:
                layers.append(convolution(str(count), bottom, (1, 1, kernel, kernel)))
                bottom, count = str(count), count + 1
            shortcut = start
            if block == 0 and (deep or stage > 0):
                layers.append(convolution(str(count), start, (1, 1, 1, 1)))
                shortcut, count = str(count), count + 1
            top = f"sum{count}"
            layers.append(
                f'layer {{ name: "{top}" type: "Eltwise" bottom: "{bottom}" bottom: "{shortcut}" top: "{top}" }}'
            )
            bottom = top
    return "\n".join([*layers, sum_of(bottom)]), count


def imagenet_mask_index(case, folder):
    """Their positions count conv, gamma, beta, conv, ... so that every third is a convolution."""
    for name, wanted in case.arrays.items():
        text, count = imagenet_net(name)
        left_out = shortcuts(Net(parse_text(text, NetParameter), "TRAIN"))
        assert [3 * number for number in range(count) if str(number) not in left_out] == wanted.tolist(), name


def rate(case, folder):
    epochs, goal = case.hyper["epochs"], case.hyper["goal_pruned"]
    keeps = {
        policy: [keep_at(policy, e, epochs, 1 - goal) for e in range(epochs)] for policy in ("three_points", "exp")
    }
    np.testing.assert_allclose(1 - np.array(keeps["three_points"]), case["exact"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(1 - np.array(keeps["exp"]), case["simple"], rtol=0, atol=1e-12)
    cifar = [keep_at("exp", e, epochs, 1 - goal, end=0.95) for e in range(epochs)]
    np.testing.assert_allclose(cifar, case["keep_cifar"], rtol=0, atol=1e-12)


def schedule(case, folder):
    epochs, keep, first = case.hyper["epochs"], case.hyper["rate_kept"], case.hyper["alpha0"]
    for script, rate_end, alpha_end in (("cifar", 0.95, 0.9), ("imagenet", 0.9, 0.8)):
        for policy, name in (("fixed", "constant"), ("exp", "exp"), ("poly", "poly")):
            found = [keep_at(policy, e, epochs, keep, end=rate_end) for e in range(epochs)]
            np.testing.assert_allclose(found, case[f"{script}:keep:{name}"], rtol=0, atol=1e-12, err_msg=name)
        sigma = case.hyper[script]["sigma"]
        found = [alpha(e, epochs, first, sigma, alpha_end) for e in range(epochs)]
        np.testing.assert_allclose(found, case[f"{script}:alpha"], rtol=0, atol=1e-12, err_msg=script)


def scaled_chain(case):
    """Convolutions, a Scale behind each, and an InnerProduct, as the authors' parameters are named."""
    names, layers, bottom, width = case.names("w0:"), [], "data", 0
    for name in names:
        kind, part = name.rsplit(".", 1)
        shape = case[f"w0:{name}"].shape
        if part == "bias":
            continue
        if kind.startswith("conv"):
            layers += [data(shape[1])] if not layers else []
            layers.append(convolution(kind, bottom, shape, max(1, width // shape[1])))
            bottom, width = kind, shape[0]
        elif kind == "fc":
            layers.append(
                f'layer {{ name: "pool" type: "Pooling" bottom: "{bottom}" top: "pool" '
                "pooling_param { pool: AVE global_pooling: true } }"
            )
            layers.append(
                f'layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" '
                f"inner_product_param {{ num_output: {shape[0]} }} }}"
            )
            bottom = "fc"
        else:
            layers.append(
                f'layer {{ name: "{kind}" type: "Scale" bottom: "{bottom}" top: "{kind}" '
                "scale_param { bias_term: true } }"
            )
            bottom = kind
    return "\n".join([*layers, sum_of(bottom)]), names


def trajectory(case, folder):
    hyper = case.hyper
    net, names = scaled_chain(case)
    rates = hyper.get("lr_per_epoch") or [hyper["lr"]] * hyper["epochs"]
    soft = (
        f"prune_alpha: {hyper['alpha0']} prune_alpha_sigma: {hyper['sigma']} prune_alpha_end: 0.8 prune_rate_end: 0.9 "
        f"prune_bn: {str(hyper['bn_parameters_decayed']).lower()}"
        if "variant" in hyper
        else ""
    )
    each = hyper["iterations_per_epoch"]
    fields = (
        f'type: "Nesterov" base_lr: {rates[0]} momentum: {hyper["momentum"]} weight_decay: {hyper["weight_decay"]} '
        f'prune_method: "{hyper.get("variant", "SFP")}" prune_rate: {1 - hyper["rate_kept"]!r} prune_interval: {each} '
        f"prune_max_iter: {each * hyper['epochs']} epoch_prune: {hyper.get('epoch_prune', 1)} {soft}"
    )
    seen = {}

    def task(name, iteration, weight):
        if iteration == 0:
            seen[name] = weight.numpy().copy()
        return case[f"H:{name}"] * (weight.numpy() - case[f"target:{name}"])

    start = {name: case[f"w0:{name}"] for name in names}
    given = Given(net, fields, names, start, task, folder, double=case.is_double)
    tolerance = 1e-10 if case.is_double else 1e-5
    recorded = json.loads(re.search(r"epochs (\[.*\])", case.meta["arrays"][f"w:{names[0]}"]["meaning"])[1])
    for epoch in range(hyper["epochs"]):
        change(given, rates[epoch], rates[max(0, epoch - 1)])
        given.step(each)
        for name in names:
            if epoch == 0:
                close(seen[name], case[f"start:{name}"], tolerance, f"{name} at the start")
            if epoch in recorded:
                wanted = case[f"w:{name}"][recorded.index(epoch)]
                close(given.weight(name), wanted, tolerance, f"{name} after epoch {epoch}")
            if f"zero:{name}" in case:
                zero = ~given.weight(name).reshape(len(given.weight(name)), -1).any(1)
                assert zero.tolist() == case[f"zero:{name}"][epoch].tolist(), f"{name} after epoch {epoch}"
        if epoch == hyper["epochs"] // 2:
            given.resume()


def change(given, rate, before):
    """A new learning rate as torch.optim.SGD has it: the whole history is rescaled, which Caffe does not do."""
    if rate != before:
        for blob in given.solver.state.history:
            blob *= rate / before
    given.solver.config = dataclasses.replace(given.solver.config, base_lr=rate)


SFP = {"choose": choose, "counts": counts, "imagenet_mask_index": imagenet_mask_index, "trajectory": trajectory}
SRFP = {"schedule": schedule, "trajectory": trajectory}
ASFP = {"rate": rate}
OTHER = ("small_block",)  # in tests/prune


@pytest.mark.parametrize("name", [name for name in cases("sfp") if not name.startswith(OTHER)])
def test_sfp_is_its_authors(name, tmp_path):
    runner_of(SFP, name)(Case("sfp", name), tmp_path)


@pytest.mark.parametrize("name", cases("srfp"))
def test_srfp_is_its_authors(name, tmp_path):
    runner_of(SRFP, name)(Case("srfp", name), tmp_path)


@pytest.mark.parametrize("name", cases("asfp"))
def test_asfp_has_the_three_points(name, tmp_path):
    runner_of(ASFP, name)(Case("asfp", name), tmp_path)


def make(fields, extra="", folder="/tmp"):
    net, names = beside({"a": (10, 2, 3, 3)}, {"a": extra})
    start = {"a": np.random.default_rng(0).normal(size=(10, 2, 3, 3))}
    task = {"a": np.random.default_rng(1).normal(size=(10, 2, 3, 3))}
    return Given(net, f"base_lr: 0.1 {fields}", names, start, lambda name, t, w: task[name], folder, False)


def zeros(given):
    return int((~given.weight("a").reshape(10, -1).any(1)).sum())


def test_the_last_prune_points_zeros_stay_when_training_goes_on():
    given = make('prune_method: "ASFP" prune_rate: 0.5 prune_interval: 2 prune_max_iter: 8')
    given.step(8)
    assert zeros(given) == 5
    given.resume()
    given.step(3)
    assert zeros(given) == 5


def test_filters_grow_back_between_prune_points():
    given = make('prune_method: "SFP" prune_rate: 0.5 prune_interval: 4 prune_max_iter: 40')
    given.step(4)
    assert zeros(given) == 5
    given.step(1)
    assert zeros(given) == 0


def test_a_layer_has_a_ratio_of_its_own_or_is_left_out():
    fields = 'prune_method: "SFP" prune_rate: 0.5 prune_interval: 1 prune_max_iter: 1'
    own = make(fields, "prune_param { prune_ratio: 0.3 }")
    own.step(1)
    assert zeros(own) == 3
    with pytest.raises(SolverError, match="no convolution of net '' has filters to lose"):
        make(fields, "prune_param { prune_mult: 0 }")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('prune_method: "SFT"', "prune_method is 'SFT'; did you mean 'SFP'"),
        ('prune_method: "SFP" prune_rate: 1 prune_interval: 1', "prune_rate is 1; wanted 0 or more and less than 1"),
        ('prune_method: "SFP" prune_rate: -0.5 prune_interval: 1', "prune_rate is -0.5; wanted 0 or more"),
        ('prune_method: "SFP" prune_rate: 0.5', "prune_interval is 0; wanted 1 or more"),
        (
            'prune_method: "SFP" prune_rate: 0.5 prune_interval: 3 max_iter: 10',
            "max_iter is 10; wanted a multiple of prune_interval, 3",
        ),
        (
            'prune_method: "SFP" prune_rate: 0.5 prune_interval: 5 max_iter: 10 prune_rate_policy: "cubic"',
            "prune_rate_policy is 'cubic'; allowed: fixed, exp, poly, three_points",
        ),
        (
            'prune_method: "SFP" prune_rate: 0.5 prune_interval: 5 max_iter: 10 growing_reg: "GReg-1"',
            "layer 'a': GReg-1 and SFP contradict one another on its weights; keep one of them",
        ),
    ],
)
def test_what_cannot_be_is_named(fields, message):
    with pytest.raises(SolverError, match=message):
        make(fields, "prune_param { prune_ratio: 0.5 }" if "growing" in fields else "")


def test_masks_of_another_net_do_not_fit(tmp_path):
    given = make('prune_method: "SFP" prune_rate: 0.5 prune_interval: 1 prune_max_iter: 2', folder=tmp_path)
    given.step(2)
    path = given.solver.snapshot()
    method = given.solver._shaping.methods[0]
    layer, keep = method._layers[0]
    method._layers = [(dataclasses.replace(layer, tensor=layer.tensor[:4]), keep)]
    with pytest.raises(SolverError, match="state of 'SFP' does not fit this run: it has masks of \\[10\\] filters"):
        given.solver.restore(path)
