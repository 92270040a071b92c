"""`caffe-compat shrink` runs the recipe and prints its table."""

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.solver.conftest import one_thread

__all__ = ["one_thread"]


def test_the_table_and_the_files_are_told(problem, capsys):
    words = "shrink solver.prototxt --force l1 --force-decay 0.01 --keep 0.8 --fine-tune-iter 4 --out small --threads 1"
    assert main(words.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("stage")
    assert lines[-2].startswith("To deploy: small/deploy.prototxt, small/deploy.caffemodel")
    assert lines[-1] == "Saved as small/decomposed.prototxt and small/finetuned.caffemodel"
    assert cc.read_model("small/decomposed.prototxt", "small/finetuned.caffemodel").weights


@pytest.mark.parametrize("ranks", ["2,3", "conv2=3,conv1=2"])
def test_ranks_go_to_layers_in_order_or_by_name(problem, capsys, ranks):
    words = f"shrink solver.prototxt --force l1 --max-iter 2 --fine-tune-iter 0 --threads 1 --ranks {ranks} --out small"
    assert main(words.split()) == 0
    net = cc.read_net("small/decomposed.prototxt")
    sizes = {layer.name: layer.convolution_param.num_output for layer in net.layer}
    assert (sizes["conv1_lowrank"], sizes["conv2_lowrank"]) == (2, 3)


def test_ranks_that_are_no_numbers_are_one_line(problem, capsys):
    assert main(["shrink", "solver.prototxt", "--force", "l1", "--ranks", "2,three"]) == 2
    assert "--ranks 2,three: whole numbers are wanted" in capsys.readouterr().err
