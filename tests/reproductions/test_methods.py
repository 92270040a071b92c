"""The methods side by side: equal starts and lengths, three strengths and seeds, what is left is what is fine-tuned."""

from importlib import import_module

import pytest

from reproductions.command import main
from reproductions.methods.rivals import METHODS
from reproductions.report.__main__ import generated
from reproductions.report.facts import read_facts
from reproductions.runner import Runner
from reproductions.runs import read_runs
from reproductions.steps import Place

pytest.importorskip("lmdb")
NETWORKS = {
    name: import_module(f"reproductions.methods.{name}.run").NETWORK for name in ("convnet", "lenet", "resnet20")
}
QUICK = ("unpruned-seed1-tuned", "orthoreg-fisher-0.5-seed1-tuned")


def smoke(name, steps, tmp_path):
    words = ["--smoke", "--work", str(tmp_path), "--device", "cpu", *(["--only", *steps] if steps else [])]
    assert main(NETWORKS[name], words) == 0
    return {run.method: run for run in read_runs(folder=tmp_path / "results" / "methods") if run.status == "finished"}


def test_what_is_left_is_smaller_and_goes_into_the_row_and_onto_the_page(tmp_path):
    found = smoke("lenet", QUICK, tmp_path)
    whole = found["unpruned"].multiply_adds
    small = found["OrthoReg, fisher 0.5"]
    assert small.multiply_adds < whole / 2
    assert (small.measures["filters", "conv1"], small.measures["filters", "conv2"]) == (10, 25)
    assert all(
        run.measures["CPU speedup", ""] > 0 and run.baseline in ("", "fine-tuned: unpruned") for run in found.values()
    )
    (tmp_path / "paper.csv").write_bytes((NETWORKS["lenet"].folder.parents[1] / "paper.csv").read_bytes())
    text = generated(read_facts(tmp_path))["methods/index.html"]
    assert (
        '<h2 id="lenet-on-mnist">LeNet on MNIST</h2>' in text
        and '<th scope="row">OrthoReg, fisher</th><td>0.5</td>' in text
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_goes_from_data_to_the_row(name, tmp_path):
    steps = [step.name for step in NETWORKS[name].steps if step.seed == 1 and step.experiment == "fine-tuned"]
    found = smoke(name, steps[: len(METHODS) + 1], tmp_path)
    assert len(found) == len(METHODS) + 1


@pytest.mark.parametrize("name", NETWORKS)
def test_all_methods_have_the_same_start_the_same_length_three_strengths_and_three_seeds(name):
    network = NETWORKS[name]
    runner = Runner(network, Place(network.folder))
    lengths = {step.solver: runner.iterations(step) for step in network.steps if "strength" not in step.settings}
    assert len(lengths) == 2
    starts = {step.start for step in network.steps if step.experiment == "trained"}
    assert len(starts) == 1 and starts.pop().startswith("public:")
    tuned = [step for step in network.steps if step.experiment == "fine-tuned"]
    assert len(tuned) == 3 * (3 * len(METHODS) + 1)
    for step in tuned:
        before = runner.before(step)
        assert before.seed == step.seed and network.steps.index(before) < network.steps.index(step)
    names = [step.name for step in network.steps]
    assert len(set(names)) == len(names)
