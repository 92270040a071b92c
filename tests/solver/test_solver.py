"""What a user may ask of Solver: nets, tests, force, callbacks, requests, and what goes wrong on the way."""

import copy
import logging
import math
import os
import pickle

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.proto.model import read_net, read_solver, read_weights
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver.solver import Solver
from tests.conftest import golden


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A small net with data, TRAIN and TEST layers, and its solver (those of Caffe's logs), as working directory."""
    for path in golden("formats", "logs").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solver(extra="", weights="snap_iter_30.caffemodel", **options):
    """The solver of the folder with fields of `extra` put over its own."""
    param = read_solver("solver.prototxt")
    for field in (changes := parse_text(extra, SolverParameter)).ListFields():
        param.ClearField(field[0].name)
    param.MergeFrom(changes)
    return Solver(param, weights=weights, **options)


def state(solver):
    return [param.tensor.detach().clone() for param in solver.net.learnable_params]


# The nets


def test_solver_may_be_a_path_or_a_message():
    by_path = Solver("solver.prototxt", weights="snap_iter_30.caffemodel")
    by_message = Solver(read_solver("solver.prototxt"), weights="snap_iter_30.caffemodel")
    for each in (by_path, by_message):
        each.step(2)
    assert by_path.loss == by_message.loss


def test_net_is_found_beside_the_solver_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    given = Solver(tmp_path / "solver.prototxt", weights=tmp_path / "snap_iter_30.caffemodel")
    given.step(1)
    assert given.test()[0]["accuracy"] == 1


@pytest.mark.parametrize("field", ["net", "net_param", "train_net", "train_net_param"])
def test_every_way_to_name_the_net_trains_the_same(field):
    net = read_net("net.prototxt")
    param = read_solver("solver.prototxt")
    param.ClearField("net")
    if field.endswith("param"):
        getattr(param, field).CopyFrom(net)
    else:
        setattr(param, field, "net.prototxt")
    if field.startswith("train"):
        param.test_net.append("net.prototxt")
        param.test_net_param.add().CopyFrom(net)
        param.test_iter.append(2)
    given = Solver(param, weights="snap_iter_30.caffemodel")
    given.step(1)
    assert given.loss == pytest.approx(0.0172996, abs=1e-6)
    assert len(given.test_nets) == (2 if field.startswith("train") else 1)
    assert [result["loss"] for result in given.test()] == pytest.approx(
        [given.test()[0]["loss"]] * len(given.test_nets)
    )


@pytest.mark.parametrize(("text", "found"), [("", "none"), ('net: "n" train_net: "n"', "train_net and net")])
def test_one_training_net_must_be_given(text, found):
    with pytest.raises(SolverError, match=f"wanted one of train_net_param, train_net, net_param, net; found {found}"):
        Solver(parse_text(text + ' base_lr: 1 lr_policy: "fixed"', SolverParameter))


def test_test_nets_use_the_very_weights_of_the_training_net():
    given = solver()
    given.step(3)
    for layer, blobs in given.test_nets[0].params.items():
        assert all(mine is theirs for mine, theirs in zip(blobs, given.net.params[layer], strict=True))


def test_test_states_choose_layers_of_each_test_net():
    net = read_net("net.prototxt")
    next(layer for layer in net.layer if layer.type == "Accuracy").include[0].stage.append("scored")
    param = solver("test_iter: 1 test_iter: 1 test_state { } test_state { stage: 'scored' }").param
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    given = Solver(param, weights="snap_iter_30.caffemodel")
    assert [set(result) for result in given.test()] == [{"loss"}, {"accuracy", "loss"}]


def test_level_and_stages_choose_layers_of_the_training_net():
    net = read_net("net.prototxt")
    extra = net.layer.add(name="extra", type="Silence", bottom=["ip1"])
    extra.include.add(stage=["deep"], min_level=2)
    param = read_solver("solver.prototxt")
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    assert "extra" not in Solver(param).net.layers
    assert "extra" in Solver(param, level=2, stages=["deep"]).net.layers
    param.train_state.level = 2
    param.train_state.stage.append("deep")
    assert "extra" in Solver(param).net.layers


# Testing


@pytest.mark.parametrize(("extra", "at"), [("", [0, 10]), ("test_initialization: false", [10])])
def test_tests_come_at_the_top_of_an_iteration(extra, at, caplog):
    with caplog.at_level(logging.INFO):
        solver(extra).step(11)
    assert [line for line in caplog.messages if "Testing" in line] == [f"Iteration {i}, Testing net (#0)" for i in at]


def test_test_compute_loss_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        results = solver("test_compute_loss: true").test()
    assert f"Test loss: {results[0]['loss']:g}" in caplog.messages


def test_outputs_of_a_test_are_means_over_its_batches():
    given = solver("test_iter: 4", weights="snap_iter_15.caffemodel")
    singles = solver("test_iter: 1", weights="snap_iter_15.caffemodel")
    expected = np.mean([singles.test()[0]["loss"] for _ in range(4)])
    assert given.test()[0]["loss"] == pytest.approx(expected, rel=1e-6)


# Force


def forced(solver):
    """The layers whose weights the force moves, with their strengths."""
    owners = [param.layer for param in solver.net.learnable_params]
    return {owner: s for owner, s in zip(owners, solver._force_strengths, strict=True) if s}


@pytest.mark.parametrize(
    ("force", "kind", "decay"),
    [("l1", "Constant", 1e-3), ("l2", "Degradation", 5e-5)],
)
def test_force_by_name_has_the_published_strength_and_acts_on_convolutions(force, kind, decay, caplog):
    with caplog.at_level(logging.INFO):
        given = solver(force=force)
    assert given.config.force.force_type == kind
    assert forced(given) == {"conv1": pytest.approx(decay)}
    assert any(f"force_decay {decay:g}" in line for line in caplog.messages)
    assert "Force: no param sets force_mult; forcing every Convolution: conv1" in caplog.messages


def test_force_without_published_strength_wants_one():
    with pytest.raises(SolverError, match="force 'gravity' has no published strength; give force_decay"):
        solver(force="gravity")
    assert forced(solver(force="gravity", force_decay=0.5)) == {"conv1": 0.5}


def test_force_layers_name_what_is_forced_also_inner_products():
    assert forced(solver(force="l1", force_layers="ip1")) == {"ip1": pytest.approx(1e-3)}
    assert set(forced(solver(force="l1", force_layers=["conv1", "ip1"]))) == {"conv1", "ip1"}


def test_force_mult_of_the_net_goes_before_the_default():
    net = read_net("net.prototxt")
    next(layer for layer in net.layer if layer.name == "ip1").param.add().force_mult = 2
    param = read_solver("solver.prototxt")
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    assert forced(Solver(param, force="l1")) == {"ip1": pytest.approx(2e-3)}


def test_force_none_switches_the_solvers_force_off():
    assert forced(solver('force_decay: 0.1 force_type: "Constant"', force="none")) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"force": "l3"}, "force is 'l3'; allowed: l1, l2, linear, gravity, none"),
        ({"force": "l1", "force_layers": "conv2"}, "net 'LogNet' has no layer 'conv2'; did you mean 'conv1'?"),
        ({"force": "l1", "force_layers": "relu1"}, "layer 'relu1' has no weights of 2 axes or more to force"),
        ({"extra": "force_decay: 0.1"}, "force_decay is 0.1, but net 'LogNet' has nothing to force"),
    ],
)
def test_force_that_cannot_be_is_refused(options, message):
    with pytest.raises(SolverError) as caught:
        solver(**options)
    assert message in str(caught.value)


