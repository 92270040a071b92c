"""`shrink` trains with force, decomposes and fine-tunes, and goes on where it was broken off."""

import json
import logging
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

import caffe_compat as cc


@pytest.fixture
def shrunk(problem):
    return cc.shrink("solver.prototxt", out="out", force="l1", keep=0.8, fine_tune_iter=9)


def test_every_stage_stands_in_the_table_with_its_accuracy_ranks_costs_and_time(shrunk):
    assert [stage.name for stage in shrunk.stages] == ["after force", "decomposed", "fine-tuned"]
    table = str(shrunk).splitlines()
    assert table[0].split() == [
        "stage", "accuracy", "loss", "ranks", "multiply-adds", "fewer", "parameters", "fewer", "ms", "spread", "faster"
    ]  # fmt: skip
    assert [line.split("  ")[0] for line in table[1:4]] == ["after force", "decomposed", "fine-tuned"]
    for stage in shrunk.stages:
        assert 0.5 <= stage.scores["accuracy"] <= 1
        assert stage.milliseconds > 0


def test_costs_are_those_of_the_written_nets(shrunk, problem):
    shapes = {"data": (10, 1, 8, 8), "label": (10,)}
    cost = cc.compare_cost(cc.read_model("out/net.prototxt"), shrunk.model(), shapes)
    assert shrunk.stages[0].multiply_adds == cost.before.multiply_adds
    assert shrunk.stages[-1].multiply_adds == cost.after.multiply_adds
    assert shrunk.stages[-1].parameters == cost.after.parameters


def test_the_decomposed_net_is_decompose_of_the_forced_one_at_the_kept_energy(shrunk):
    forced = cc.read_model("out/net.prototxt", "out/forced.caffemodel")
    ranks = cc.ranks_by_energy(forced, 0.8)
    assert shrunk.stages[0].ranks == ranks
    wanted = cc.decompose(forced, {name: rank for name, rank in ranks.items() if shrunk.stages[1].ranks[name]})
    written = cc.read_model("out/decomposed.prototxt", "out/decomposed.caffemodel")
    assert written.net == wanted.net
    for name, blobs in wanted.weights.items():
        for blob, same in zip(blobs, written.weights[name], strict=True):
            np.testing.assert_array_equal(blob, same)


def test_fine_tuning_changes_the_weights_and_not_the_net(shrunk):
    before = cc.read_model("out/decomposed.prototxt", "out/decomposed.caffemodel")
    after = shrunk.model()
    assert after.net == before.net
    assert any((after.weights[name][0] != blobs[0]).any() for name, blobs in before.weights.items())


def test_a_layer_above_break_even_stays_dense(problem):
    net = cc.read_net("net.prototxt")
    weights = cc.Net(net).weights()
    random = np.random.default_rng(0)
    conv1 = np.linalg.qr(random.standard_normal((9, 6)))[0].T.reshape(6, 1, 3, 3)  # every direction has a sixth
    conv2 = (random.standard_normal((5, 2)) @ random.standard_normal((2, 54))).reshape(5, 6, 3, 3)
    given = {"conv1": (conv1, weights["conv1"][1]), "conv2": (conv2, weights["conv2"][1]), "ip1": weights["ip1"]}
    cc.write_model(cc.Model(net, given), "net.prototxt", "start.caffemodel")
    made = cc.shrink("solver.prototxt", "start.caffemodel", "out", force="none", keep=0.95, fine_tune_iter=0)
    assert made.stages[0].ranks == {"conv1": 6, "conv2": 2}  # break-even is at 3.6 and 4.6
    assert made.stages[1].ranks == {"conv1": None, "conv2": 2}
    assert [layer.name for layer in made.model().net.layer if layer.type == "Convolution"] == [
        "conv1", "conv2_lowrank", "conv2_linear"
    ]  # fmt: skip
    assert "[]-2" in str(made)


def test_the_same_call_finds_every_finished_step(shrunk, monkeypatch):
    monkeypatch.setattr(cc.Solver, "step", lambda *_: pytest.fail("trains again"))
    again = cc.shrink("solver.prototxt", out="out", force="l1", keep=0.8, fine_tune_iter=9)
    assert again == shrunk


