"""MVN against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build
from tests.reference.normalization import mean_variance


def _random(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)) * 2 + 1


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4)])
def test_mvn_centres_each_plane_and_divides_by_std_plus_eps(shape: tuple[int, ...], across: bool, divide: bool) -> None:
    fields = f"across_channels: {str(across).lower()} normalize_variance: {str(divide).lower()} eps: 0.25"
    layer, x = build(f'type: "MVN" mvn_param {{ {fields} }}', shape), _random(shape)
    planes = x.reshape(*shape, *[1] * (4 - len(shape)))
    expected = mean_variance(planes.numpy(), across, divide, 0.25)  # of 4 axes, as Caffe's top always is
    np.testing.assert_allclose(layer(x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        layer(planes.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-10, atol=1e-12
    )


def test_the_gradient_of_mvn_is_the_derivative_without_eps_and_leaves_eps_out_with_it() -> None:
    x = _random((2, 2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(build('type: "MVN" mvn_param { eps: 0 }', (2, 2, 3, 2)), (x,))
    # with eps the gradient is that of eps 0 times std / (std + eps), where the top's own scale is allowed for
    diff = _random((2, 2, 3, 2), 1)
    (gradient,) = torch.autograd.grad(build('type: "MVN" mvn_param { eps: 0.5 }', (2, 2, 3, 2))(x), x, diff)
    for index in np.ndindex(2, 2):
        plane, g = x[index].detach().flatten(), diff[index].flatten()
        std = (plane - plane.mean()).square().mean().sqrt()
        y = (plane - plane.mean()) / (std + 0.5)
        expected = (g - g.mean() - y * (y * g).mean()) / (std + 0.5)
        torch.testing.assert_close(gradient[index].flatten(), expected)
    with pytest.raises(ShapeError, match="more than Caffe's 4 axes"):
        build('type: "MVN"', (1, 1, 1, 1, 1))


def test_planes_of_one_value_add_nothing_to_second_derivatives() -> None:
    layer, x = build('type: "MVN" mvn_param { eps: 0.1 }', (2, 2, 3, 2)), _random((2, 2, 3, 2))
    x[0, 1] = 7

    def second(x: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(layer(x.requires_grad_()).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    whole = second(x.clone())
    torch.testing.assert_close(whole[1], second(x[1:].clone())[0])
    torch.testing.assert_close(whole[0, 1], torch.zeros(3, 2, dtype=x.dtype), rtol=0, atol=1e-9)
