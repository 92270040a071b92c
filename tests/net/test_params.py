from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from caffe_compat.errors import GraphError, ShapeError
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } } '


def ip(name: str, bottom: str, outputs: int, params: str = "", more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {params} {more} '
        f'inner_product_param {{ num_output: {outputs} weight_filler {{ type: "gaussian" }} }} }} '
    )


def net(layers: str, phase: str = "TRAIN", **options: Any) -> Net:
    return Net(parse_text(INPUT + layers, NetParameter), phase, **options)


def test_params_come_in_the_order_of_the_layers_with_caffes_defaults() -> None:
    params = net(ip("a", "x", 3, "param { lr_mult: 2 force_mult: 0.5 }") + ip("b", "a", 5)).learnable_params
    assert [param.users for param in params] == [(("a", 0),), (("a", 1),), (("b", 0),), (("b", 1),)]
    assert [(param.lr_mult, param.decay_mult, param.force_mult) for param in params] == [
        (2, 1, 0.5),
        (1, 1, 0),
        (1, 1, 0),
        (1, 1, 0),
    ]
    assert [tuple(param.tensor.shape) for param in params] == [(3, 4), (3,), (5, 3), (5,)]


def test_layers_that_name_a_param_alike_use_one_parameter_and_add_their_gradients() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    both = net(ip("a", "x", 4, shared) + ip("b", "a", 4, shared, "loss_weight: 1"))
    assert both.params["a"][0] is both.params["b"][0]
    assert [param.users for param in both.learnable_params] == [(("a", 0), ("b", 0)), (("a", 1), ("b", 1))]
    assert len(list(both.parameters())) == 2

    x = torch.randn(2, 4)
    both.forward_with_loss(x=x)[1].backward()
    weight, bias = (blob.detach().clone().requires_grad_() for blob in both.params["a"])
    ((x @ weight.T + bias) @ weight.T + bias).sum().backward()
    torch.testing.assert_close(both.params["a"][0].grad, weight.grad)
    torch.testing.assert_close(both.params["a"][1].grad, bias.grad)


def test_strict_sharing_wants_equal_shapes() -> None:
    with pytest.raises(ShapeError) as caught:
        net(ip("a", "x", 3, 'param { name: "w" }') + ip("b", "a", 4, 'param { name: "w" }'))
    assert str(caught.value) == (
        "layer 'b': blob 0 of shape (4, 3) cannot share 'w', which layer 'a' owns with shape (3, 4); "
        "make the shapes equal, or set share_mode: PERMISSIVE"
    )


def test_permissive_sharing_wants_equal_counts_and_keeps_each_layers_own_shape() -> None:
    permissive = 'param { name: "w" share_mode: PERMISSIVE }'
    twisted = net(ip("a", "x", 3, 'param { name: "w" }') + ip("b", "a", 4, permissive))
    first, second = twisted.weights()["a"][0], twisted.weights()["b"][0]
    assert (first.shape, second.shape) == ((3, 4), (4, 3))
    np.testing.assert_array_equal(first.ravel(), second.ravel())
    with pytest.raises(
        ShapeError, match=r"of shape \(5, 3\) cannot share 'w', .* shape \(3, 4\); give it as many value"
    ):
        net(ip("a", "x", 3, 'param { name: "w" }') + ip("b", "a", 5, permissive))


def test_a_multiplier_counts_from_where_it_is_first_given() -> None:
    layers = ip("a", "x", 4, 'param { name: "w" decay_mult: 3 }') + ip("b", "a", 4, 'param { name: "w" lr_mult: 5 }')
    (weight, *_) = net(layers).learnable_params
    assert (weight.lr_mult, weight.decay_mult, weight.force_mult) == (5, 3, 0)


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult", "force_mult"])
def test_shared_params_with_different_multipliers_are_an_error(field: str) -> None:
    first, second = (f'param {{ name: "w" {field}: {value} }}' for value in (1, 2))
    with pytest.raises(GraphError) as caught:
        net(ip("a", "x", 4, first) + ip("b", "a", 4, second))
    assert str(caught.value) == (
        f"layer 'b': param 'w' has {field} 2, but 1 in a layer above (owner 'a'); "
        f"give {field} once, or the same everywhere"
    )


def test_more_param_entries_than_blobs_are_an_error() -> None:
    with pytest.raises(GraphError, match="layer 'a' has 3 param entries for 2 blobs; remove the last ones"):
        net(ip("a", "x", 4, "param { } param { } param { }"))


def test_lr_mult_0_gets_no_gradient_and_what_is_below_builds_no_graph() -> None:
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    model = net(ip("a", "x", 4, frozen) + ip("b", "a", 2, more="loss_weight: 1"))
    assert [param.tensor.requires_grad for param in model.learnable_params] == [False, False, True, True]
    assert not model.blobs(x=torch.ones(2, 4))["a"].requires_grad
    model.forward_with_loss(x=torch.ones(2, 4))[1].backward()
    assert [param.tensor.grad is None for param in model.learnable_params] == [True, True, False, False]


def test_propagate_down_false_stops_the_gradient() -> None:
    model = net(ip("a", "x", 4) + ip("b", "a", 2, more="loss_weight: 1 propagate_down: false"))
    model.forward_with_loss(x=torch.ones(2, 4))[1].backward()
    assert [param.tensor.grad is None for param in model.learnable_params] == [True, True, False, False]


def test_force_backward_overrides_lr_mult_0_and_propagate_down() -> None:
    layers = ip("a", "x", 4, "param { lr_mult: 0 }") + ip("b", "a", 2, more="loss_weight: 1 propagate_down: false")
    model = Net(parse_text("force_backward: true " + INPUT + layers, NetParameter), "TRAIN")
    model.forward_with_loss(x=torch.ones(2, 4))[1].backward()
    assert all(param.tensor.grad is not None for param in model.learnable_params)


BATCH_NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" } '


def test_caffe_1_keeps_the_solver_off_batch_norms_blobs_but_counts_them() -> None:
    params = net(BATCH_NORM).learnable_params
    assert [(param.users, param.lr_mult) for param in params] == [((("bn", i),), 0) for i in range(3)]
    assert not any(param.tensor.requires_grad for param in params)


def test_the_fork_takes_batch_norms_multipliers_from_the_prototxt() -> None:
    assert [param.lr_mult for param in net(BATCH_NORM, compat="wen2017").learnable_params] == [1, 1, 1]
