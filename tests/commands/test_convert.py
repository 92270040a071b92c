"""`caffe-compat convert` writes weights and states in the other form, and says how when a name does not fit."""

import numpy as np

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

SAVED = golden("formats", "caffemodel")


def test_weights_go_to_hdf5_and_back(tmp_path, capsys):
    source, middle, back = SAVED / "net.caffemodel", tmp_path / "a.caffemodel.h5", tmp_path / "b.caffemodel"
    assert main(["convert", str(source), str(middle)]) == 0
    assert capsys.readouterr().out == f"{middle}: weights of 6 layers\n"
    assert main(["convert", str(middle), str(back), "--net", str(source)]) == 0
    assert back.read_bytes() == source.read_bytes()


def test_net_that_fits_the_new_names_is_written(tmp_path, capsys):
    net = cc.parse_text('name: "n" layer { name: "a/b" type: "Bias" bottom: "x" top: "y" }', cc.NetParameter)
    cc.write_net(tmp_path / "in.caffemodel", net, {"a/b": (np.ones(3, np.float32),)})
    words = ["convert", str(tmp_path / "in.caffemodel"), str(tmp_path / "out.h5")]
    assert main(words) == 2
    assert "--rename-slash _" in capsys.readouterr().err
    assert main([*words, "--rename-slash", "/"]) == 2
    assert main([*words, "--rename-slash", "_", "--net-out", str(tmp_path / "net.prototxt")]) == 0
    model = cc.read_model(tmp_path / "net.prototxt", tmp_path / "out.h5")
    np.testing.assert_array_equal(model.weights["a_b"][0], np.ones(3))


def test_solver_state_goes_to_hdf5_and_back(tmp_path, capsys):
    source = golden("resume", "adam", "snap_iter_15.solverstate")
    middle, back = tmp_path / "a.solverstate.h5", tmp_path / "b.solverstate"
    assert main(["convert", str(source), str(middle)]) == 0
    assert main(["convert", str(middle), str(back)]) == 0
    assert back.read_bytes() == source.read_bytes()


def test_a_state_is_known_by_its_content_whatever_the_new_name(tmp_path, capsys):
    source = golden("resume", "adam", "snap_iter_15.solverstate")
    middle, back = tmp_path / "a.h5", tmp_path / "b.bin"
    assert main(["convert", str(source), str(middle)]) == 0
    assert main(["convert", str(middle), str(back)]) == 0
    assert capsys.readouterr().out == f"{middle}: solver's state\n{back}: solver's state\n"
    assert back.read_bytes() == source.read_bytes()
