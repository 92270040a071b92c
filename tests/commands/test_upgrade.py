"""`caffe-compat upgrade` writes what Caffe's three upgrade tools write."""

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

FORMATS = golden("formats")
TEXTS = sorted(path.name.removesuffix(".in.prototxt") for path in FORMATS.glob("upgrade_text/*.in.prototxt"))
SOLVERS = sorted(path.name.removesuffix(".in.prototxt") for path in FORMATS.glob("upgrade_solver/*.in.prototxt"))


def parse(path, message):
    return cc.parse_text(path.read_text(), message)


@pytest.mark.parametrize("case", TEXTS)
def test_a_net_becomes_what_caffe_makes_of_it(case, tmp_path, capsys):
    target = tmp_path / "out.prototxt"
    assert main(["upgrade", str(FORMATS / "upgrade_text" / f"{case}.in.prototxt"), str(target)]) == 0
    assert parse(target, cc.NetParameter) == parse(FORMATS / "upgrade_text" / f"{case}.out.prototxt", cc.NetParameter)


@pytest.mark.parametrize("case", SOLVERS)
def test_a_solver_becomes_what_caffe_makes_of_it(case, tmp_path, capsys):
    target = tmp_path / "out.prototxt"
    assert main(["upgrade", str(FORMATS / "upgrade_solver" / f"{case}.in.prototxt"), str(target)]) == 0
    wanted = parse(FORMATS / "upgrade_solver" / f"{case}.out.prototxt", cc.SolverParameter)
    assert parse(target, cc.SolverParameter) == wanted


@pytest.mark.parametrize("case", ["v0", "v1"])
def test_a_caffemodel_keeps_its_weights(case, tmp_path, capsys):
    target = tmp_path / "out.caffemodel"
    assert main(["upgrade", str(FORMATS / "upgrade_binary" / f"{case}.caffemodel"), str(target)]) == 0
    wanted = cc.read_model(FORMATS / "upgrade_binary" / f"{case}.upgraded.caffemodel")
    found = cc.read_model(target)
    assert found.net == wanted.net
    for layer, blobs in wanted.weights.items():
        for blob, other in zip(blobs, found.weights[layer], strict=True):
            np.testing.assert_array_equal(blob, other)


def test_a_mistake_in_a_net_is_reported_as_one_in_a_net(problem, capsys):
    problem.edit("net.prototxt", "num_output: 6", "num_outptu: 6")
    assert main(["upgrade", "net.prototxt", "out.prototxt"]) == 2
    assert "did you mean 'num_output'?" in capsys.readouterr().err
    assert not (problem.folder / "out.prototxt").exists()


def test_hdf5_weights_have_nothing_to_upgrade(problem, capsys):
    assert main(["upgrade", "data.h5", "out.prototxt"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("data.h5: HDF5 holds no net and has one form only; there is nothing to upgrade")
