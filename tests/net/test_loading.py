"""Files of weights that are not of the net they are given for, or only in part."""

import logging

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.commands.conftest import problem

__all__ = ["problem"]


def write_weights(path, **blobs):
    net = cc.NetParameter(name="Other")
    for name in blobs:
        net.layer.add(name=name, type="Convolution")
    cc.write_net(path, net, blobs)


CONV1 = (np.ones((6, 1, 3, 3), np.float32), np.ones(6, np.float32))


@pytest.mark.parametrize("words", [["test", "net.prototxt", "--iterations", "1"], ["solve", "solver.prototxt"]])
def test_weights_of_another_net_are_refused_in_one_line(problem, capsys, words):
    write_weights("other.caffemodel", fire1=CONV1, fire2=CONV1, fire3=CONV1, fire4=CONV1)
    assert main([*words, "--weights", "other.caffemodel"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            "other.caffemodel: has no weights for any layer of net 'Small': it has 'fire1', 'fire2', 'fire3' "
            "and 1 more, "
            "the net 'conv1', 'conv2', 'ip1'; give the weights of this net, or name its layers as the file does"
        )
    )


def test_layers_that_got_no_weights_are_named_in_one_warning(problem, caplog):
    write_weights("part.caffemodel", conv1=CONV1)
    net = cc.Net(cc.read_model("net.prototxt"))
    cc.load_files(net, ["part.caffemodel"])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["No weights in part.caffemodel for 'conv2', 'ip1'; kept as initialised"]
    np.testing.assert_array_equal(net.weights()["conv1"][0], CONV1[0])


def test_files_that_have_all_layers_between_them_raise_no_warning(problem, caplog):
    net = cc.Net(cc.read_model("net.prototxt"))
    write_weights("a.caffemodel", conv1=CONV1)
    write_weights("b.caffemodel", **{name: blobs for name, blobs in net.weights().items() if name != "conv1"})
    cc.load_files(net, ["a.caffemodel", "b.caffemodel"])
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]
