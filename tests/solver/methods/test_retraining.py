"""What IncReg does after pruning: its authors' C++ on given accuracies, through a Solver stopped and resumed."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from tests.conftest import golden
from tests.solver.methods.golden import Case, Given, beside

STATES = ("prune", "losseval", "retrain", "final_retrain")


def fields_of(hyper):
    names = (
        "base_lr", "momentum", "weight_decay", "AA", "target_reg", "speedup", "losseval_interval", "acc_borderline",
        "retrain_test_interval", "baseline_acc", "iter_size_prune", "iter_size_losseval", "iter_size_retrain",
        "iter_size_final_retrain", "snapshot", "max_iter", "IF_scheme1_when_Reg_rank", "IF_eswpf", "IF_use_acc1",
    )  # fmt: skip
    given = " ".join(f"{name}: {str(hyper[name]).lower()}" for name in names if name in hyper)
    return (
        f'{given} prune_method: "Reg_Col" regularization_type: "Reg_Col" IF_update_row_col: false '
        "test_iter: 1 test_interval: 1000000 test_initialization: false"
    )


ACCURACY = (
    'layer { name: "scores" type: "DummyData" top: "accuracy" dummy_data_param { shape { dim: 1 } } '
    "include { phase: TEST } }"
)


def solver_on(case, folder, tested=ACCURACY, **changes):
    """The case's net, with an accuracy in its tests."""
    layers = case.hyper["layers"]
    shapes = {f"c{n}": tuple(layer["shape"]) for n, layer in enumerate(layers)}
    prune = "prune_param {{ prune_ratio: {prune_ratio} prune_ratio_step: {prune_ratio_step} }}"
    net, names = beside(shapes, {f"c{n}": prune.format(**layer) for n, layer in enumerate(layers)})
    start = {name: case[f"w0_{name[1:]}"] for name in names}

    def task(name, iteration, weight):
        gradients = case[f"grad_{name[1:]}"]
        return gradients[iteration % len(gradients)]

    fields = fields_of({**case.hyper, **changes})
    return Given(net + tested, fields, names, start, task, folder, double=False, decimals=False)