def test_the_fork_only_warns_of_a_force_with_nothing_to_force(caplog):
    solver("force_decay: 0.1", compat="wen2017")
    assert "nothing to force" in caplog.text


def test_a_net_without_convolutions_has_nothing_to_force_by_default():
    net = read_net("net.prototxt")
    layers = [layer for layer in net.layer if layer.name not in ("conv1", "relu1", "pool1")]
    next(layer for layer in layers if layer.name == "ip1").bottom[0] = "data"
    del net.layer[:]
    net.layer.extend(layers)
    param = read_solver("solver.prototxt")
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    with pytest.raises(SolverError, match="nothing to force"):
        Solver(param, force="l1")


def test_force_draws_filters_together_while_training():
    def lowest_cosine(given):
        unit = torch.nn.functional.normalize(given.net.params["conv1"][0].detach().flatten(1), dim=1)
        return float((unit @ unit.T).min())

    plain, drawn = solver(), solver(force="l1", force_decay=0.1)
    for each in (plain, drawn):
        each.step(60)
    assert lowest_cosine(plain) < 0 < 0.9 < lowest_cosine(drawn)


# Running


def test_random_seed_makes_two_runs_the_same():
    first, second = solver(weights=None), solver(weights=None)
    assert all(torch.equal(a, b) for a, b in zip(state(first), state(second), strict=True))
    assert not torch.equal(state(first)[0], state(solver("random_seed: 4", weights=None))[0])


def test_weights_are_applied_one_after_another():
    given = solver(weights="snap_iter_30.caffemodel,snap_iter_15.caffemodel")
    np.testing.assert_array_equal(state(given)[0], read_weights("snap_iter_15.caffemodel")["conv1"][0])


def test_weights_named_in_the_solver_count_unless_others_are_given():
    given = solver('weights: "snap_iter_15.caffemodel"', weights=None)
    np.testing.assert_array_equal(state(given)[0], read_weights("snap_iter_15.caffemodel")["conv1"][0])
    given = solver('weights: "snap_iter_15.caffemodel"')
    np.testing.assert_array_equal(state(given)[0], read_weights("snap_iter_30.caffemodel")["conv1"][0])


def test_max_iter_can_be_given():
    given = solver(max_iter=7)
    given.solve()
    assert given.iteration == 7
    assert os.path.exists("snap_iter_7.solverstate")


