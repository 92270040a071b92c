"""run.py of AlexNet, GoogLeNet and VGG16: from ImageNet's folder to the row, in seconds on made-up data."""

import importlib.util
from importlib import import_module

import numpy as np
import pytest

import caffe_compat as cc
from reproductions.command import main
from reproductions.comparison import read_paper
from reproductions.datasets import IMAGENET, published_imagenet
from reproductions.measures import record
from reproductions.runner import Runner
from reproductions.runs import read_runs
from reproductions.steps import Place

pytest.importorskip("lmdb")
NETWORKS = {name: import_module(f"reproductions.{name}.run").NETWORK for name in ("alexnet", "googlenet", "vgg16")}


def smoke(name, folder, *words):
    assert main(NETWORKS[name], ["--smoke", "--work", str(folder), "--device", "cpu", "--threads", "1", *words]) == 0
    return {run.key[:2]: run for run in read_runs(folder=folder / "results")}


def test_smoke_goes_from_the_baseline_through_the_force_to_the_decomposed_net(tmp_path):
    (run,) = smoke("alexnet", tmp_path, "--only", "fine-tune-l2-pca").values()
    assert (run.status, run.iterations, run.error is None, run.top5_error is None) == ("finished", 6, False, False)
    assert {layer: rank for layer, (rank, _) in run.ranks.items()} == {"conv3": 15, "conv4": 12, "conv5": 16}
    assert {"baseline", "force-l2", "fine-tune-l2-pca"} <= {path.name for path in tmp_path.iterdir()}
    log = (tmp_path / run.log).with_suffix(".log").read_text()
    forced = (tmp_path / "force-l2" / "log").read_text()
    assert "Ranks at 95 % energy" in forced and "Ranks at" not in log  # the fine-tuning is without force


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_smoke_of_every_step(name, tmp_path):
    runs = smoke(name, tmp_path)
    assert len(runs) == len(NETWORKS[name].steps) and {run.status for run in runs.values()} == {"finished"}


@pytest.mark.parametrize(("name", "step", "count"), [("googlenet", "force-l1", 59), ("vgg16", "baseline", 13)])
def test_smoke_goes_from_data_to_the_row(name, step, count, tmp_path):
    (run,) = smoke(name, tmp_path, "--only", step).values()
    assert (run.status, len(run.ranks)) == ("finished", count) and (run.force_decay > 0) == (step != "baseline")


@pytest.mark.parametrize("name", NETWORKS)
def test_unfinished_rows_say_what_finishes_them(name, tmp_path):
    network = NETWORKS[name]
    record(Runner(network, Place(tmp_path)), network.steps, tmp_path)
    runs = read_runs(folder=tmp_path / "results")
    assert [run.finish.split()[-1] for run in runs] == [step.name for step in network.steps]
    assert all(run.status == "unfinished" for run in runs)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_answer_rows_that_the_paper_has(name):
    rows = {f"{each.source}: {each.row}" for each in read_paper()}
    assert {row for step in NETWORKS[name].steps for row in step.paper} <= rows


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="needs opencv, of the extra data")
def test_databases_and_mean_are_made_of_imagenet_as_published(tmp_path):
    import cv2

    draw = np.random.default_rng(0)
    for part in ("train", "val"):
        for synset in ("n01440764", "n01443537"):
            (tmp_path / "source" / part / synset).mkdir(parents=True)
            for number in range(2):
                image = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                cv2.imwrite(str(tmp_path / "source" / part / synset / f"{synset}_{number}.JPEG"), image)
    (tmp_path / "source" / "synsets.txt").write_text("n01440764\nn01443537\n")
    (tmp_path / "made").mkdir()
    for _ in range(2):  # the second call finds the databases, as after an interruption
        published_imagenet(tmp_path / "source", tmp_path / "made", 1)
    assert set(IMAGENET) <= {path.name for path in (tmp_path / "made").iterdir()}
    assert cc.compute_mean(tmp_path / "made" / IMAGENET[1]).shape == (3, 256, 256)
