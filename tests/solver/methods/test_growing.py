"""GReg-1 and GReg-2: their authors' pruner on given quadratic tasks, through a Solver."""

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.solver.methods.method import Step
from caffe_compat.solver.regularizers.growing import count_to_prune
from tests.solver.methods.golden import Case, Given, beside, cases, close, runner_of


def fields_of(hyper):
    names = {
        "reg_granularity_prune": "reg_granularity_prune", "reg_granularity_pick": "reg_granularity_pick",
        "reg_granularity_recover": "reg_granularity_recover", "reg_upper_limit": "reg_upper_limit",
        "reg_upper_limit_pick": "reg_upper_limit_pick", "mag_ratio_limit": "mag_ratio_limit",
        "update_reg_interval": "update_reg_interval", "stabilize_reg_interval": "stabilize_reg_interval",
    }  # fmt: skip
    numbers = " ".join(f"{field}: {hyper[name]!r}" for name, field in names.items())
    return (
        f"base_lr: {hyper['lr_prune']} momentum: {hyper['momentum']} weight_decay: {hyper['weight_decay']} "
        f'{numbers} prune_group: "{hyper["wg"]}"'
    )


def made(case, folder):
    """The layers of a case side by side; a bias is a parameter of a layer of its own."""
    ratios, shapes, start = case.meta["events"]["prune_ratio_per_layer"], {}, {}
    for layer in case.names("w0:"):
        shapes[layer], start[layer] = case[f"w0:{layer}"].shape, case[f"w0:{layer}"]
        if f"c:{layer}" in case:  # its start is what its end and its constant gradient leave open: told by neither
            shapes[f"c:{layer}"] = case[f"c:{layer}"].shape
            start[f"c:{layer}"] = np.zeros(shapes[f"c:{layer}"])
    extras = {layer: f"prune_param {{ prune_ratio: {ratio} }}" for layer, ratio in ratios.items()}
    net, names = beside(shapes, extras)

    def task(name, iteration, weight):
        return case[name] if name.startswith("c:") else case[f"H:{name}"] * (weight.numpy() - case[f"w0:{name}"])

    fields = f'growing_reg: "{case.hyper["method"]}" {fields_of(case.hyper)}'
    return Given(net, fields, names, start, task, folder, double=case.is_double)


def trajectory(case, folder):
    events = case.meta["events"]
    given = made(case, folder)
    layers = list(events["prune_ratio_per_layer"])
    tolerance = 1e-9 if case.is_double else 3e-5
    for iteration in range(events["iterations_run"]):
        given.step()
        method = given.solver._shaping.methods[0]
        for layer, state in zip(layers, method.states, strict=True):
            close(state.penalty, case[f"reg:{layer}"][iteration], 1e-12, f"lambda of {layer} at {iteration}")
            wanted = case[f"ratio:{layer}"][iteration]
            found = np.nan if state.average is None else state.average
            np.testing.assert_allclose(found, wanted, rtol=tolerance, err_msg=f"ratio of {layer} at {iteration}")
            if iteration == 0:
                close(given.weight(layer), case[f"w1:{layer}"], tolerance, layer)
        if iteration == events["iterations_run"] // 2:
            given.resume()
    method = given.solver._shaping.methods[0]
    states = dict(zip(layers, method.states, strict=True))
    assert {name: state.finished for name, state in states.items()} == events["finished_update_reg_iteration"]
    for name, picked in events["finished_pick_iteration"].items():
        assert states[name].picked == picked, name
    assert method.finished_at == events["stabilize_from_iteration"]
    assert method.pruned_at == -1
    for layer in layers:
        close(given.weight(layer), case[f"w_end:{layer}"], tolerance, layer)
    given.step()
    assert given.solver._shaping.methods[0].pruned_at == events["iterations_run"]
    check_gone(given, case, states)


def check_gone(given, case, states):
    """What the authors remove is 0 now and stays so, all else is not."""
    group = case.hyper["wg"]
    given.step(2)
    for layer, state in states.items():
        assert np.flatnonzero(state.goes).tolist() == sorted(case[f"pruned:{layer}"].tolist()), layer
        weight = given.weight(layer)
        matrix = {"filter": weight, "channel": np.swapaxes(weight, 0, 1), "weight": weight.reshape(-1, 1)}[group]
        zero = ~matrix.reshape(len(matrix), -1).any(1)
        assert zero.tolist() == state.goes.tolist(), layer


def counts(case, folder):
    for n, ratio, wanted in zip(case["n"], case["pr"], case["pruned"], strict=True):
        assert count_to_prune(int(n), float(ratio)) == wanted, (n, ratio)


