"""A strength is chosen on held-out images by the rule that was written down, once, and the choice travels."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.data.datum import parse_datum
from caffe_compat.data.lmdb import LMDB
from caffe_compat.data.transform import read_mean
from reproductions import choosing, datasets
from reproductions.choosing import Candidate, choose
from reproductions.convnet import published
from reproductions.convnet.run import NETWORK
from reproductions.measures import unfinished_run
from reproductions.runner import Runner
from reproductions.steps import Place, StepError

pytest.importorskip("lmdb")
NAME = "l1-chosen-240k"


def candidates(**errors):
    """Candidates from keyword names s0, s1, ...: the strength in units of 1e-4 and the error."""
    return [Candidate(name, int(name[1:]) * 1e-4, error) for name, error in errors.items()]


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        ({"s0": 20.0, "s1": 20.1, "s2": 20.5, "s3": 20.6}, "s2"),  # at most half a point counts as none
        ({"s3": 20.6, "s2": 20.5, "s1": 20.1, "s0": 20.0}, "s2"),  # in any order
        ({"s0": 20.0, "s1": 20.9, "s2": 20.2, "s3": 20.6}, "s2"),  # a weaker one may be worse by chance
        ({"s0": 20.0, "s1": 20.7, "s2": 21.5}, "s1"),  # none is near: the weakest
        ({"s0": 20.0, "s1": 19.0, "s2": 18.0}, "s2"),
        ({"s0": 20.1, "s1": 20.6}, "s1"),  # 20.6 - 20.1 is above 0.5 in floating point
    ],
)
def test_the_strongest_without_loss_is_chosen_else_the_weakest(errors, wanted):
    assert choose(candidates(**errors), 0.5).name == wanted


@pytest.mark.parametrize("errors", [{"s1": 20.0, "s2": 21.0}, {"s0": 20.0}, {}])
def test_without_a_run_to_compare_with_nothing_is_chosen(errors):
    with pytest.raises(StepError, match="one run without force and others with it"):
        choose(candidates(**errors), 0.5)


@pytest.fixture
def runner(tmp_path):
    """A place with finished candidates that were never trained: their last tests and final weights stand there."""
    network = replace(NETWORK, name=str(tmp_path / "net"))  # an absolute name is a folder outside the project
    shutil.copytree(NETWORK.folder, network.folder, ignore=shutil.ignore_patterns("run", "checkpoints", "__pycache__"))
    made = Runner(network, Place(tmp_path / "work"))
    (tmp_path / "work" / "data").mkdir(parents=True)
    for name in network.databases:
        (tmp_path / "work" / "data" / name).touch()
    errors = (0.22, 0.221, 0.224, 0.226, 0.24)
    for name, error in zip(network.step(NAME).chosen.among, errors, strict=True):
        step = network.step(name)
        folder = made.folder(step)
        folder.mkdir()
        lines = [(1000, 0.2), (made.iterations(step), 1 - error)]
        events = [{"event": "test", "iteration": at, "outputs": {"accuracy": value}} for at, value in lines]
        (folder / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        made.weights(step).touch()
    return made


def test_the_choice_becomes_the_steps_strength_and_stays(runner):
    step = runner.network.step(NAME)
    assert runner.solver(step).force_decay == 0 and unfinished_run(runner, step).force_decay == 0
    assert [each.name for each in runner.needs(step)] == list(step.chosen.among)
    runner.prepare(step)
    written = cc.read_solver(runner.folder(step) / "solver.prototxt")
    assert (written.force_type, written.force_decay) == ("Constant", pytest.approx(1.5e-4))
    assert runner.needs(step) == [] and unfinished_run(runner, step).force_decay == 1.5e-4
    kept = json.loads((runner.folder(step) / choosing.FILE).read_text())
    assert [each["error"] for each in kept["among"]] == [22.0, 22.1, 22.4, 22.6, 24.0] and "0.5 points" in kept["rule"]
    for name in step.chosen.among:  # a choice once made does not hang on its candidates' folders
        shutil.rmtree(runner.folder(runner.network.step(name)))
    runner.prepare(step)
    assert runner.solver(step).force_decay == pytest.approx(1.5e-4)


def test_a_choice_goes_with_the_checkpoint(runner, tmp_path):
    step = runner.network.step(NAME)
    runner.prepare(step)
    shutil.copytree(runner.folder(step), runner.checkpoint(step), symlinks=True)
    other = Runner(runner.network, Place(tmp_path / "other"))
    assert other.needs(step) == [] and other.solver(step).force_decay == pytest.approx(1.5e-4)


def test_a_candidate_without_its_last_test_is_told(runner):
    step = runner.network.step(NAME)
    first = runner.folder(runner.network.step(step.chosen.among[0])) / "run.jsonl"
    first.write_text(first.read_text().splitlines()[0] + "\n")
    with pytest.raises(StepError, match="has no test at iteration 45000, by which a strength is chosen"):
        runner.prepare(step)
    assert not (runner.folder(step) / choosing.FILE).exists()


def labels(path):
    database = LMDB(path)
    found = [parse_datum(bytes(record)).label for record in database.records()]
    database.close()
    return found


def test_held_out_images_are_drawn_once_for_all_and_never_trained_on(tmp_path):
    for name in ("a", "b"):
        images = [np.full((3, 2, 2), value, np.uint8) for value in range(40)]
        records = ((b"%05d" % n, cc.encode_datum(image, n)) for n, image in enumerate(images))
        cc.write_lmdb(tmp_path / name / "train", records)
        cc.write_lmdb(tmp_path / name / "test", [(b"0", cc.encode_datum(images[0], 99))])
        datasets.hold_out(tmp_path / name, 6, "train", "test", "mean.binaryproto")
    train, test = labels(tmp_path / "a" / "train"), labels(tmp_path / "a" / "test")
    assert sorted(train + test) == list(range(40)) and len(test) == 6  # the test image is gone
    assert train == sorted(train) and test == sorted(test) and test != list(range(6))
    assert (labels(tmp_path / "b" / "train"), labels(tmp_path / "b" / "test")) == (train, test)
    mean = read_mean(tmp_path / "a" / "mean.binaryproto")
    np.testing.assert_allclose(mean, np.full((2, 2, 3), np.mean(train)), rtol=1e-6)


def test_at_most_a_quarter_is_held_out_of_few_images(tmp_path):
    datasets.made_up_cifar10(tmp_path)
    datasets.hold_out_cifar10(tmp_path, published.HELD_OUT)
    assert [len(labels(tmp_path / name)) for name in datasets.CIFAR10[:2]] == [6, 2]


def test_a_candidate_trains_on_the_rest_and_is_tested_on_the_held_out(tmp_path):
    runner = Runner(NETWORK, Place(tmp_path, device="cpu", smoke=True))
    step = NETWORK.step("held-out-none")
    runner.prepare(step)
    linked = {name: (tmp_path / step.name / name).resolve().parent.name for name in NETWORK.databases}
    assert set(linked.values()) == {"data-held-out-5000"}
    assert list(Runner(NETWORK, Place(tmp_path)).solver(step).test_iter) == [50]  # of 100 images
