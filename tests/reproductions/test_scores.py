"""Public trained models score what their own authors' Caffe reports."""

import importlib.util
import json
import subprocess
import sys

import pytest

from reproductions import scores
from reproductions.record import RESULTS
from tests.conftest import shared


def test_recorded_scores_are_the_published_ones():
    rows = json.loads((RESULTS / "scores.json").read_text())["rows"]
    published = [(trained.title, trained.published) for trained in scores.MODELS]
    assert [(row["model"], row["published"]) for row in rows if row["published"] is not None] == published
    assert all(abs(row["ours"] - row["published"]) <= 0.05 for row in rows if row["published"] is not None)


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """CIFAR-10 and MNIST as LMDBs, from the unpacked public files."""
    script = shared("data", "unpack.py")
    if importlib.util.find_spec("imagecodecs") is None:
        pytest.skip("unpacking the shared data needs the package imagecodecs")
    unpacked, folder = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("databases")
    subprocess.run([sys.executable, str(script), str(unpacked)], check=True)
    scores.cc.make_cifar10(unpacked / "cifar10", folder)
    scores.cc.make_mnist(unpacked / "mnist", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("trained", scores.MODELS, ids=lambda trained: trained.title)
def test_a_public_model_scores_what_its_authors_report(trained, databases):
    assert scores.score(trained, shared("models"), databases) == pytest.approx(trained.published, abs=0.05)


@pytest.mark.slow
def test_googlenet_classifies_photographs():
    """81.0 % and 93.9 % on the 1,000 images these 200 were drawn from; 3 standard errors are 8 and 5 points."""
    count, found = scores.score_googlenet(shared("models"), shared("data", "imagenet-sample"))
    assert count == 200
    assert found["top1"] == pytest.approx(81.0, abs=8) and found["top5"] == pytest.approx(93.9, abs=5)
