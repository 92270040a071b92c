"""The sparse group lasso with variable splitting: its authors' layers, and LeNets trained through a Solver."""

import dataclasses

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.sparse_group import (
    GroupTerm,
    prox,
    sparse_group,
    sparse_group_penalty,
    sparse_shares,
)
from tests.solver.methods.golden import Case, Given, beside, cases, close, runner_of

NAMES = {"l0": "l0", "l1": "l1", "l1l2": "l1_l2", "scad": "SCAD", "tl1": "TL1"}
GROWTH = 1.25


def layers(case, folder):
    """Dense weights are (inputs, outputs) there, the other way round here; so are their groups."""
    for key, hyper in case.hyper.items():
        dense = hyper["layer"] == "dense"
        weight, u, gradient, after, grown = (
            torch.as_tensor(case[f"{name}_{key}"]).T if dense else torch.as_tensor(case[f"{name}_{key}"])
            for name in ("w", "u", "grad_w", "u_after", "u_grown")
        )
        term, kind = GroupTerm(0, dense, hyper["lamba"]), NAMES[hyper["kind"]]
        biases = hyper["weight_decay"] / 2 * float((case[f"bias_{key}"] ** 2).sum())  # ordinary decay, here
        value = sparse_group_penalty([weight], [term], [u], [hyper["beta"]], 1)
        close(value + biases, case[f"value_{key}"], 1e-12, key)
        found = [torch.zeros_like(weight)]
        sparse_group([weight], found, [term], [u], [hyper["beta"]], 1)
        close(found[0], gradient, 1e-12, key)
        alpha, strength = hyper.get("alpha", 1.0), hyper["lamba"] / hyper["beta"]
        close(prox(weight, kind, strength, alpha), after, 1e-12, key)
        close(prox(weight, kind, strength / GROWTH, alpha), grown, 1e-12, key)
        zeros = int((prox(weight, kind, strength / GROWTH, alpha) == 0).sum())  # counted after the growth
        assert [*sparse_shares(weight, dense), zeros] == case[f"counts_{key}"].tolist(), key


LENET = """
layer {{ name: "data" type: "Input" top: "data" top: "label"
  input_param {{ shape {{ dim: {batch} dim: {channels} dim: {size} dim: {size} }} shape {{ dim: {batch} }} }} }}
layer {{ name: "0" type: "Convolution" bottom: "data" top: "c0" {p0} convolution_param {{ num_output: {n0} kernel_size: 5 }} }}
layer {{ name: "r0" type: "ReLU" bottom: "c0" top: "c0" }}
layer {{ name: "p0" type: "Pooling" bottom: "c0" top: "p0" pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "1" type: "Convolution" bottom: "p0" top: "c1" {p1} convolution_param {{ num_output: {n1} kernel_size: 5 }} }}
layer {{ name: "r1" type: "ReLU" bottom: "c1" top: "c1" }}
layer {{ name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "2" type: "InnerProduct" bottom: "p1" top: "f2" {p2} inner_product_param {{ num_output: {n2} }} }}
layer {{ name: "r2" type: "ReLU" bottom: "f2" top: "f2" }}
layer {{ name: "3" type: "InnerProduct" bottom: "f2" top: "f3" {p3} inner_product_param {{ num_output: {n3} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "f3" bottom: "label" top: "loss" }}
"""  # noqa: E501
SOLVERS = {
    "adam": 'type: "Adam" momentum: 0.9 momentum2: 0.999',
    "sgd": 'type: "SGD" momentum: {momentum}',
    "nesterov": 'type: "Nesterov" momentum: {momentum}',
}


class Trained(Given):
    """A LeNet on the batches of a case, its own gradients."""

    def _made(self):
        made = super()._made()
        run, batches = made._passes.run, self.task
        made._passes.run = lambda explained=False: run(explained, [batches(made.iteration)])
        return made

    def _task(self, name, tensor):
        return None  # its own