def test_a_run_that_was_stopped_goes_on_from_its_snapshot_to_the_same_weights(problem, shrunk):
    class StopAt15:
        def after_step(self, solver):
            if solver.iteration == 15:
                solver.request("stop")

    @contextmanager
    def stopping(solver):
        solver.callbacks.append(StopAt15())
        yield

    with pytest.raises(KeyboardInterrupt):
        cc.shrink("solver.prototxt", out="two", force="l1", keep=0.8, fine_tune_iter=9, around=stopping)
    assert (problem.folder / "two" / "forced_iter_15.solverstate").exists()
    again = cc.shrink("solver.prototxt", out="two", force="l1", keep=0.8, fine_tune_iter=9)
    for name, blobs in shrunk.model().weights.items():
        for blob, same in zip(blobs, again.model().weights[name], strict=True):
            np.testing.assert_array_equal(blob, same)


def test_another_rank_keeps_the_training_once_the_later_steps_are_removed(shrunk, problem):
    with pytest.raises(
        cc.SolverError, match=r"keep 0.8, now keep is 0.7; .*remove decomposed\*, finetuned\*, timed\*, deployed\*"
    ):
        cc.shrink("solver.prototxt", out="out", force="l1", keep=0.7, fine_tune_iter=9)
    for step in ("decomposed", "finetuned", "timed", "deployed"):
        for path in (problem.folder / "out").glob(f"{step}*"):
            path.unlink()
    made = cc.shrink("solver.prototxt", out="out", force="l1", keep=0.7, fine_tune_iter=9)
    assert made.stages[0].scores == shrunk.stages[0].scores
    assert made.stages[1].multiply_adds < shrunk.stages[1].multiply_adds


def test_another_force_is_refused(shrunk):
    with pytest.raises(cc.SolverError, match="step 'forced' was made with force l1, now force is l2"):
        cc.shrink("solver.prototxt", out="out", force="l2", keep=0.8, fine_tune_iter=9)


def test_without_force_given_weights_are_decomposed_at_ranks_in_the_nets_order(shrunk):
    made = cc.shrink("solver.prototxt", "out/forced.caffemodel", "three", force="none", ranks=[2, 3], fine_tune_iter=3)
    assert [stage.name for stage in made.stages] == ["before", "decomposed", "fine-tuned"]
    assert made.stages[1].ranks == {"conv1": 2, "conv2": 3}
    assert made.stages[0].scores["accuracy"] == shrunk.stages[0].scores["accuracy"]


