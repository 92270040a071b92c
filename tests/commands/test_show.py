"""`caffe-compat show` prints a net as a table or as code."""

import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden, shared


def test_the_table_is_that_of_the_net(problem, capsys):
    assert main(["show", "net.prototxt", "--phase", "TRAIN"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{cc.Net(cc.read_model('net.prototxt'), phase='TRAIN')}\n"
    assert "accuracy" not in printed


def test_the_code_is_python(problem, capsys):
    assert main(["show", "-model", "net.prototxt", "--code"]) == 0
    printed = capsys.readouterr().out
    compile(printed, "shown", "exec")
    assert "self.conv1(" in printed


def test_a_shape_stands_in_for_data_that_is_not_here(problem, capsys):
    (problem.folder / "list.txt").unlink()
    assert main(["show", "net.prototxt", "--input", "data=7,1,8,8", "--input", "label=7"]) == 0
    assert "7x6x6x6" in capsys.readouterr().out


def test_a_page_is_written_with_ranks_where_there_are_weights(problem, capsys):
    assert main(["show", "net.prototxt", "--html", "n.html"]) == 0
    assert "ranks keep" not in (problem.folder / "n.html").read_text()
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    assert main(["show", "net.prototxt", "--weights", "w.caffemodel", "--html", "m.html", "--keep", "0.8"]) == 0
    page = (problem.folder / "m.html").read_text()
    ranks = cc.ranks_by_energy(cc.read_model("net.prototxt", "w.caffemodel"), 0.8)
    assert "<b>80 %</b>" in page and f"rank {ranks['conv1']} of 6" in page


def test_a_page_and_code_at_once_are_refused(problem, capsys):
    assert main(["show", "net.prototxt", "--html", "n.html", "--code"]) == 2
    assert "--html" in capsys.readouterr().err


def test_data_is_looked_for_beside_the_net(problem, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert main(["show", str(problem.folder / "net.prototxt")]) == 0
    assert "10x6x6x6" in capsys.readouterr().out


def test_a_net_without_its_data_asks_for_the_shapes(problem, capsys):
    (problem.folder / "list.txt").unlink()
    assert main(["show", "net.prototxt"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'list.txt' is not at" in line
    assert line.endswith("; or tell the shapes: --input data=N,C,H,W --input label=N")


def test_a_snapshot_of_training_that_lacks_its_data_in_phase_test_names_the_phase(problem, capsys):
    text = (problem.folder / "net.prototxt").read_text()
    source = text[text.index('layer { name: "data"') : text.index('layer { name: "conv1"')]
    problem.write(
        "net.prototxt", text.replace(source, source.replace('top: "label"', 'top: "label" include { phase: TRAIN }'))
    )
    net = cc.Net(cc.read_net("net.prototxt"), phase="TRAIN")
    cc.write_net("w.caffemodel", net.model().net, net.weights())
    assert main(["show", "w.caffemodel", "--phase", "TEST"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; or, as this is a snapshot of training, --phase TRAIN")
    assert main(["show", "w.caffemodel", "--phase", "TRAIN"]) == 0


def test_a_caffemodel_is_shown_by_its_blobs_without_torch(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", net.param, net.weights())
    program = "import sys; from caffe_compat.commands import main; main(['show', 'w.caffemodel']); "
    done = subprocess.run(
        [sys.executable, "-c", program + "sys.exit('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("w.caffemodel: caffemodel: a net with weights, 2,") and "497 values, float32" in lines[0]
    assert "dialect: bvlc" in lines and "net: Small" in lines
    assert ["conv2", "Convolution", "0", "5x6x3x3", "float32"] in [line.split() for line in lines]


def shown(capsys, *words):
    capsys.readouterr()
    assert main(["show", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_precision_diffs_and_old_forms_are_told(capsys):
    assert "form: V1 or older (layers)" in shown(capsys, golden("formats", "upgrade_binary", "v1.caffemodel"))
    half = shared("models", "hyperlpr_fp16", "HorizonalFinemapping.caffemodel")
    assert "float16" in shown(capsys, half)


def test_states_means_arrays_and_hdf5_are_shown(problem, capsys):
    state = shown(capsys, golden("resume", "adam", "snap_iter_15.solverstate"))
    assert "iteration: 15\n" in state and "weights: snap_iter_15.caffemodel" in state
    assert "history  1     6        float32" in state
    mean = golden("formats", "mean", "gray_resized_lmdb.binaryproto")
    assert "mean of each channel: 122.303" in shown(capsys, mean) and "1x1x16x18" in shown(capsys, mean)
    np.save("mean.npy", np.full((3, 4, 5), [[[1.0]], [[2.0]], [[3.0]]], np.float32))
    assert "mean of each channel: 1, 2, 3" in shown(capsys, "mean.npy")
    np.savez("dump.npz", conv1=np.zeros((2, 3)))
    assert "conv1  0     2x3    float64" in shown(capsys, "dump.npz")
    assert "first of label: 0, 1, 0, 1, 0" in (out := shown(capsys, "data.h5")) and "40x1x8x8" in out


def test_hdf5_weights_and_states_are_told_from_data(problem, capsys):
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_model(cc.Model(net.param, net.weights()), "n.prototxt", "w.caffemodel.h5")
    out = shown(capsys, "w.caffemodel.h5")
    assert "caffemodel.h5: weights, without their net" in out and "conv2  0     5x6x3x3  float32" in out
    assert main(["convert", str(golden("resume", "adam", "snap_iter_15.solverstate")), "s.solverstate.h5"]) == 0
    out = shown(capsys, "s.solverstate.h5")
    assert "iteration: 15" in out and "history blobs: 12" in out


def test_databases_are_shown_with_their_first_records(capsys):
    out = shown(capsys, golden("formats", "db", "raw_lmdb"))
    assert "LMDB, 40 records" in out and "00000001_img_01.png  3x26x20  uint8  7" in out
    found = json.loads(shown(capsys, golden("formats", "db", "raw_lmdb"), "--json"))
    assert found["records"] == 40 and found["first"][1] == {
        "key": "00000001_img_01.png", "shape": [3, 26, 20], "form": "uint8", "label": 7
    }  # fmt: skip


def test_a_zip_without_arrays_is_told_for_what_it_is(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2)}, tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("readme.txt", "words")
    for name, told in {"net.pt": "this is a model of PyTorch", "text.zip": "this is a zip archive"}.items():
        assert main(["show", str(tmp_path / name)]) == 2
        assert f"{name}: {told}" in capsys.readouterr().err


def test_statistics_of_numbers_stand_beside_words_that_have_none(tmp_path, capsys):
    with h5py.File(tmp_path / "mixed.h5", "w") as file:
        file["data"], file["names"], file["word"] = np.ones((2, 3), np.float32), np.array([b"a", b"b"]), "hello"
    lines = [line.split() for line in shown(capsys, tmp_path / "mixed.h5", "--statistics").splitlines()]
    assert ["names", "0", "2", "bytes8", *"------"] in lines
    assert ["data", "0", "2x3", "float32", "1", "1", "1", "0", "0.0", "%", "0"] in lines


def test_statistics_are_those_of_numpy(problem, capsys):
    values = np.random.default_rng(0).normal(2, 3, (50, 40)).astype(np.float32)
    values[:5] = 0
    values[7, :3] = np.nan, np.inf, -np.inf
    np.save("a.npy", values)
    with h5py.File("a.h5", "w") as file:
        file["x"] = values
    finite = values[np.isfinite(values)].astype(np.float64)
    for name in ("a.npy", "a.h5"):
        (blob,) = json.loads(shown(capsys, name, "--statistics", "--json"))["blobs"]
        found = blob["statistics"]
        assert found["not_finite"] == 3 and found["zeros"] == pytest.approx((finite == 0).mean())
        assert found["least"] == finite.min() and found["greatest"] == finite.max()
        assert (found["mean"], found["deviation"]) == pytest.approx((finite.mean(), finite.std()))


def test_a_solver_is_shown_as_it_is_read(problem, capsys):
    assert 'lr_policy: "step"\n' in shown(capsys, "solver.prototxt")


UNKNOWN = [b"\x89PNG\r\n\x1a\n\x00\x00", b"\x01\x02\x03\xff" * 20, b"\x08", b"PK\x03\x04 no zip"]


@pytest.mark.parametrize("content", UNKNOWN)
def test_an_unknown_file_is_one_clear_line(problem, capsys, content):
    (problem.folder / "odd").write_bytes(content)
    assert main(["show", "odd"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("caffe-compat: odd: ")


def test_json_of_a_net_has_the_rows_of_its_table(problem, capsys):
    found = json.loads(shown(capsys, "net.prototxt", "--json"))
    assert (found["net"], found["phase"], found["batch"]) == ("Small", "TEST", 10)
    (conv2,) = (row for row in found["layers"] if row["layer"] == "conv2")
    assert conv2 == {
        "layer": "conv2", "type": "Convolution", "tops": {"conv2": [10, 5, 4, 4]},
        "parameters": 5 * 6 * 9 + 5, "multiply_adds": 5 * 6 * 9 * 16,
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".caffemodel", ".solverstate"])
def test_a_file_that_is_cut_short_is_called_that(problem, capsys, ending):
    solver = cc.Solver("solver.prototxt")
    solver.step(1)
    content = solver.snapshot().with_suffix(ending).read_bytes()
    (problem.folder / "cut").write_bytes(content[: len(content) // 2])
    assert main(["show", "cut"]) == 2
    assert "the file is cut short or damaged, copy or download it again" in capsys.readouterr().err


def test_a_file_of_others_is_called_what_it_is(problem, capsys):
    (problem.folder / "odd").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    assert main(["show", "odd"]) == 2
    assert capsys.readouterr().err == "caffe-compat: odd: this is an image\n"


def test_weights_of_another_net_are_told(problem, capsys):
    net = cc.parse_text('layer { name: "other" type: "Bias" bottom: "x" top: "y" }', cc.NetParameter)
    cc.write_net("w.caffemodel", net, {"other": (np.ones(3, np.float32),)})
    for words in ([], ["--html", "m.html"]):
        assert main(["show", "net.prototxt", "--weights", "w.caffemodel", *words]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "w.caffemodel: has no weights for any layer of net.prototxt; are they of this net?" in said
    assert not (problem.folder / "m.html").exists()


def test_a_name_too_long_for_a_file_is_one(problem, capsys):
    assert main(["show", "a" * 300]) == 2
    said = capsys.readouterr().err
    assert said.startswith("caffe-compat: aaa")
    assert said.endswith("cannot be read: File name too long\n")  # not: data.mdb: File name too long
