"""Each mistake gets one line that says where it is and what to do, exit status 2, and no traceback."""

import errno
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.proto import files


def complaint(capsys, *words):
    """The one line that `caffe-compat WORDS` prints when it refuses."""
    assert main(list(words)) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert "Traceback" not in printed.err
    assert lines[-1].startswith("caffe-compat: ")
    assert not any(line.startswith("caffe-compat: ") for line in lines[:-1])
    return lines[-1].removeprefix("caffe-compat: ")


def test_a_misspelt_field_is_placed_and_the_nearest_is_named(problem, capsys):
    problem.edit("net.prototxt", 'name: "ip1" type:', 'name: "ip1" typ:')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "net.prototxt:10:21: " in found
    assert "'typ'" in found and "did you mean 'type'?" in found


def test_a_misspelt_type_names_the_layer_and_the_nearest_type(problem, capsys):
    problem.edit("net.prototxt", "InnerProduct", "InerProduct")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'ip1'" in found and "'InerProduct'" in found and "did you mean 'InnerProduct'?" in found


def test_a_misspelt_solver_field_is_placed(problem, capsys):
    problem.edit("solver.prototxt", "momentum:", "momentm:")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "solver.prototxt:9:1: " in found and "did you mean 'momentum'?" in found


def test_a_bottom_that_nobody_makes_is_named_with_its_layer(problem, capsys):
    problem.edit("net.prototxt", 'bottom: "conv2" top: "ip1"', 'bottom: "conv3" top: "ip1"')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'ip1'" in found and "'conv3'" in found


def test_a_top_made_twice_is_named(problem, capsys):
    problem.edit("net.prototxt", 'bottom: "conv1" top: "conv2"', 'bottom: "conv1" top: "data"')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'conv2'" in found and "'data'" in found


def test_include_and_exclude_together_are_refused(problem, capsys):
    problem.edit("net.prototxt", "include { phase: TEST }", "include { phase: TEST } exclude { stage: 'x' }")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'accuracy'" in found and "include" in found and "exclude" in found


def test_weights_of_another_shape_name_the_layer_both_shapes_and_the_remedy(problem, capsys):
    shapes = {"conv1": [(6, 1, 3, 3), (6,)], "ip1": [(1000, 80), (1000,)]}
    weights = {name: tuple(np.zeros(shape, np.float32) for shape in each) for name, each in shapes.items()}
    cc.write_net("other.caffemodel", cc.read_net("net.prototxt"), weights)
    found = complaint(capsys, "solve", "solver.prototxt", "--weights", "other.caffemodel")
    assert "'ip1'" in found and "(1000, 80)" in found and "(2, 80)" in found and "rename the layer" in found


def test_a_truncated_caffemodel_is_named(problem, capsys):
    cc.write_net("whole.caffemodel", cc.read_net("net.prototxt"), {"conv1": (np.ones((6, 1, 3, 3), np.float32),)})
    whole = (problem.folder / "whole.caffemodel").read_bytes()
    (problem.folder / "cut.caffemodel").write_bytes(whole[:-50])
    found = complaint(capsys, "solve", "solver.prototxt", "--weights", "cut.caffemodel")
    assert "cut.caffemodel" in found


def test_a_missing_solver_is_named(problem, capsys):
    assert "absent.prototxt" in complaint(capsys, "solve", "absent.prototxt")


def test_missing_weights_are_named(problem, capsys):
    assert "absent.caffemodel" in complaint(capsys, "solve", "solver.prototxt", "-weights", "absent.caffemodel")


def test_a_missing_lmdb_is_named_with_its_layer(problem, capsys):
    problem.edit("net.prototxt", 'type: "HDF5Data"', 'type: "Data"')
    problem.edit("net.prototxt", "hdf5_data_param", "data_param")
    problem.edit("net.prototxt", '"list.txt" batch_size: 10', '"absent_lmdb" batch_size: 10 backend: LMDB')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "absent_lmdb" in found


def test_a_label_outside_the_range_is_said(problem, capsys):
    with h5py.File("data.h5", "r+") as file:
        file["label"][7] = 2
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "label" in found and "holds 2, wanted 0 to 1" in found


@pytest.mark.parametrize(
    ("field", "allowed"),
    [
        ('force_type: "Gravitation"', "Gravity"),
        ('force_direction: "sames"', "same"),
        ('force_decay_type: "adaptiv"', "adaptive"),
        ('type: "Adamm"', "Adam"),
        ('regularization_type: "L3"', "L2"),
    ],
)
def test_an_unknown_word_in_the_solver_is_answered_with_the_allowed_ones(problem, capsys, field, allowed):
    problem.edit("solver.prototxt", "momentum: 0.9", f"momentum: 0.9 force_decay: 0.1 {field}")
    found = complaint(capsys, "solve", "solver.prototxt")
    name, word = field.replace('"', "").split(": ")
    assert "solver.prototxt" in found and name in found and word in found and allowed in found


