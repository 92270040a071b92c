"""caffe-compat groups: there and back, the fork's form with both nets given, and bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("net.prototxt", "net.caffemodel"):
        shutil.copy(golden("decompose", "flow", "pca_group_ranks", name), tmp_path)
    monkeypatch.chdir(tmp_path)


def test_split_and_merge_give_the_net_and_its_weights_back():
    assert main(["groups", "split", "net.prototxt", "net.caffemodel"]) == 0
    split = "net.prototxt.split.prototxt", "net.caffemodel.split.caffemodel.h5"
    assert {"c1_group0", "c1_group1", "c2_group0", "c2_group2"} <= set(cc.read_model(*split).weights)
    assert main(["groups", "merge", *split]) == 0
    merged = cc.read_model(f"{split[0]}.merge.prototxt", f"{split[1]}.merge.caffemodel.h5")
    original = cc.read_model("net.prototxt", "net.caffemodel")
    assert merged.net == original.net
    for name, blobs in original.weights.items():
        for blob, again in zip(blobs, merged.weights[name], strict=True):
            np.testing.assert_array_equal(blob, again)


def test_the_forks_form_takes_both_nets():
    assert main(["groups", "split", "net.prototxt", "net.caffemodel"]) == 0
    shutil.copy("net.prototxt.split.prototxt", "split.prototxt")
    nets = ["--original_alexnet=net.prototxt", "--split_alexnet=split.prototxt"]
    again = [*nets, "--caffemodel", "net.caffemodel", "--force-overwrite"]
    assert main(["groups", "split", *again]) == 0
    made = cc.read_weights("net.caffemodel.split.caffemodel.h5")
    np.testing.assert_array_equal(made["c1_group1"][0], cc.read_weights("net.caffemodel")["c1"][0][6:])
    assert main(["groups", "merge", *nets, "--caffemodel", "net.caffemodel.split.caffemodel.h5"]) == 0
    back = cc.read_weights("net.caffemodel.split.caffemodel.h5.merge.caffemodel.h5")
    np.testing.assert_array_equal(back["c2"][0], cc.read_weights("net.caffemodel")["c2"][0])


def test_out_names_what_is_written(capsys):
    assert main(["groups", "split", "net.prototxt", "net.caffemodel", "--out", "apart"]) == 0
    assert capsys.readouterr().out.split() == ["Saved", "as", "apart.prototxt", "Saved", "as", "apart.caffemodel"]
    assert main(["groups", "merge", "apart.prototxt", "apart.caffemodel", "--out", "one"]) == 0
    assert {path.name for path in Path().iterdir()} == {
        f"{stem}.{suffix}" for stem in ("net", "apart", "one") for suffix in ("prototxt", "caffemodel")
    }
    given, back = cc.read_weights("net.caffemodel"), cc.read_weights("one.caffemodel")
    assert given.keys() == back.keys()
    for name, blobs in given.items():
        for blob, again in zip(blobs, back[name], strict=True):
            np.testing.assert_array_equal(blob, again)
    assert main(["groups", "split", "net.prototxt", "net.caffemodel", "--out", "one"]) == 2
    assert "exists and is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["--parts=c1"], "--parts c1: wanted LAYER=PARTS, for example conv1=2,conv2=2"),
        (["--parts=c1=5"], "layer 'c1' has 12 filters in 2 groups; it cannot be split into 5 parts"),
    ],
)
def test_bad_parts_are_said(words, said, capsys):
    assert main(["groups", "split", "net.prototxt", "net.caffemodel", *words]) == 2
    assert said in capsys.readouterr().err


def test_existing_files_are_kept(capsys):
    assert main(["groups", "split", "net.prototxt", "net.caffemodel"]) == 0
    assert main(["groups", "split", "net.prototxt", "net.caffemodel"]) == 2
    assert "exists and is kept" in capsys.readouterr().err


def test_nothing_to_split_or_to_merge_is_said_and_nothing_is_written(capsys):
    assert main(["groups", "merge", "net.prototxt", "net.caffemodel"]) == 2
    assert "net.prototxt: no Concat joins Convolutions X_group0, X_group1" in capsys.readouterr().err
    assert main(["groups", "split", "net.prototxt", "net.caffemodel"]) == 0
    split = ["net.prototxt.split.prototxt", "net.caffemodel.split.caffemodel.h5"]
    capsys.readouterr()
    assert main(["groups", "split", *split]) == 2
    assert f"{split[0]}: no Convolution has groups; --parts conv1=2 splits" in capsys.readouterr().err
    assert {path.name for path in Path().iterdir()} == {"net.prototxt", "net.caffemodel", *split}