def lenet(case, folder):
    hyper, x = case.hyper, case["x"]
    outputs = {f"n{number}": len(case[f"b0_{number}"]) for number in range(4)}
    first = hyper["lambas"][0]
    params = {
        f"p{number}": f"param {{ decay_mult: 0 sparse_group_mult: {decay / first!r} }} param {{ }}"
        for number, decay in enumerate(hyper["lambas"])
    }
    net = LENET.format(batch=x.shape[1], channels=x.shape[2], size=x.shape[3], **outputs, **params)
    fields = (
        f"base_lr: {hyper['lr']} {SOLVERS[hyper['optimizer']].format(momentum=hyper['momentum'])} "
        f"weight_decay: {hyper['weight_decay_of_biases'] / hyper['N']!r} sparse_group_decay: {first} "
        f'sparse_group_penalty: "{NAMES[hyper["kind"]]}" sparse_group_beta: {hyper["beta"]} '
        f"beta_growth: {hyper['growth_factor']} beta_growth_interval: {hyper['grow_every']} "
        f"sparse_group_alpha: {hyper.get('alpha', 1.0)} sparse_group_samples: {hyper['N']}"
    )
    names = [f"{kind}_{number}" for number in range(4) for kind in "wb"]
    start = {name: turned(case[f"{name[0]}0{name[1:]}"]) for name in names}
    given = Trained(net, fields, names, start, lambda t: {"data": x[t], "label": case["label"][t]}, folder)
    method = given.solver._shaping.methods[0]
    method.load_state_dict({"betas": method.betas, "split": [turned(case[f"u0_{number}"]) for number in range(4)]})
    tolerance = 1e-9 if hyper["optimizer"] == "adam" else 1e-10
    for done in range(hyper["steps"]):
        method = given.solver._shaping.methods[0]
        np.testing.assert_allclose(method.betas, case["beta"][done], rtol=1e-12)
        biases = [given.weight(f"b_{number}") for number in range(4)]
        decay = hyper["weight_decay_of_biases"] / 2 / hyper["N"] * sum(float((bias**2).sum()) for bias in biases)
        close(given.solver.penalties["sparse group lasso"] + decay, case["penalty"][done], tolerance)
        if hyper["optimizer"] == "adam":  # torch's epsilon stands behind the bias correction, Caffe's delta before it
            delta = 1e-8 * np.sqrt(1 - 0.999 ** (done + 1))
            given.solver.config = dataclasses.replace(given.solver.config, delta=delta, momentum2=0.999)
        given.step()
        close(given.solver.loss, case["loss"][done], 1e-6)  # it is shown in float32
        for number in range(4):
            for name in (f"w_{number}", f"b_{number}"):
                close(given.weight(name), turned(case[name][done]), tolerance, f"{name} after {done + 1}")
            close(method.split[number], turned(case[f"u_{number}"][done]), tolerance, f"u_{number}")
        if done == hyper["steps"] // 2:
            given.resume()


def turned(weight):
    return weight.T if weight.ndim == 2 else weight


RUNNERS = {"layers": layers, "lenet": lenet}


@pytest.mark.parametrize("name", cases("l0_sgl"))
def test_it_is_its_authors(name, tmp_path):
    runner_of(RUNNERS, name)(Case("l0_sgl", name), tmp_path)


def make(fields, extra="param { sparse_group_mult: 1 }", folder="/tmp"):
    net, names = beside({"a": (4, 2, 3, 3)}, {"a": extra})
    start = {"a": np.random.default_rng(0).normal(size=(4, 2, 3, 3))}
    return Given(net, f"base_lr: 0.1 {fields}", names, start, lambda name, t, w: np.zeros(w.shape), folder, False)


@pytest.mark.parametrize("penalty", list(NAMES.values()))
def test_a_run_under_it_alone_ends_at_zero(penalty):
    given = make(f'sparse_group_decay: 0.2 sparse_group_penalty: "{penalty}"')
    given.step(200)
    assert np.abs(given.weight("a")).max() < 0.05


def test_a_filter_of_zeros_stays_one():
    given = make("sparse_group_decay: 0.2")
    given.params["a"].data[1] = 0
    given.step(2)
    assert not given.weight("a")[1].any()


@pytest.mark.parametrize(
    ("fields", "extra", "message"),
    [
        ('sparse_group_decay: 1 sparse_group_penalty: "TL2"', "", "sparse_group_penalty is 'TL2'; did you mean 'TL1'"),
        ("sparse_group_decay: -1", "", "sparse_group_decay is -1; wanted 0 or more"),
        ("sparse_group_decay: 1 sparse_group_beta: 0", "", "sparse_group_beta is 0; wanted more than 0"),
        ("sparse_group_decay: 1 sparse_group_samples: -3", "", "sparse_group_samples is -3; wanted more than 0"),
        ("sparse_group_decay: 1", "", "sparse_group_decay acts where sparse_group_mult is not 0, but net '' sets none"),
        ("sparse_group_decay: 1", "param { sparse_group_mult: -1 }", "layer 'a': sparse_group_mult is -1; wanted 0"),
    ],
)
def test_what_cannot_be_is_named(fields, extra, message):
    with pytest.raises(SolverError, match=message):
        make(fields, extra)


def test_the_state_of_another_net_is_refused(tmp_path):
    given = make("sparse_group_decay: 1", folder=tmp_path)
    given.step(1)
    path = given.solver.snapshot()
    given.solver._shaping.methods[0]._shapes = [(4, 2, 1, 1)]
    with pytest.raises(SolverError, match="state of 'sparse group lasso' does not fit this run: it has shapes"):
        given.solver.restore(path)
