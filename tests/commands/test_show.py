"""`caffe-compat show` prints a net as a table or as code."""

import caffe_compat as cc
from caffe_compat.commands import main


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
    assert main(["show", "w.caffemodel"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; or, as this is a snapshot of training, --phase TRAIN")
    assert main(["show", "w.caffemodel", "--phase", "TRAIN"]) == 0
