"""Snapshots and resuming: Caffe's files to the bit, straight runs equal to interrupted ones, and what may go wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.model import read_weights
from caffe_compat.solver.solver import Solver
from tests.commands.conftest import Problem
from tests.conftest import golden
from tests.proto.test_hdf5_image import quota

CASES = ["adadelta", "adam", "adam_force_iter20", "sgd_multistep_force", "sgd_step_shared"]
SUFFIXES = {"solver.prototxt": "snap_iter_{}.solverstate", "solver_h5.prototxt": "snaph5_iter_{}.solverstate.h5"}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
    return copy_case(request.param, tmp_path, monkeypatch)


def copy_case(name, tmp_path, monkeypatch):
    """A writable copy of a golden resume case as working directory; what Caffe recorded of it."""
    folder = tmp_path / name
    shutil.copytree(golden("resume", name), folder)
    monkeypatch.chdir(folder)
    return np.load(folder / "resume.npz")


def params():
    return json.loads(Path("meta.json").read_text())["params"]


def blobs(solver):
    found = {f"data/{name}": p.tensor for name, p in zip(params(), solver.net.learnable_params, strict=True)}
    found.update({f"hist/{index}": blob for index, blob in enumerate(solver.state.history)})
    return {key: blob.detach().numpy().copy() for key, blob in found.items()}


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("solver_file", SUFFIXES)
@pytest.mark.parametrize("iteration", [15, 30])
def test_caffes_snapshot_is_read_to_the_bit(case, solver_file, iteration):
    solver = Solver(solver_file, compat="wen2017")
    solver.restore(SUFFIXES[solver_file].format(iteration))
    key = "at15" if iteration == 15 else "straight30"
    for name, blob in blobs(solver).items():
        np.testing.assert_array_equal(blob, case[f"{key}/{name}"], err_msg=name)
    assert (solver.iteration, solver.state.current_step) == (iteration, int(case[f"{key}/current_step"]))


@pytest.mark.parametrize("solver_file", SUFFIXES)
def test_run_resumed_from_caffes_snapshot_follows_caffes(case, solver_file):
    solver = Solver(solver_file, compat="wen2017")
    solver.restore(SUFFIXES[solver_file].format(15))
    losses, rates = [], []
    for _ in range(15):
        rates.append(solver.learning_rate)
        solver.step(1)
        losses.append(solver.loss)
    key = "resumed30_h5" if "h5" in solver_file else "resumed30"
    for name, blob in blobs(solver).items():
        atol = 1e-5 * np.abs(case[f"{key}/{name}"]).max() + 1e-8  # a gradient that is 0 leaves only rounding
        np.testing.assert_allclose(blob, case[f"{key}/{name}"], rtol=0, atol=atol, err_msg=name)
    np.testing.assert_allclose(losses, case[f"{key}/loss"], atol=1e-5)
    np.testing.assert_array_equal(np.float32(rates), case[f"{key}/lr"])


@pytest.mark.parametrize("solver_file", SUFFIXES)
def test_snapshot_written_from_caffes_is_caffes_again(case, solver_file):
    """The binary state byte for byte; HDF5, whose bytes hold times, array for array; the weights blob for blob."""
    solver = Solver(solver_file, compat="wen2017")
    state = SUFFIXES[solver_file].format(15)
    solver.restore(state)
    original = Path(state).read_bytes()
    weights = state.replace("solverstate", "caffemodel")
    before = read_weights(weights)
    assert str(solver.snapshot()) == state
    if not state.endswith(".h5"):
        assert Path(state).read_bytes() == original
    reader = hdf5 if state.endswith(".h5") else binary
    ours, theirs = (
        reader.read_solver_state(state),
        reader.read_solver_state(golden("resume", os.path.basename(os.getcwd()), state)),
    )
    assert (ours.iteration, ours.learned_net, ours.current_step) == (
        theirs.iteration,
        theirs.learned_net,
        theirs.current_step,
    )
    assert all(np.array_equal(a, b) for a, b in zip(ours.history, theirs.history, strict=True))
    after = read_weights(weights)
    assert after.keys() == before.keys()
    assert all(np.array_equal(a, b) for name in after for a, b in zip(after[name], before[name], strict=True))


@pytest.mark.parametrize("solver_file", SUFFIXES)
def test_interrupted_run_equals_a_straight_one_to_the_bit(case, solver_file):
    """Also where the data has no whole number of passes at the interruption: the side-car keeps the place."""
    straight = Solver(solver_file, weights="init.caffemodel", compat="wen2017")
    straight.step(15)
    path = straight.snapshot()
    straight.step(15)
    resumed = Solver(solver_file, compat="wen2017")
    resumed.restore(path)
    resumed.step(15)
    assert same(blobs(straight), blobs(resumed))
    assert straight.loss == resumed.loss


def test_without_its_side_car_a_run_resumes_with_the_first_data_as_in_caffe(tmp_path, monkeypatch):
    record = copy_case("sgd_step_shared", tmp_path, monkeypatch)
    solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    solver.step(15)
    path = solver.snapshot()
    os.remove(f"{path}.json")
    resumed = Solver("solver.prototxt", compat="wen2017")
    resumed.restore(path)
    resumed.step(1)
    assert resumed.loss == pytest.approx(record["resumed30/loss"][0], abs=1e-5)
    solver.step(1)
    assert solver.loss != pytest.approx(resumed.loss, abs=1e-3)


def test_side_car_of_another_state_is_not_used(tmp_path, monkeypatch, caplog):
    copy_case("adam", tmp_path, monkeypatch)
    solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    solver.step(15)
    solver.snapshot()
    shutil.copy(golden("resume", "adam", "snap_iter_30.solverstate"), "snap_iter_15.solverstate")
    Solver("solver.prototxt", compat="wen2017").restore("snap_iter_15.solverstate")
    assert "belongs to another solverstate" in caplog.text


def test_dropout_goes_on_with_the_same_masks(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    text = Path("net.prototxt").read_text()
    dropout = 'layer { name: "d" type: "Dropout" bottom: "c1" top: "c1" }\n'
    place = text.index('layer { name: "p1"') if 'layer { name: "p1"' in text else text.index('layer { name: "c2"')
    Path("net.prototxt").write_text(text[:place] + dropout + text[place:])
    straight = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    straight.step(4)
    path = straight.snapshot()
    straight.step(3)
    torch.manual_seed(99)
    resumed = Solver("solver.prototxt", compat="wen2017")
    resumed.restore(path)
    resumed.step(3)
    assert same(blobs(straight), blobs(resumed))


def test_smoothed_loss_goes_on_after_resuming(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    with open("solver.prototxt", "a") as file:
        file.write("\naverage_loss: 4\n")
    straight = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    paths = []

    class Snapshot:
        def after_step(self, solver):
            if solver.iteration == 6:
                paths.append(solver.snapshot())

    straight.callbacks.append(Snapshot())
    straight.step(9)
    resumed = Solver("solver.prototxt", compat="wen2017")
    resumed.restore(paths[0])
    resumed.step(3)
    assert resumed.smoothed_loss == straight.smoothed_loss


def test_moved_run_is_found(tmp_path, monkeypatch, caplog):
    """learned_net is a path of the old place; the weights lie beside the state."""
    record = copy_case("adam", tmp_path, monkeypatch)
    os.mkdir("moved")
    for name in ("snap_iter_15.solverstate", "snap_iter_15.caffemodel"):
        shutil.move(name, "moved")
    solver = Solver("solver.prototxt", compat="wen2017")
    with caplog.at_level("INFO"):
        solver.restore("moved/snap_iter_15.solverstate")
    np.testing.assert_array_equal(solver.net.params["c1"][0].detach(), record["at15/data/c1.0"])
    assert "taking moved/snap_iter_15.caffemodel" in caplog.text


def test_missing_weights_of_a_state_are_named(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    os.remove("snap_iter_15.caffemodel")
    with pytest.raises(SolverError, match=r"its weights 'snap_iter_15.caffemodel' are neither there nor at"):
        Solver("solver.prototxt", compat="wen2017").restore("snap_iter_15.solverstate")


def test_state_of_another_solver_type_is_refused_by_its_length(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace('"Adam"', '"SGD"'))
    solver = Solver("solver.prototxt", compat="wen2017")
    with pytest.raises(SolverError, match="12 history blobs, but this net with type SGD has 6; resume with"):
        solver.restore("snap_iter_15.solverstate")
    assert solver.iteration == 0


def test_state_of_another_solver_type_is_refused_by_its_side_car(tmp_path, monkeypatch):
    """Nesterov and SGD keep the same number of blobs: Caffe would go on without a word."""
    copy_case("sgd_step_shared", tmp_path, monkeypatch)
    Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017").snapshot()
    with open("solver.prototxt", "a") as file:
        file.write('\ntype: "Nesterov"\n')
    with pytest.raises(SolverError, match="a solver of type SGD wrote this state, this one has type Nesterov"):
        Solver("solver.prototxt", compat="wen2017").restore("snap_iter_0.solverstate")


def test_state_of_another_net_is_refused(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(text.replace("num_output: 6", "num_output: 7"))
    with pytest.raises(SolverError, match=r"history blob 0 is \(6, 3, 3, 3\), but this net has \(7, 3, 3, 3\)"):
        Solver("solver.prototxt", compat="wen2017").restore("snap_iter_15.solverstate")


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_corrupt_state_is_one_clear_line(tmp_path, monkeypatch, size):
    copy_case("adam", tmp_path, monkeypatch)
    stored = Path("snap_iter_15.solverstate").read_bytes()
    Path("cut.solverstate").write_bytes(stored[:size])
    with pytest.raises(CaffeCompatError, match=r"cut\.solverstate") as caught:
        Solver("solver.prototxt", compat="wen2017").restore("cut.solverstate")
    assert "\n" not in str(caught.value)


def test_weights_given_as_state_are_named(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    with pytest.raises(CaffeCompatError, match=r"give a \.solverstate"):
        Solver("solver.prototxt", compat="wen2017").restore("snap_iter_15.caffemodel")


def test_prefix_without_folder_is_found_before_training(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    text = Path("solver.prototxt").read_text().replace('"snap"', '"nowhere/snap"')
    Path("solver.prototxt").write_text(text + "\nsnapshot: 5\n")
    with pytest.raises(SolverError, match="snapshot_prefix is 'nowhere/snap', but there is no folder 'nowhere'"):
        Solver("solver.prototxt", compat="wen2017")


def test_full_disk_keeps_the_old_snapshot_and_says_so_in_one_line(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    path = solver.snapshot()
    kept = {name: Path(name).read_bytes() for name in (path, "snap_iter_0.caffemodel")}
    solver.net.params["c1"][0].data.zero_()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    before = sorted(os.listdir())
    with pytest.raises(
        SolverError, match=r"iteration 0: no snapshot could be written: .*No space left on device"
    ) as caught:
        solver.snapshot()
    assert "\n" not in str(caught.value)
    assert {name: Path(name).read_bytes() for name in kept} == kept
    assert sorted(os.listdir()) == before


def test_a_second_run_into_the_same_prefix_is_refused(tmp_path, monkeypatch):
    copy_case("adam", tmp_path, monkeypatch)
    environment = {**os.environ, "PYTHONPATH": str(golden().parent.parent)}
    holder = (
        "import fcntl,sys; f=open('.snap.lock','a'); fcntl.lockf(f,fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        other.stdout.readline()
        with pytest.raises(SolverError, match="another run is writing snapshots to 'snap'"):
            Solver("solver.prototxt", compat="wen2017", max_iter=1).solve()
        other.communicate(timeout=60)
    Solver("solver.prototxt", compat="wen2017", max_iter=1).solve()


def test_what_a_killed_run_was_writing_goes_when_the_next_one_starts(tmp_path, monkeypatch):
    problem = Problem(tmp_path)
    monkeypatch.chdir(tmp_path)
    gone = [".small_iter_7.caffemodel.k3j_2abc.part", ".small_best_accuracy.json.abcdefgh.part"]
    kept = [".smaller_iter_7.caffemodel.k3j_2abc.part", ".notes.abcdefgh.part"]
    for name in gone + kept:
        problem.write(name, "half")
    Solver("solver.prototxt", max_iter=1).solve()
    assert not any((tmp_path / name).exists() for name in gone)
    assert all((tmp_path / name).exists() for name in kept)


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_disk_that_fills_up_anywhere_in_a_snapshot_leaves_the_earlier_one_whole(tmp_path, monkeypatch, form):
    """A quota on every file, from nothing upwards; the process goes on and the next snapshot is whole."""
    Problem(tmp_path)
    monkeypatch.chdir(tmp_path)
    with open("solver.prototxt", "a") as file:
        file.write(f"\nsnapshot_format: {form}\n")
    solver = Solver("solver.prototxt")
    path = solver.snapshot()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    sizes = sorted(len(before[name]) for name in before if name.startswith("small"))
    solver.net.params["ip1"][0].data.add_(1)
    for size in [0, 1, 500, sizes[0] - 1, sizes[1] - 1, sizes[2] - 1]:
        with quota(size), pytest.raises(SolverError, match=r"no snapshot could be written: small_iter_0\..*too large"):
            solver.snapshot()
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    solver.snapshot()
    resumed = Solver("solver.prototxt")
    resumed.restore(path)
    assert torch.equal(resumed.net.params["ip1"][0], solver.net.params["ip1"][0])


@pytest.mark.parametrize("fields", ["snapshot: 1", "snapshot: 0"], ids=["while it trains", "after it"])
def test_names_that_hdf5_cannot_hold_are_refused_before_training(tmp_path, monkeypatch, fields):
    problem = Problem(tmp_path)
    monkeypatch.chdir(tmp_path)
    problem.edit("solver.prototxt", "snapshot: 10", f"{fields}\nsnapshot_format: HDF5")
    problem.edit("net.prototxt", 'name: "conv1"', 'name: "conv/1"')
    before = sorted(path.name for path in tmp_path.iterdir())
    trained = []
    with pytest.raises(
        SolverError, match=r"snapshot_format is HDF5, but layer 'conv/1' cannot go into it, .*; take BINARYPROTO"
    ):
        Solver("solver.prototxt", callbacks=[Counted(trained)]).solve()
    assert not trained and sorted(path.name for path in tmp_path.iterdir()) == before


def test_names_that_hdf5_cannot_hold_matter_to_no_run_without_snapshots(tmp_path, monkeypatch):
    problem = Problem(tmp_path)
    monkeypatch.chdir(tmp_path)
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot_after_train: false\nsnapshot_format: HDF5")
    problem.edit("net.prototxt", 'name: "conv1"', 'name: "conv/1"')
    solver = Solver("solver.prototxt", max_iter=2)
    solver.solve()
    assert solver.iteration == 2


class Counted:
    """A callback that keeps every iteration that begins."""

    def __init__(self, seen):
        self.seen = seen

    def before_step(self, solver):
        self.seen.append(solver.iteration)


def test_a_run_that_stops_at_a_test_does_that_test_anew_on_the_same_data(tmp_path, monkeypatch):
    class Stop:
        def after_test(self, solver, results):
            if solver.iteration == 10:
                solver.request("stop")

    monkeypatch.chdir(tmp_path)
    problem = Problem(tmp_path)
    problem.edit("solver.prototxt", "test_iter: 4", "test_iter: 3")  # of the four batches that the data has
    problem.edit("solver.prototxt", "snapshot: 10", "snapshot: 0")
    straight = Solver("solver.prototxt")
    straight.solve()
    Solver("solver.prototxt", callbacks=[Stop()]).solve()
    resumed = Solver("solver.prototxt")
    resumed.solve("small_iter_10.solverstate")
    assert resumed.test_nets[0].layers["data"].cursor == straight.test_nets[0].layers["data"].cursor == 9
