"""`caffe-compat time --compare A B` times two nets in turns, layer by layer."""

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.compare_time import table
from tests.solver.conftest import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def two_nets(problem):
    net = cc.read_net("net.prototxt")
    model = cc.Model(net, cc.Net(net).weights())
    cc.write_model(cc.decompose(model, {"conv1": 2}), "small.prototxt")
    return problem


def test_every_layer_of_the_first_net_has_its_row_and_the_whole_has_the_last(two_nets, capsys):
    words = ["time", "--compare", "net.prototxt", "small.prototxt", "--iterations", "3", "--threads", "1"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "A", "quartiles", "B", "quartiles", "A/B"]
    assert [line.split("  ")[0] for line in lines[-4:-1]] == ["total", "total, contiguous", "total, prepared"]
    del lines[-3:-1]
    names = [line.split()[0] for line in lines[1:-1]]
    assert [name for name in names if "_split" not in name] == [
        "conv1", "relu1", "conv2", "ip1", "accuracy", "loss", "total"
    ]  # fmt: skip
    assert all(float(cell) > 0 for line in lines[1:-1] for cell in (line.split()[1], line.split()[3], line.split()[5]))


def test_a_chain_counts_in_the_row_of_its_layer():
    def times(**seconds):
        return {(name, "Convolution", 0): [each] * 3 for name, each in seconds.items()}

    first = times(conv1=3.0, conv1_b=1.0)
    second = times(conv1_lowrank=1.0, conv1_linear=0.5, conv1_b=1.0, new=0.1)
    rows = [line.split() for line in table([first, second], {"channels_last": [[4.0, 4.0], [2.0, 2.0]]}).splitlines()]
    assert [(row[0], row[1], row[3], row[5]) for row in rows[1:]] == [
        ("conv1", "3000.000", "1500.000", "2.00"),
        ("conv1_b", "1000.000", "1000.000", "1.00"),
        ("new", "-", "100.000", "-"),
        ("total", "4000.000", "2000.000", "2.00"),
    ]


def test_nets_with_other_inputs_are_refused(two_nets, capsys):
    two_nets.write(
        "other.prototxt",
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
    )
    assert main(["time", "--compare", "net.prototxt", "other.prototxt", "--threads", "1"]) == 2
    assert "the nets take other inputs" in capsys.readouterr().err


DEPLOYED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
"""


def test_a_backend_has_a_row_of_its_own(problem, capsys):
    pytest.importorskip("onnxruntime")
    problem.write("a.prototxt", DEPLOYED)
    words = ["time", "--compare", "a.prototxt", "a.prototxt", "--iterations", "2", "--backend", "onnxruntime"]
    assert main(words) == 0
    rows = {line.split("  ")[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    assert float(rows["total, onnxruntime"]) > 0


def test_a_net_that_a_backend_does_not_take_and_a_backend_for_one_net_are_refused(two_nets, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["time", "--compare", "net.prototxt", "net.prototxt", "--backend", "onnxruntime"]) == 2
    assert "ONNX cannot express layer 'accuracy'" in capsys.readouterr().err
    assert main(["time", "net.prototxt", "--backend", "onnxruntime"]) == 2
    assert "give --compare A B" in capsys.readouterr().err


def test_quartiles_of_two_rounds_lie_between_them():
    layer = {("conv", "Convolution", 0): [0.001, 0.009]}
    _, row, *_ = (line.split() for line in table([layer, layer], {}).splitlines())
    assert row == ["conv", "5.000", "3.000-7.000", "5.000", "3.000-7.000", "1.00"]  # at a quarter and three of the way
