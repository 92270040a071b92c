"""A runtime in a process of its own: what it gives, and what is said where it is missing, ends, hangs or raises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.export.runtimes import compare, running
from tests.export.runtimes.test_facts import parsed
from tests.export.runtimes.test_rewriting import CONV, INPUT, with_weights

CHILD = "import json, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n"


def model() -> cc.Model:
    return with_weights(parsed(f'{INPUT} {CONV} layer {{ name: "end" type: "TanH" bottom: "x" top: "end" }}'))


def run_instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Let `text` be what the child runs."""
    child = tmp_path / "child.py"
    child.write_text(CHILD + text)
    monkeypatch.setattr(running, "_CHILD", child)
    monkeypatch.setattr(running, "installed_version", lambda name: "3.6.1")


def test_onnxruntime_gives_every_output_in_its_own_process() -> None:
    pytest.importorskip("onnxruntime")
    made = with_weights(parsed(f'{INPUT} {CONV} layer {{ name: "s" type: "Slice" bottom: "x" top: "t" top: "u" }}'))
    errors = cc.check_with(made, "onnxruntime")
    assert set(errors) == {"t", "u"} and max(errors.values()) < 1e-5


def test_opencv_reads_the_caffe_files_and_our_onnx_of_them() -> None:
    pytest.importorskip("cv2")
    for road in ("opencv:caffe", "opencv:onnx"):
        assert max(cc.check_with(model(), road).values()) < 1e-5


def test_what_opencv_computes_otherwise_is_a_number() -> None:
    pytest.importorskip("cv2")
    layer = 'layer { name: "l" type: "LRN" bottom: "data" top: "l" lrn_param { local_size: 3 k: 2 } }'
    assert cc.check_with(with_weights(parsed(f"{INPUT} {layer}")), "opencv")["l"] > 0.01


def test_a_net_for_training_is_run_in_its_deploy_form() -> None:
    pytest.importorskip("onnxruntime")
    label = 'layer { name: "n" type: "Input" top: "n" input_param { shape { dim: 1 } } }'
    loss = (
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 3 } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "n" top: "loss" }'
    )
    errors = cc.check_with(with_weights(parsed(f"{INPUT} {label} {CONV} {loss}")), "onnxruntime")
    assert len(errors) == 1 and max(errors.values()) < 1e-5


def test_a_runtime_that_is_not_installed_is_a_line_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "installed_version", lambda name: None)
    for name, extra in (("mnn", "mnn"), ("openvino", "openvino"), ("opencv", "opencv"), ("onnxruntime", "export")):
        with pytest.raises(cc.DataError, match=rf"is not installed: pip install 'caffe_compat\[{extra}\]'") as refusal:
            cc.check_with(model(), name)
        assert "\n" not in str(refusal.value)


def test_opencv_5_reads_onnx_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "installed_version", lambda name: "5.0.0.93")
    with pytest.raises(cc.DataError, match=r"OpenCV 5\.0\.0\.93 no longer reads Caffe's files"):
        cc.check_with(model(), "opencv:caffe")
    assert running.needed_version("opencv", "onnx") == "5.0.0.93"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("import os\nos.abort()", "its process ended by signal 6"),
        ("sys.exit(3)", "its process ended with status 3"),
        ("(folder / 'report.json').write_text(json.dumps({'error': 'no such layer'}))", "no such layer"),
    ],
)
def test_what_a_runtime_does_not_take_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, reason: str
) -> None:
    run_instead(monkeypatch, tmp_path, text)
    with pytest.raises(cc.UnsupportedLayerError, match=f"MNN 3.6.1 does not take net.prototxt and .*: {reason}"):
        cc.check_with(model(), "mnn")


def test_a_runtime_that_hangs_is_ended_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_instead(monkeypatch, tmp_path, "import subprocess\nsubprocess.run(['sleep', '60'])")
    with pytest.raises(cc.UnsupportedLayerError, match="not done after 1 seconds"):
        cc.check_with(model(), "mnn", seconds=1)


def test_an_output_that_is_missing_or_of_another_shape_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = (
        "import numpy\n(folder / 'report.json').write_text('{\"error\": \"\"}')\nnumpy.savez(folder / 'outputs.npz', "
    )
    run_instead(monkeypatch, tmp_path, wrong + "end=numpy.zeros((1, 4, 8, 9)))")
    assert cc.check_with(model(), "mnn") == {"end": float("inf")}
    run_instead(monkeypatch, tmp_path, wrong + "x=numpy.zeros((1, 4, 9, 8)))")
    with pytest.raises(cc.UnsupportedLayerError, match="MNN gives no output 'end'"):
        cc.check_with(model(), "mnn")


def test_axes_of_size_one_make_no_difference() -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert compare.difference(values.reshape(2, 1, 3, 1), values) == 0
    assert compare.difference(values.reshape(3, 2), values) == float("inf")


def test_a_road_is_a_runtime_and_a_form() -> None:
    assert cc.parse_road("mnn") == ("mnn", "caffe") and cc.parse_road("mnn", "onnx") == ("mnn", "onnx")
    assert cc.parse_road("openvino", "caffe") == ("openvino", "onnx")
    with pytest.raises(cc.DataError, match="runtime 'mnm' is not known; did you mean 'mnn'"):
        cc.parse_road("mnm")
    with pytest.raises(cc.DataError, match="OpenVINO reads onnx, not 'caffe': give openvino:onnx"):
        cc.parse_road("openvino:caffe")


def test_inputs_that_the_onnx_file_does_not_read_are_not_given() -> None:
    pytest.importorskip("cv2")
    like = 'layer { name: "like" type: "Input" top: "like" input_param { shape { dim: 1 dim: 4 dim: 6 dim: 5 } } }'
    crop = 'layer { name: "l" type: "Crop" bottom: "x" bottom: "like" top: "l" crop_param { offset: 1 } }'
    assert cc.check_with(with_weights(parsed(f"{INPUT} {like} {CONV} {crop}")), "opencv:onnx")["l"] < 1e-5