def test_callbacks_are_called_in_place():
    calls = []

    class Record:
        def before_step(self, solver):
            calls.append(("before", solver.iteration))

        def after_step(self, solver):
            calls.append(("after", solver.iteration))

        def after_test(self, solver, results):
            calls.append(("test", solver.iteration, sorted(results[0])))

        def after_snapshot(self, solver, path):
            calls.append(("snapshot", solver.iteration, str(path)))

    given = solver("snapshot: 2 test_interval: 2")
    given.callbacks.append(Record())
    given.step(3)
    assert calls == [
        ("test", 0, ["accuracy", "loss"]), ("before", 0), ("after", 1), ("before", 1), ("after", 2),
        ("snapshot", 2, "snap_iter_2.solverstate"), ("test", 2, ["accuracy", "loss"]), ("before", 2), ("after", 3),
    ]  # fmt: skip


def test_requested_stop_snapshots_and_ends_the_run(caplog):
    class Stop:
        def after_step(self, solver):
            if solver.iteration == 4:
                solver.request("stop")

    given = solver()
    given.callbacks.append(Stop())
    with caplog.at_level(logging.INFO):
        given.solve()
    assert given.iteration == 4
    assert os.path.exists("snap_iter_4.solverstate")
    assert caplog.messages[-1] == "Optimization stopped early."
    given.callbacks.clear()
    given.step(1)
    assert given.iteration == 5


def test_requested_snapshot_is_taken_once_and_the_run_goes_on():
    given = solver()
    given.request("snapshot")
    given.step(3)
    assert given.iteration == 3
    assert os.path.exists("snap_iter_1.solverstate") and not os.path.exists("snap_iter_2.solverstate")


def test_snapshot_after_train_false_takes_none():
    solver("snapshot: 0 snapshot_after_train: false", max_iter=3).solve()
    assert not os.path.exists("snap_iter_3.solverstate")


def test_model_has_the_net_as_given_and_the_weights_of_now():
    given = solver()
    given.step(1)
    model = given.model()
    assert [layer.name for layer in model.net.layer] == [layer.name for layer in read_net("net.prototxt").layer]
    np.testing.assert_array_equal(model.weights["conv1"][0], state(given)[0])


def test_loss_that_is_no_number_stops_with_the_iteration_and_a_snapshot():
    given = solver()
    given.step(2)
    given.net.params["ip1"][0].data.fill_(3e38)
    with pytest.raises(SolverError, match=r"iteration 2: the loss is (nan|inf); .* are in snap_iter_2\.solverstate"):
        given.step(5)
    assert given.iteration == 2 and not math.isfinite(given.loss)
    assert os.path.exists("snap_iter_2.caffemodel")
    resumed = solver()
    resumed.restore("snap_iter_2.solverstate")
    assert resumed.net.layers["data"].cursor == 2  # the batch of that loss comes again


def test_weights_that_are_no_numbers_are_not_kept():
    given = solver()
    given.net.params["ip1"][0].data.fill_(math.nan)
    with pytest.raises(SolverError, match=r"iteration 0: the loss is nan; .* go back to an earlier snapshot"):
        given.step(5)
    assert not os.path.exists("snap_iter_0.caffemodel")


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a CUDA device")
def test_gpu_mode_without_a_gpu_warns_and_runs_on_the_cpu(caplog):
    given = solver("solver_mode: GPU", device="auto")
    assert given.device.type == "cpu"
    assert "solver_mode: GPU is asked for, but this machine has no CUDA device; running on the CPU" in caplog.messages
    with pytest.raises(SolverError, match="device is 'cuda', but this machine has no CUDA device"):
        solver(device="cuda")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused_with_what_to_do(duplicate):
    with pytest.raises(TypeError, match=r"a Solver cannot be copied or pickled; its snapshot\(\)"):
        duplicate(solver())


def test_unknown_device_is_named():
    with pytest.raises(SolverError, match="device is 'gpu0'; allowed: cpu, cuda"):
        solver(device="gpu0")


def test_learning_rate_is_the_next_ones_and_does_not_move_the_solver():
    given = solver('lr_policy: "multistep" stepvalue: 1 gamma: 0.5')
    assert given.learning_rate == pytest.approx(0.05)
    given.step(1)
    assert given.learning_rate == given.learning_rate == pytest.approx(0.025)
    assert given.state.current_step == 0


def test_per_group_force_takes_the_groups_of_the_convolution():
    net = read_net("net.prototxt")
    convolution = next(layer for layer in net.layer if layer.name == "conv1")
    grouped = net.layer.add()
    grouped.CopyFrom(convolution)
    grouped.name, grouped.bottom[0], grouped.top[0] = "conv2", "conv1", "conv2"
    grouped.convolution_param.group = 5
    net.layer.add(name="quiet", type="Silence", bottom=["conv2"])
    param = read_solver("solver.prototxt")
    param.ClearField("net")
    param.net_param.CopyFrom(net)
    given = Solver(param, force="l1", force_per_group=True)
    users = [param.users[0] for param in given.net.learnable_params]
    assert dict(zip(users, given._force.keywords["groups"], strict=True)) == {
        ("conv1", 0): 1, ("conv1", 1): 1, ("conv2", 0): 5, ("conv2", 1): 1, ("ip1", 0): 1, ("ip1", 1): 1,
    }  # fmt: skip
