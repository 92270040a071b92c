"""TensorBoard's event files, read back with tensorboard's own reader."""

import json
import logging

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from tests.commands.conftest import problem  # noqa: F401 - a fixture

pytest.importorskip("tensorboard")


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(found, tag):
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_a_run_writes_what_its_journal_has(problem):  # noqa: F811
    assert main(["solve", "solver.prototxt", "--force", "l1", "--threads", "1", "--tensorboard", "board"]) == 0
    found = events("board")
    journal = [json.loads(line) for line in (problem.folder / "small.jsonl").read_text().splitlines()]
    steps = [line for line in journal if line["event"] == "step"]
    assert [step for step, _ in scalars(found, "loss")] == [0, 5, 10, 15]
    np.testing.assert_allclose([v for _, v in scalars(found, "loss")], [line["loss"] for line in steps], rtol=1e-6)
    rates = [line["lr"] for line in steps]
    np.testing.assert_allclose([v for _, v in scalars(found, "learning_rate")], rates, rtol=1e-6)
    tests = [(line["iteration"], line["outputs"]["accuracy"]) for line in journal if line["event"] == "test"]
    np.testing.assert_allclose(scalars(found, "test/accuracy"), tests, rtol=1e-6)
    ranks = [(line["iteration"], line["ranks"]["conv1"]) for line in journal if line["event"] == "ranks"]
    assert scalars(found, "rank/conv1") == ranks
    assert sorted(found.Tags()["histograms"]) == ["angle/conv1", "angle/conv2"]
    last = found.Histograms("angle/conv1")[-1].histogram_value
    assert last.num == 6 * 5 / 2 and 0 <= last.min <= last.max <= 180


def test_a_run_that_goes_on_hides_what_came_after_its_snapshot(problem):  # noqa: F811
    words = ["solve", "solver.prototxt", "--threads", "1", "--tensorboard", "board"]
    assert main(words) == 0
    assert main([*words, "--snapshot", "small_iter_10.solverstate"]) == 0
    found = scalars(events("board"), "loss")
    assert [step for step, _ in found] == [0, 5, 10, 15]


def test_what_is_no_folder_is_refused_before_training(problem, capsys):  # noqa: F811
    assert main(["solve", "solver.prototxt", "--tensorboard", "net.prototxt"]) == 2
    assert "net.prototxt: is no folder; TensorBoard's event files need one" in capsys.readouterr().err
    assert not list(problem.folder.glob("small*"))


def test_where_nothing_can_be_written_training_goes_on(problem, caplog):  # noqa: F811
    class Full:
        def __init__(self, *_, **__):
            raise OSError(28, "No space left on device")

    board = cc.TensorBoardLog("board", rank=len)
    board._writer_class = Full
    solver = cc.Solver("solver.prototxt", callbacks=[board])
    with caplog.at_level(logging.WARNING):
        solver.step(12)
    told = [each for each in caplog.messages if "TensorBoard" in each]
    assert told == ["board cannot be written (No space left on device); training goes on without TensorBoard"]
    assert solver.iteration == 12


def test_outputs_of_several_values_and_second_nets_have_tags_of_their_own(problem):  # noqa: F811
    board = cc.TensorBoardLog("board", rank=len)
    solver = cc.Solver("solver.prototxt")
    board.after_test(solver, [{"accuracy": 0.5}, {"per_class": np.array([0.25, 0.75])}])
    board.close()
    found = events("board")
    assert scalars(found, "test/accuracy") == [(0, 0.5)]
    assert [scalars(found, f"test_1/per_class/{i}") for i in (0, 1)] == [[(0, 0.25)], [(0, 0.75)]]


def test_angles_are_those_of_a_loop_over_pairs():
    from caffe_compat.solver.filters import pair_angles

    bank = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])  # the last has no direction
    assert pair_angles(bank).tolist() == [90.0, 180.0, 90.0]
    assert pair_angles(bank[:1]).tolist() == []