def test_an_unknown_lr_policy_is_answered_with_the_allowed_ones(problem, capsys):
    problem.edit("solver.prototxt", '"step"', '"stepwise"')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "lr_policy is 'stepwise'; did you mean 'step'?" in found and "multistep" in found


def test_an_unknown_force_is_answered_with_the_allowed_ones(problem, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["solve", "solver.prototxt", "--force", "l3"])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert "'l3'" in printed and "'l1'" in printed and printed.count("\n") == 1


def test_force_with_nothing_to_force_is_refused(problem, capsys):
    text = (problem.folder / "net.prototxt").read_text()
    problem.write("net.prototxt", text.replace('name: "conv', 'param { force_mult: 0 } name: "conv'))
    found = complaint(capsys, "solve", "solver.prototxt", "--force", "l1")
    assert "force_mult" in found and "force_layers" in found


def test_a_layer_to_force_that_is_not_there_is_named_with_the_nearest(problem, capsys):
    found = complaint(capsys, "solve", "solver.prototxt", "--force", "l1", "--force-layers", "conv1,covn2")
    assert "'covn2'" in found and "did you mean 'conv2'?" in found


def test_nan_loss_stops_with_the_iteration_and_keeps_a_snapshot(problem, capsys):
    with h5py.File("data.h5", "r+") as file:
        file["data"][23] = np.nan  # batch 2, so that iterations 0 and 1 pass
    problem.edit("solver.prototxt", "test_interval: 10", "test_interval: 10 test_initialization: false")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "iteration 2" in found and "nan" in found
    assert (problem.folder / "small_iter_2.solverstate").exists()


def test_snapshot_with_weights_is_refused(problem, capsys):
    found = complaint(capsys, "train", "-solver", "solver.prototxt", "-snapshot", "a.solverstate", "-weights", "b")
    assert "--snapshot" in found and "--weights" in found


def test_a_missing_snapshot_is_named(problem, capsys):
    assert "absent.solverstate" in complaint(capsys, "solve", "solver.prototxt", "--snapshot", "absent.solverstate")


def test_a_folder_for_snapshots_that_is_not_there_is_found_before_training(problem, capsys):
    problem.edit("solver.prototxt", '"small"', '"nowhere/small"')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "snapshot_prefix" in found and "nowhere" in found


def test_a_full_disk_leaves_the_earlier_snapshot_whole(problem, capsys, monkeypatch):
    assert main(["solve", "solver.prototxt", "--max-iter", "10"]) == 0
    before = {path.name: path.read_bytes() for path in problem.folder.glob("small_iter_10.*")}
    assert {"small_iter_10.caffemodel", "small_iter_10.solverstate"} <= before.keys()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    capsys.readouterr()
    found = complaint(capsys, "solve", "solver.prototxt", "--max-iter", "10")
    assert "iteration 10" in found and "No space left on device" in found
    assert {path.name: path.read_bytes() for path in problem.folder.glob("small_iter_10.*")} == before
    assert not [path for path in problem.folder.iterdir() if "small_iter" in path.name and path.name not in before]


def test_a_gpu_that_is_not_there_is_refused(problem, capsys):
    found = complaint(capsys, "test", "-model", "net.prototxt", "-weights", "x", "-gpu", "99")
    assert "99" in found and "--device cpu" in found


def test_two_gpus_are_refused(problem, capsys):
    assert "one GPU" in complaint(capsys, "solve", "solver.prototxt", "-gpu", "0,1")


def test_no_solver_is_asked_for(problem, capsys):
    assert "--solver" in complaint(capsys, "solve")


def test_a_test_without_weights_is_refused(problem, capsys):
    assert "--weights" in complaint(capsys, "test", "net.prototxt")


@pytest.mark.parametrize("verb", ["test", "time"])
def test_no_iterations_are_refused(problem, capsys, verb):
    words = ["-weights", "x"] if verb == "test" else []
    assert "--iterations 0" in complaint(capsys, verb, "net.prototxt", "-iterations", "0", *words)


def test_patience_without_an_output_is_refused(problem, capsys):
    assert "--keep-best" in complaint(capsys, "solve", "solver.prototxt", "--patience", "3")


def test_an_output_to_keep_that_is_not_there_is_refused(problem, capsys):
    assert "accurracy" in complaint(capsys, "solve", "solver.prototxt", "--keep-best", "accurracy")


def train_net_alone(problem):
    problem.edit("solver.prototxt", 'net: "net.prototxt"', 'train_net: "net.prototxt"')


def test_tests_without_their_batches_are_refused(problem, capsys):
    problem.edit("solver.prototxt", "test_iter: 4", "")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "solver.prototxt: test_interval is 10, but test_iter is missing" in found