def constants(case, folder, method, double):
    net, names = beside({"a": (4, 2, 1, 1), "b": (3, 4)}, {"a": "prune_param { prune_ratio: 0.5 }"})
    start = {"a": np.arange(1.0, 9).reshape(4, 2, 1, 1), "b": np.ones((3, 4))}
    fields = f'growing_reg: "{method}" {fields_of(case.hyper)}'
    return Given(net, fields, names, start, lambda name, t, w: np.zeros(w.shape), folder, double)


def default_constants(case, folder):
    """The lambdas move alone, the rate being 0: the method is asked directly here, in `-m slow` through the Solver."""
    for method in ("GReg-1", "GReg-2"):
        given = constants(case, folder, method, double=False)
        shaping = given.solver._shaping
        weights = [param.detach() for param in given.params.values()]
        gradients = [torch.zeros_like(weight) for weight in weights]
        for iteration in range(int(case[f"{method}:f32:total"]) + 1):
            step = Step(iteration, weights, [])
            shaping.before_pass(step)
            shaping.regularize(step, gradients)
        check_constants(case, f"{method}:f32", shaping.methods[0])


def check_constants(case, key, method):
    state = method.states[0]
    assert state.finished == case[f"{key}:finish"]
    assert method.pruned_at == case[f"{key}:total"]
    np.testing.assert_allclose(float(state.penalty.max()), case[f"{key}:last"], rtol=1e-6)
    if f"{key}:pick" in case:
        assert state.picked == case[f"{key}:pick"]


RUNNERS = {"greg": trajectory, "counts": counts, "default_constants": default_constants}


@pytest.mark.parametrize("name", cases("greg"))
def test_it_is_its_authors(name, tmp_path):
    runner_of(RUNNERS, name)(Case("greg", name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GReg-1", "GReg-2"])
@pytest.mark.parametrize("real", ["f32", "f64"])
def test_default_constants_end_where_the_authors_do(method, real, tmp_path):
    case = Case("greg", "default_constants")
    given = constants(case, tmp_path, method, real == "f64")
    total = int(case[f"{method}:{real}:total"])
    given.step(total // 2)
    given.resume()
    given.step(total + 1 - total // 2)
    check_constants(case, f"{method}:{real}", given.solver._shaping.methods[0])


def make(fields='growing_reg: "GReg-1"', extra="prune_param { prune_ratio: 0.5 }"):
    net, names = beside({"a": (4, 2, 3, 3)}, {"a": extra})
    start = {"a": np.random.default_rng(0).normal(size=(4, 2, 3, 3))}
    return Given(net, f"base_lr: 0.1 {fields}", names, start, lambda name, t, w: np.zeros(w.shape), "/tmp", False)


@pytest.mark.parametrize(
    ("fields", "extra", "message"),
    [
        ('growing_reg: "GReg1"', "", "growing_reg is 'GReg1'; did you mean 'GReg-1'\\? allowed: GReg-1, GReg-2"),
        ('growing_reg: "GReg-1" prune_group: "filters"', "", "prune_group is 'filters'; did you mean 'filter'"),
        ('growing_reg: "GReg-1" pick_pruned: "least"', "", "pick_pruned is 'least'; allowed: min, max, rand"),
        ('growing_reg: "GReg-1" update_reg_interval: 0', "", "update_reg_interval is 0; wanted 1 or more"),
        ('growing_reg: "GReg-1"', "", "growing_reg is 'GReg-1', but no layer of net '' has a prune_ratio"),
        ('growing_reg: "GReg-1"', "prune_param { prune_ratio: 1 }", "layer 'a': prune_ratio is 1; wanted 0 or more"),
        ('growing_reg: "GReg-1"', "prune_param { prune_ratio: -0.1 }", "layer 'a': prune_ratio is -0.1; wanted 0"),
    ],
)
def test_what_cannot_be_is_named(fields, extra, message):
    with pytest.raises(SolverError, match=message):
        make(fields, extra)


@pytest.mark.parametrize("pick", ["min", "max", "rand"])
def test_it_picks_as_asked(pick):
    given = make(f'growing_reg: "GReg-1" pick_pruned: "{pick}" random_seed: 3')
    score = np.abs(given.weight("a")).reshape(4, -1).mean(1)
    given.step()
    goes = given.solver._shaping.methods[0].states[0].goes.numpy()
    assert goes.sum() == 2
    if pick != "rand":
        order = np.argsort(score) if pick == "min" else np.argsort(-score)
        assert set(np.flatnonzero(goes)) == set(order[:2])
