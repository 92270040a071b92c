"""Tops on the memory of a bottom or of a learnable blob, and who may write there."""

from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat as cc
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


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize(("batch", "passes_kept"), [(1, 1), (2, 3)])
def test_scale_writes_the_diff_of_its_factors_at_a_batch_of_1(batch: int, passes_kept: int, looks: bool) -> None:
    """Caffe 1.0 (scale_layer.cpp, outer_dim_ 1): of three passes the last one's sum; at a batch of 2 all three."""
    data = DATA.replace("dim: 2 dim: 3", f"dim: {batch} dim: 3 dim: 4 dim: 5")
    scale = layer("s", "Scale", "data", "s", "scale_param { bias_term: true }")
    built = net(data + scale + layer("l", "Reduction", "s", "l", "loss_weight: 1"))
    x = wave(batch, 3, 4, 5)
    for _ in range(3):
        built.forward(data=x)
        if looks:
            assert built.blobs["s"].data.any()
        built.backward()
    np.testing.assert_allclose(built.params["s"][0].diff, passes_kept * x.sum((0, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(built.params["s"][1].diff, np.full(3, 3 * batch * 20))


def test_of_scales_that_share_their_factors_the_lowest_gives_the_diff_at_a_batch_of_1() -> None:
    data = DATA.replace("dim: 2 dim: 3", "dim: 1 dim: 3 dim: 4 dim: 5")
    both = [layer(top, "Scale", bottom, top, 'param { name: "w" }') for bottom, top in (("data", "a"), ("a", "b"))]
    built = net(data + "".join(both) + layer("l", "Reduction", "b", "l", "loss_weight: 1"))
    built.params["a"][0].data[...] = factors = np.array([2.0, -1.0, 0.5])
    x = wave(1, 3, 4, 5)
    built.forward(data=x)
    built.backward()
    np.testing.assert_allclose(built.params["a"][0].diff, factors * x.sum((0, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("still", ["a", "b"])
def test_a_layer_with_lr_mult_0_adds_to_the_diff_of_a_blob_that_it_shares_only_where_forced(
    still: str, forced: bool
) -> None:
    """The flag is each layer's own, and force_backward sets all (net.cpp, set_param_propagate_down)."""
    products = {
        top: layer(
            top,
            "InnerProduct",
            bottom,
            top,
            f'param {{ name: "w" {"lr_mult: 0" if top == still else ""} }} '
            "inner_product_param { num_output: 3 bias_term: false }",
        )
        for bottom, top in (("data", "a"), ("a", "b"))
    }
    built = net(
        DATA + products["a"] + products["b"] + layer("l", "Reduction", "b", "l", "loss_weight: 1"), forced=forced
    )
    built.params["a"][0].data[...] = weights = wave(3, 3)
    x, ones = wave(2, 3), np.ones((2, 3))
    built.forward(data=x)
    built.backward()
    parts = {"a": (ones @ weights).T @ x, "b": ones.T @ (x @ weights.T)}
    wanted = sum(part for name, part in parts.items() if forced or name != still)
    np.testing.assert_allclose(built.params["a"][0].diff, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("overwritten", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3)])
def test_a_layer_that_shares_both_its_blobs_gives_each_gradient_once(shape: tuple[int, ...], overwritten: bool) -> None:
    """Caffe adds factors' and shifts' (scale_layer.cpp), here checked with Caffe 1.0; the second of x as it is then."""
    dims = " ".join(f"dim: {size}" for size in shape)
    text = f'layer {{ name: "p" type: "Parameter" top: "p" parameter_param {{ shape {{ {dims} }} }} }}\n'
    text += layer("x", "Power", "p", "x")
    text += layer("s", "Scale", "x", "s", 'param { name: "w" } param { name: "w" } scale_param { bias_term: true }')
    if overwritten:
        text += layer("f", "Flatten", "x", "f") + layer("r", "ReLU", "f", "f")
    text += layer("l", "Reduction", "s", "l", "loss_weight: 1 reduction_param { operation: SUMSQ }")
    x, w = wave(*shape), wave(3)
    beside = w.reshape(1, 3, *[1] * (len(shape) - 2))
    above = 2 * (beside * x + beside)
    wanted = (above * (np.maximum(x, 0) if overwritten else x) + above).sum((0, *range(2, len(shape))))
    built = net(text)
    whole = cc.Net(cc.parse_text(text, cc.NetParameter), "TRAIN")
    with torch.no_grad():
        for name, value in (("p", x), ("s", w)):
            built.params[name][0].data[...] = value
            whole.params[name][0].copy_(torch.tensor(value))
    built.forward()
    built.backward()
    whole.forward_with_loss()[1].backward()
    for found in (built.params["s"][0].diff, built.params["s"][1].diff, whole.params["s"][0].grad):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