def test_an_interval_of_tests_without_a_test_net_is_refused(problem, capsys):
    train_net_alone(problem)
    problem.edit("solver.prototxt", "test_iter: 4", "")
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "test_interval is 10, but there is no test net; name it as test_net" in found


def test_batches_of_tests_without_a_test_net_are_refused(problem, capsys):
    train_net_alone(problem)
    assert "test_iter is given, but there is no test net" in complaint(capsys, "solve", "solver.prototxt")


def test_a_test_net_without_its_batches_is_refused(problem, capsys):
    problem.edit("solver.prototxt", 'net: "net.prototxt"', 'train_net: "net.prototxt" test_net: "net.prototxt"')
    problem.edit("solver.prototxt", "test_iter: 4", "test_iter: 4 test_iter: 4")
    assert "test_iter is given 2 times; wanted once for each of 1" in complaint(capsys, "solve", "solver.prototxt")


def test_a_stage_that_leaves_a_needed_layer_out_is_said_with_that_layer(problem, capsys):
    problem.edit("net.prototxt", 'name: "conv1" type', 'include { stage: "deep" } name: "conv1" type')
    problem.edit("solver.prototxt", "test_iter", 'train_state { stage: "flat" } test_iter')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'relu1'" in found and "layer 'conv1' does, but its include or exclude rules leave it out" in found


def test_a_stage_that_leaves_the_loss_out_is_refused(problem, capsys):
    problem.edit("net.prototxt", 'name: "loss" type', 'include { stage: "deep" } name: "loss" type')
    problem.edit("solver.prototxt", "test_iter", 'train_state { stage: "flat" } test_iter')
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "net 'Small' has no loss to train with in phase TRAIN and stages flat" in found and "'loss'" in found


def test_a_stage_that_no_rule_names_is_warned_of(problem, capsys):
    problem.edit("net.prototxt", "phase: TEST", 'phase: TEST stage: "scored"')
    problem.edit("solver.prototxt", "test_iter", 'test_state { stage: "scorred" } test_iter')
    assert main(["solve", "solver.prototxt", "--max-iter", "1"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W")]
    assert len(warnings) == 1
    assert (
        "Stage 'scorred' is named by no include or exclude rule of net 'Small'; its rules name: scored" in warnings[0]
    )


MORE = """
layer { name: "scale" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }"""


@pytest.fixture
def snapshot(problem, capsys):
    """A snapshot of iteration 10."""
    assert main(["solve", "solver.prototxt", "--max-iter", "10"]) == 0
    capsys.readouterr()
    return problem.folder / "small_iter_10.solverstate"


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_solverstate_is_named(problem, snapshot, capsys, kept):
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[: int(kept * len(whole))])
    assert "small_iter_10.solverstate" in complaint(capsys, "solve", "solver.prototxt", "--snapshot", snapshot.name)


def test_a_solverstate_of_noise_is_named(problem, snapshot, capsys):
    snapshot.write_bytes(np.random.RandomState(0).bytes(5000))
    assert "small_iter_10.solverstate" in complaint(capsys, "solve", "solver.prototxt", "--snapshot", snapshot.name)


def test_a_truncated_hdf5_solverstate_is_named(problem, capsys):
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 10 snapshot_format: HDF5")
    assert main(["solve", "solver.prototxt"]) == 0
    capsys.readouterr()
    state = problem.folder / "small_iter_10.solverstate.h5"
    state.write_bytes(state.read_bytes()[:700])
    assert "small_iter_10.solverstate.h5" in complaint(capsys, "solve", "solver.prototxt", "--snapshot", state.name)


def test_resuming_with_another_net_is_refused(problem, snapshot, capsys):
    problem.edit("net.prototxt", "num_output: 5", "num_output: 4")
    found = complaint(capsys, "solve", "solver.prototxt", "--snapshot", snapshot.name)
    assert "history blob 2 is (5, 6, 3, 3), but this net has (4, 6, 3, 3)" in found and "resume with the net" in found


def test_resuming_with_a_layer_more_is_refused(problem, snapshot, capsys):
    problem.edit("net.prototxt", 'bottom: "conv1" top: "conv1" }', 'bottom: "conv1" top: "conv1" }' + MORE)
    found = complaint(capsys, "solve", "solver.prototxt", "--snapshot", snapshot.name)
    assert "6 history blobs, but this net with type SGD has 8" in found


def test_two_runs_into_one_prefix_are_refused(problem, capsys):
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 100000000")
    command = [sys.executable, "-m", "caffe_compat", "solve", "solver.prototxt", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=problem.folder) as other:
        next(line for line in other.stderr if "Iteration 5, loss" in line)
        found = complaint(capsys, "solve", "solver.prototxt")
        other.kill()
    assert "another run is writing snapshots to 'small'" in found and "another prefix" in found


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("base_lr: -1", "base_lr"),
        ("momentum: 1.5", "momentum"),
        ("weight_decay: -1", "weight_decay"),
        ("max_iter: -1", "max_iter"),
        ("display: -1", "display"),
        ("snapshot: -1", "snapshot"),
        ("stepsize: 0", "stepsize"),
        ("test_iter: 0", "test_iter"),
        ("test_interval: -1", "test_interval"),
        ("iter_size: 0", "iter_size"),
        ("average_loss: 0", "average_loss"),
        ("base_lr: nan", "base_lr"),
        ("force_iter: -2", "force_iter"),
    ],
)
def test_a_number_out_of_range_is_named_with_what_was_wanted(problem, capsys, field, wanted):
    name = field.split(":")[0]
    lines = (problem.folder / "solver.prototxt").read_text().splitlines()
    problem.write("solver.prototxt", "\n".join([*(line for line in lines if not line.startswith(f"{name}:")), field]))
    found = complaint(capsys, "solve", "solver.prototxt")
    assert f"solver.prototxt: {wanted} is " in found and "want" in found


