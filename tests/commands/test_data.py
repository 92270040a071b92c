"""The data tools from the command line, in Caffe's spelling and ours."""

import json

import numpy as np
import pytest

from caffe_compat.commands import main
from caffe_compat.data.transform import read_mean
from tests.conftest import golden


@pytest.fixture
def in_formats(monkeypatch):
    monkeypatch.chdir(golden("formats"))


def test_imageset_info_mean_and_pad_follow_one_another(in_formats, tmp_path, capsys):
    made, padded = f"{tmp_path}/made", f"{tmp_path}/padded"
    assert (
        main(["data", "imageset", "-resize_height", "16", "--resize_width=18", "-gray", "images/", "list.txt", made])
        == 0
    )
    assert "40 images in" in capsys.readouterr().out
    assert main(["data", "info", made, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 40 and found["shapes (channels x height x width)"] == {"1x16x18": 40}
    assert main(["data", "mean", "-backend", "lmdb", made, f"{tmp_path}/mean.binaryproto"]) == 0
    assert capsys.readouterr().out.startswith("mean_value channel [0]: ")
    wanted = read_mean(golden("formats", "mean", "gray_resized_lmdb.binaryproto"))
    np.testing.assert_allclose(read_mean(tmp_path / "mean.binaryproto"), wanted, atol=2)  # grey with resize: 2
    assert main(["data", "pad", made, padded, "--pad", "3"]) == 0
    assert main(["data", "info", padded]) == 0
    assert "1x22x24 (40)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["data"], "the following arguments are required: TOOL"),
        (["data", "mean", "gone"], "gone: no LMDB there"),
        (["data", "cifar10", "--from", "gone"], "gone: no such folder or archive"),
        (["data", "mnist", "--from", "images"], "images: no train-images-idx3-ubyte there"),
        (["data", "imageset", "images/", "gone.txt", "x"], "gone.txt: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(in_formats, tmp_path, capsys, words, wanted):
    try:
        status = main([*words, "--out", str(tmp_path)] if "--from" in words else words)
    except SystemExit as stop:
        status = stop.code
    message = capsys.readouterr().err
    assert status == 2 and wanted in message and message.count("\n") == 1
