"""Tops on the memory of a bottom or of a learnable blob, and who may write there."""

from pathlib import Path

import numpy as np

import caffe_compat.pycaffe as caffe
from tests.pycaffe.nets import DATA, layer, net, wave

PARAMETER = 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 dim: 3 } } }\n'


def test_an_update_of_a_parameter_leaves_the_diff_of_the_blob_beside_it() -> None:
    """Eltwise gives both its bottoms the same gradient; the solver writes the update into that of the parameter."""
    text = (
        DATA
        + PARAMETER
        + layer("e", "Eltwise", "data p", "e")
        + layer("l", "Reduction", "e", "l", "loss_weight: 3 reduction_param { operation: SUMSQ }")
    )
    Path("net.prototxt").write_text("force_backward: true\n" + text)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" snapshot_prefix: "s"')
    solver = caffe.SGDSolver("solver.prototxt")
    solver.net.blobs["data"].data[...] = wave(2, 3)
    solver.step(1)
    np.testing.assert_allclose(solver.net.params["p"][0].data, -0.5 * 6 * wave(2, 3), rtol=1e-6)
    np.testing.assert_allclose(solver.net.params["p"][0].diff, 0.5 * 6 * wave(2, 3), rtol=1e-6)
    np.testing.assert_allclose(solver.net.blobs["data"].diff, 6 * wave(2, 3), rtol=1e-6)


def test_gradients_that_are_parts_of_another_are_read_and_written_as_arrays_of_their_own() -> None:
    shape = DATA.replace("dim: 2 dim: 3", "dim: 2 dim: 3 dim: 2 dim: 2")
    built = net(
        shape
        + layer("a", "Power", "data", "a")
        + layer("b", "Power", "data", "b")
        + layer("c", "Concat", "a b", "c")
        + layer("t", "TanH", "c", "t")
    )
    built.forward(data=wave(2, 3, 2, 2))
    built.backward(t=wave(2, 6, 2, 2))
    halves, whole = (built.blobs["a"].diff, built.blobs["b"].diff), built.blobs["c"].diff.copy()
    np.testing.assert_array_equal(np.concatenate(halves, 1), whole)
    halves[0][...] = 7
    np.testing.assert_array_equal(built.blobs["c"].diff, whole)
    assert all(half.flags.c_contiguous for half in halves)