def test_a_deploy_net_given_to_test_is_called_that_with_what_helps(problem, capsys):
    cc.write_model(cc.deploy(cc.read_model("net.prototxt"), shapes={"data": (1, 1, 8, 8)}), "deploy.prototxt")
    found = complaint(capsys, "test", "deploy.prototxt", "--weights", "x")
    assert "deploy.prototxt: is a deploy net: its inputs (data)" in found
    assert "caffe-compat classify --model deploy.prototxt" in found


def test_a_training_net_given_to_export_is_called_that_with_the_command_that_helps(problem, capsys):
    pytest.importorskip("onnx")
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    found = complaint(capsys, "export", "net.prototxt", "w.caffemodel", "--out", "x.onnx")
    assert "this is a net for training: caffe-compat deploy NET --weights WEIGHTS --out deploy.prototxt" in found


@pytest.mark.parametrize("out", ["x.onnx", "x.pt2"])
def test_so_is_one_whose_data_is_not_here(problem, capsys, out):
    if out.endswith("onnx"):
        pytest.importorskip("onnx")
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    source = net.param.layer[0].hdf5_data_param.source
    problem.edit("net.prototxt", source, "gone")
    found = complaint(capsys, "export", "net.prototxt", "w.caffemodel", "--out", out)
    assert "'gone'" in found or "gone: " in found
    assert "a net for training, export what caffe-compat deploy net.prototxt --weights w.caffemodel" in found


def test_a_net_given_to_solve_is_called_that(problem, capsys):
    assert "it is a field of a net: is this the right file?" in complaint(capsys, "solve", "net.prototxt")


def test_a_strength_without_a_force_says_to_add_the_force(problem, capsys):
    found = complaint(capsys, "solve", "solver.prototxt", "--force-decay", "0.1")
    assert "say which force with `--force l1`" in found


def test_copies_that_caffe_makes_of_a_blob_have_its_name_in_messages(problem, capsys):
    with h5py.File("data.h5", "r+") as file:
        file["label"][3] = 7
    found = complaint(capsys, "solve", "solver.prototxt")
    assert "'label' holds 7" in found and "_split_" not in found


def test_an_unknown_blob_gets_the_nearest_names_not_all(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    words = ["data", "extract", "w.caffemodel", "net.prototxt"]
    assert complaint(capsys, *words, "cnv1", "db", "1", "lmdb").endswith("no blob 'cnv1'; did you mean 'conv1'?")
    far = complaint(capsys, *words, "zzzz", "db", "1", "lmdb")
    assert far.endswith("it has: data, label, conv1, conv2, ip1, accuracy, loss")


def test_a_net_without_layers_is_refused_by_whatever_shows_or_writes_it(problem, capsys):
    cc.write_net("w.caffemodel", cc.read_net("net.prototxt"), {"ip1": (np.zeros((2, 80), np.float32),)})
    problem.write("empty.prototxt", "")
    problem.write("words.prototxt", "# nothing but words\n")
    before = set(problem.folder.iterdir())
    for name, told in (("empty", "the file is empty; copy or"), ("words", "the net has no layers; is this the right")):
        net = f"{name}.prototxt"
        for verb in ("show", "deploy", "time", "upgrade"):
            assert f"{net}: {told}" in complaint(capsys, verb, net, *(["new.prototxt"] if verb == "upgrade" else []))
        for words in (["decompose", "--keep", "0.9"], ["export", "--out", "o.onnx"], ["groups", "split"], ["sparsity"]):
            places = 2 if words[0] == "groups" else 1
            assert f"{net}: {told}" in complaint(capsys, *words[:places], net, "w.caffemodel", *words[places:])
    assert set(problem.folder.iterdir()) == before