def test_a_net_beside_its_solver_is_found_from_another_folder(problem, tmp_path_factory, monkeypatch):
    problem.edit("list.txt", "data.h5", str(problem.folder / "data.h5"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    made = cc.shrink(problem.folder / "solver.prototxt", out="out", force="l1", keep=0.8, fine_tune_iter=2, max_iter=2)
    assert made.stages[-1].scores


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "sets no force_decay; give a force"),
        ({"force": "none"}, "no weights are given"),
        ({"force": "l1", "weights": "no.caffemodel"}, "no.caffemodel: no such file"),
        ({"force": "l1", "keep": 1.0, "max_iter": 1}, "no layer's rank is below break-even"),
        ({"force": "l1", "method": "cp", "max_iter": 1}, "keep has no rule for method 'cp'"),
    ],
)
def test_what_cannot_be_done_is_one_line(problem, options, message):
    with pytest.raises(cc.CaffeCompatError, match=message) as caught:
        cc.shrink("solver.prototxt", out="out", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", [b"", b"this is text", b"\x08\x05"], ids=["empty", "text", "a state"])
def test_a_call_that_is_refused_leaves_nothing_and_the_next_may_have_its_folder(problem, shrunk, weights):
    (problem.folder / "bad.caffemodel").write_bytes(weights)
    options = {"out": "new/er", "force": "none", "ranks": {"conv2": 2}, "fine_tune_iter": 0}
    with pytest.raises(cc.CaffeCompatError):
        cc.shrink("solver.prototxt", "bad.caffemodel", **options)
    assert not (problem.folder / "new" / "er").exists()
    made = cc.shrink("solver.prototxt", "out/forced.caffemodel", **options)
    with pytest.raises(cc.SolverError, match=r"'start' was made with weights"):
        cc.shrink("solver.prototxt", "bad.caffemodel", **options)
    assert cc.shrink("solver.prototxt", "out/forced.caffemodel", **options) == made


def test_a_last_snapshot_that_is_torn_is_passed_over(problem, shrunk, caplog):
    caplog.set_level(logging.INFO)
    torn = problem.folder / shutil.copytree("out", "torn")
    record = json.loads((torn / "forced.json").read_text())
    (torn / "forced.json").write_text(json.dumps({**record, "facts": None}))  # as of a run that was killed
    trained = (torn / "forced.caffemodel").read_bytes()
    (torn / "forced.caffemodel").unlink()
    earlier, last = sorted(torn.glob("forced_iter_*.caffemodel"))
    last.write_bytes(last.read_bytes()[:100])
    cc.shrink("solver.prototxt", out="torn", force="l1", keep=0.8, fine_tune_iter=9)
    state = earlier.with_suffix(".solverstate").name
    assert "Passing over" in caplog.text and f"Resuming from torn/{state}" in caplog.text
    assert (torn / "forced.caffemodel").read_bytes() == trained


def test_what_is_deployed_computes_what_the_last_stage_does(shrunk, problem):
    names = [path.name for path in shrunk.deployed]
    assert names[:2] == ["deploy.prototxt", "deploy.caffemodel"]
    images = np.random.default_rng(0).standard_normal((10, 1, 8, 8)).astype(np.float32)
    small = shrunk.model()
    scores = cc.Net(small).blobs(data=images, label=np.zeros(10, np.float32))["ip1"].detach().numpy()
    deployed = cc.Net(cc.read_model(*shrunk.deployed[:2]), input_shapes={"data": (10, 1, 8, 8)})
    found = deployed(data=images)["prob"].detach().numpy()
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7)
    if len(names) == 3:
        assert max(cc.check_onnx(shrunk.deployed[2], cc.read_model(*shrunk.deployed[:2])).values()) < 1e-5


def scores(made):
    return made.stages[-1].scores


def test_nets_given_in_the_solver_or_apart_for_tests_shrink_as_one_net_does(shrunk, problem):
    net = (problem.folder / "net.prototxt").read_text()
    apart = 'train_net: "train.prototxt" test_net: "test.prototxt"'
    rule = " include { phase: TEST }"
    layers = [line for line in net.replace(rule, "").splitlines() if "Accuracy" not in line]
    problem.write("train.prototxt", "\n".join(layers))
    problem.write("test.prototxt", net.replace(rule, "").replace('weight_filler { type: "xavier" }', ""))
    for folder, fields in (("apart", apart), ("inside", f"net_param {{ {net} }}")):
        problem.write("other.prototxt", (problem.folder / "solver.prototxt").read_text().replace(
            'net: "net.prototxt"', fields))  # fmt: skip
        made = cc.shrink("other.prototxt", out=folder, force="l1", keep=0.8, fine_tune_iter=9)
        assert made.model().net == shrunk.model().net
        assert scores(made) == scores(shrunk)


@pytest.mark.parametrize(
    "fields, found",
    [
        ("", "found none"),
        ('train_net: "net.prototxt"' + 2 * ' test_net: "net.prototxt"', "found 1 train_net and 2 test_net"),
        ('net: "net.prototxt" test_net: "net.prototxt"', "net and test_net: give train_net and test_net"),
    ],
)  # fmt: skip
def test_a_solver_with_no_net_or_with_several_is_refused(problem, fields, found):
    problem.edit("solver.prototxt", 'net: "net.prototxt"', fields)
    with pytest.raises(cc.SolverError, match=found):
        cc.shrink("solver.prototxt", out="out", force="l1")