class Trace:
    """Checks every iteration as it runs, and asks for a stop after those numbered in `stops`."""

    def __init__(self, case, given, stops):
        self.case, self.given, self.stops = case, given, stops
        self.done = 0
        self.tests = iter(case["accuracies"].tolist())

    def join(self):
        solver = self.given.solver
        solver.callbacks.append(self)
        solver.test = lambda: [dict(zip(("accuracy", "accuracy_5"), next(self.tests), strict=True))]
        self.method = solver._shaping.methods[0]

    def before_step(self, solver):
        k, case, state = self.done, self.case, self.method.retraining.state
        assert (solver.iteration, state.name) == (case["iteration"][k], STATES[case["state"][k]]), k
        assert state.stage == case["stage"][k], k
        ratios = [self.method.goals.ratios[f"c{n}"] for n in range(case["ratio"].shape[1])]
        np.testing.assert_allclose(ratios, case["ratio"][k], rtol=2e-7, err_msg=str(k))
        np.testing.assert_allclose(self.method._target(torch.float32), case["target_reg"][k], rtol=1e-6, err_msg=str(k))

    def after_step(self, solver):
        k, case = self.done, self.case
        assert np.float32(solver.applied_rate) == case["learning_rate"][k], k
        assert solver._passes.iter_size == case["passes"][k], k
        if k % case.hyper["every"] == 0 and k // case.hyper["every"] < len(case["w_0"]):
            for name in self.given.names:
                wanted = case[f"w_{name[1:]}"][k // case.hyper["every"]]
                np.testing.assert_allclose(self.given.weight(name), wanted, rtol=0, atol=3e-6, err_msg=f"{name}, {k}")
        self.done += 1
        if self.done in self.stops:
            solver.request("stop")


HOME = Path(golden("methods"))
NAMES = sorted(path.stem for path in HOME.glob("increg/stages*.json"))
QUICK = "stages_given"  # some 140 iterations; the others have up to 560


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in NAMES]
)
def test_it_goes_as_in_its_authors_code(name, tmp_path):
    case = Case("increg", name, HOME)
    given, count = solver_on(case, tmp_path), len(case["iteration"])
    trace = Trace(case, given, stops=(count // 4, count // 2, 4 * count // 5))
    trace.join()
    for _ in trace.stops:
        given.step(10**6)
        given.resume()
        trace.join()
    given.step(10**6)
    assert trace.done == count
    assert next(trace.tests, None) is None
    assert given.solver.iteration == case.hyper["end_iteration"] + 1
    for number in range(len(case.hyper["layers"])):
        np.testing.assert_allclose(given.weight(f"c{number}"), case[f"w_end_{number}"], rtol=0, atol=3e-6)
    given.step(5)
    assert trace.done == count  # it is over


def test_an_interrupted_run_ends_to_the_bit_as_a_straight_one_with_the_best_net(tmp_path):
    case, ends = Case("increg", QUICK, HOME), []
    best = case.hyper["end_iteration"] + 1
    for stops in ((), (41, 66, 110)):
        folder = tmp_path / str(len(stops))
        folder.mkdir()
        given = solver_on(case, folder, snapshot=best, max_iter=10**6)  # due at the best, and training goes back later
        trace = Trace(case, given, stops)
        trace.join()
        for _ in stops:
            given.step(10**6)
            given.resume()
            trace.join()
        given.solver.solve()
        history = [blob.numpy() for blob in given.solver.state.history]
        left, kept = (folder / f"run_{name}.caffemodel" for name in (f"iter_{best}", f"stage1-retrain_iter_{best}"))
        assert left.read_bytes() == kept.read_bytes()
        ends.append([*map(given.weight, given.names), *history])
    for straight, resumed in zip(*ends, strict=True):
        np.testing.assert_array_equal(straight, resumed)


def test_where_no_stage_keeps_the_accuracy_nothing_is_pruned(tmp_path, caplog):
    case = Case("increg", "stages_bad_first", HOME)
    given = solver_on(case, tmp_path, baseline_acc=0.8)  # as high as the borderline: no step is small enough
    fall = itertools.count(1)
    given.solver.test = lambda: [{"accuracy": 0.7 - 0.01 * next(fall)}]
    given.step(10**6)
    assert "no stage kept an accuracy of 0.8" in caplog.text
    for name in given.names:
        np.testing.assert_array_equal(given.weight(name), case[f"w0_{name[1:]}"])


def test_a_snapshot_of_another_run_is_not_gone_back_to(tmp_path):
    case = Case("increg", QUICK, HOME)
    given = solver_on(case, tmp_path)
    trace = Trace(case, given, (75,))
    trace.join()
    given.step(10**6)
    best = trace.method.retraining.state.best
    best.number += 1  # as if another run with this prefix had written it
    with pytest.raises(SolverError, match=f"the snapshot {best.name} is not the one that this run went by"):
        given.resume()
        trace.join()
        given.step(10**6)


def test_a_snapshot_that_is_gone_is_named(tmp_path):
    case = Case("increg", QUICK, HOME)
    given = solver_on(case, tmp_path)
    Trace(case, given, (75,)).join()
    given.step(10**6)
    best = given.solver._shaping.methods[0].retraining.state.best
    (tmp_path / f"run_{best.name}.solverstate").unlink()
    given.resume()
    Trace.join(trace := Trace(case, given, ()))
    trace.done, trace.tests = 75, iter(case["accuracies"].tolist()[12:])
    with pytest.raises(SolverError, match=f"run_{best.name}.solverstate: no such file"):
        given.step(10**6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retrain_test_interval": -1}, "retrain_test_interval is -1; wanted 0 or more"),
        ({"losseval_interval": -2}, "losseval_interval is -2; wanted 0 or more"),
        ({"iter_size_retrain": 0}, "iter_size_retrain is 0; wanted 1 or more"),
        ({"acc_borderline": 0.9, "baseline_acc": 0.8}, "acc_borderline is 0.9, baseline_acc 0.8; wanted baseline_acc"),
        ({"acc_borderline": 0.9, "baseline_acc": 1, "retrain_test_interval": 0}, "set retrain_test_interval"),
        ({"acc_borderline": "nan"}, "acc_borderline is nan; wanted a finite number"),
    ],
)
def test_what_cannot_be_is_named(changes, message, tmp_path):
    with pytest.raises(SolverError, match=message):
        solver_on(Case("increg", QUICK, HOME), tmp_path, **changes)


def test_stages_need_a_step(tmp_path):
    case = Case("increg", QUICK, HOME)
    case.hyper["layers"][1]["prune_ratio_step"] = 0
    with pytest.raises(
        SolverError, match="layer 'c1': acc_borderline asks for stages of pruning, but prune_ratio_step"
    ):
        solver_on(case, tmp_path, acc_borderline=0.5, baseline_acc=0.9)


def test_retraining_needs_a_test_net_with_an_accuracy(tmp_path):
    case = Case("increg", QUICK, HOME)
    with pytest.raises(SolverError, match="retrain_test_interval asks for accuracies, but the last test net has none"):
        solver_on(case, tmp_path, tested="")
