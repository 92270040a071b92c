"""--for and --with of check, verify, export, deploy and decompose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.export.runtimes import compare, report, running
from tests.export.runtimes.test_facts import parsed
from tests.export.runtimes.test_rewriting import CONV, INPUT, with_weights

LRN = 'layer { name: "n" type: "LRN" bottom: "x" top: "n" lrn_param { local_size: 3 alpha: 0.5 k: 2 } }'
BEST = 'layer { name: "best" type: "ArgMax" bottom: "x" top: "best" }'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    cc.write_model(with_weights(parsed(f"{INPUT} {CONV} {LRN}")), "net.prototxt", "net.caffemodel")
    return tmp_path


def test_check_lists_what_each_road_does_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "net.prototxt", "--for", "mnn,opencv:caffe", "--for", "onnxruntime"]) == 1
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("problem: layer 'n' (LRN): ")]
    assert len(problems) == 2 and "MNN 3.6.1 ignores: k" in problems[0] and "OpenCV 4.14.0 ignores: k" in problems[1]
    assert any("mnn:onnx: nothing is known" in line for line in lines)
    assert any("onnxruntime:onnx: nothing is known" in line for line in lines)
    assert main(["check", "net.prototxt"]) == 0


def test_check_says_it_in_json_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "net.prototxt", "--for", "mnn:caffe", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["problems"][0]["layer"] == "n" and found["problems"][0]["kind"] == "runtime"


def test_another_version_than_the_known_one_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "installed_version", lambda name: "3.7.2")
    assert main(["check", "net.prototxt", "--for", "mnn:caffe"]) == 1
    assert "note: mnn:caffe: known of version 3.6.1; installed is 3.7.2" in capsys.readouterr().out


def test_layers_of_training_are_told_by_their_types_where_data_is_not_here(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = 'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "nowhere" batch_size: 2 } }'
    Path("train.prototxt").write_text(f"{data} {CONV}")
    assert main(["check", "train.prototxt", "--for", "mnn:caffe"]) == 1
    assert "problem: layer 'd' (Data): MNN 3.6.1 does not take: layers of training" in capsys.readouterr().out


def test_the_old_form_of_a_prototxt_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.prototxt").write_text(
        'input: "data" input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 2\n'
        'layers { name: "t" type: TANH bottom: "data" top: "t" }\n'
    )
    assert main(["check", "old.prototxt", "--for", "mnn:caffe"]) == 1
    assert "MNN 3.6.1 makes an empty net of old.prototxt" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["check", "deploy", "export"])
def test_a_runtime_that_nobody_knows_is_a_line(folder: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = {
        "check": ["net.prototxt"],
        "deploy": ["net.prototxt", "--out", "d.prototxt"],
        "export": ["net.prototxt", "net.caffemodel", "--out", "n.onnx"],
    }
    assert main([verb, *words[verb], "--for", "tensorrt"]) == 2
    assert "runtime 'tensorrt' is not known" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["net.caffemodel", "net.prototxt"]


def test_deploy_for_a_runtime_writes_what_it_computes_right(folder: Path) -> None:
    words = ["deploy", "net.prototxt", "--weights", "net.caffemodel", "--for", "mnn"]
    assert main([*words, "--out", "d.prototxt", "--out-weights", "d.caffemodel"]) == 0
    made = cc.read_model("d.prototxt", "d.caffemodel")
    assert [layer.type for layer in made.net.layer] == ["Input", "Convolution", "LRN", "Power"]
    assert cc.known_differences(made, "mnn:caffe") == []


def test_decompose_for_a_runtime_writes_a_caffemodel_that_it_reads(folder: Path) -> None:
    words = ["decompose", "net.prototxt", "net.caffemodel", "--ranks", "c=2", "--for", "mnn", "--certificate", "c.json"]
    assert main(words) == 0
    made = cc.read_model("net.prototxt.lowrank.prototxt", "net.caffemodel.lowrank.caffemodel")
    assert [layer.type for layer in made.net.layer] == ["Input", "Convolution", "Convolution", "LRN", "Power"]
    assert json.loads(Path("c.json").read_text())["layers"]["c"]["rank"] == 2


def test_what_has_no_other_form_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cc.write_model(with_weights(parsed(f"{INPUT} {CONV} {BEST}")), "net.prototxt", "net.caffemodel")
    words = ["deploy", "net.prototxt", "--weights", "net.caffemodel", "--for", "mnn"]
    assert main([*words, "--out", "d.prototxt", "--out-weights", "d.caffemodel"]) == 2
    assert "layer 'best' (ArgMax): MNN 3.6.1 computes otherwise" in capsys.readouterr().err
    assert not Path("d.prototxt").exists()


def test_export_is_run_by_the_runtimes_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    words = ["export", "net.prototxt", "net.caffemodel", "--out", "n.onnx"]
    assert main([*words, "--with", "onnxruntime"]) == 0
    assert "onnxruntime: off by " in capsys.readouterr().out


def test_a_runtime_that_is_missing_is_a_line_and_no_file_is_left(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "installed_version", lambda name: None)
    assert main(["export", "net.prototxt", "net.caffemodel", "--out", "n.onnx", "--with", "openvino"]) == 2
    assert "OpenVINO is not installed: pip install 'caffe_compat[openvino]'" in capsys.readouterr().err
    assert not Path("n.onnx").exists()


@pytest.mark.parametrize("verb", ["export", "verify"])
def test_a_runtime_that_is_missing_or_unknown_is_told_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(running, "installed_version", lambda name: None)
    monkeypatch.setattr(cc, "read_model", lambda *files: pytest.fail("work was begun"))
    originals = ["--original", "net.prototxt", "--original-weights", "net.caffemodel"]
    words = [verb, "net.prototxt", "net.caffemodel", "--out", "o", *(originals if verb == "verify" else [])]
    assert main([*words, "--with", "openvino"]) == 2
    assert "OpenVINO is not installed" in capsys.readouterr().err
    assert main([*words, "--with", "mnm"]) == 2
    assert "runtime 'mnm' is not known" in capsys.readouterr().err


def test_runtimes_read_no_pytorch_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "net.prototxt", "net.caffemodel", "--format", "torch", "--out", "n", "--with", "mnn"]
    assert main(words) == 2
    assert "--with: other runtimes read ONNX, not torch" in capsys.readouterr().err


def test_verify_runs_the_written_files_and_tells_what_is_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    words = ["verify", "net.prototxt", "net.caffemodel", "--original", "net.prototxt", "--original-weights"]
    words.append("net.caffemodel")
    assert main([*words, "--no-opencv", "--with", "onnxruntime"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["opencv"] is None and set(found["runtimes"]["onnxruntime"]) == {"n"}
    assert main([*words, "--with", "opencv"]) == 2
    line = capsys.readouterr().err
    assert "OpenCV's blob 'n' is off by" in line or (
        "'s output 'n' is off by" in line and "ignores: k of ACROSS" in line
    )


def test_a_runtime_that_does_otherwise_than_is_known_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that obeys k, and one that computes a Convolution otherwise."""
    monkeypatch.setattr(running, "installed_version", lambda name: "3.7.2")
    words = ["verify", "net.prototxt", "net.caffemodel", "--original", "net.prototxt", "--original-weights"]
    words += ["net.caffemodel", "--no-opencv", "--with", "mnn"]
    model = cc.read_model("net.prototxt", "net.caffemodel")

    def right(*arguments: object) -> dict[str, object]:
        net = cc.Net(model, "TEST").eval()
        inputs = arguments[3]
        assert isinstance(inputs, dict)
        return {"n": net(**inputs)["n"].detach().numpy()}

    monkeypatch.setattr(compare, "run_file", right)
    assert main(words) == 0
    assert "gives the right outputs here, although this is known: layer 'n' (LRN): MNN 3.6.1" in capsys.readouterr().err
    cc.write_model(with_weights(parsed(f"{INPUT} {CONV}")), "net.prototxt", "net.caffemodel")
    monkeypatch.setattr(compare, "run_file", lambda *arguments: {"x": 0 * arguments[3]["data"]})
    assert main(words) == 2
    assert (
        "'s output 'x' is off by 1 of its largest value; nothing is known of mnn:caffe 3.6.1" in capsys.readouterr().err
    )
