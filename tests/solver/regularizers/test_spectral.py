"""Penalties on singular values against autograd of their definitions, and the truncation against NumPy's SVD."""

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.spectral import spectral, truncate

DEFINITIONS = {"nuclear": lambda s: s.sum(), "hoyer": lambda s: s.sum() / s.square().sum().sqrt()}


@pytest.mark.parametrize("penalty", DEFINITIONS)
@pytest.mark.parametrize("shape", [(6, 2, 3, 5), (12, 1, 3, 2), (7, 9)])
def test_the_gradient_is_that_of_the_definition(penalty, shape):
    torch.manual_seed(5)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    DEFINITIONS[penalty](torch.linalg.svdvals(weight.flatten(1))).backward()
    gradient = torch.ones_like(weight)
    spectral([weight.detach()], [gradient], [0.5], penalty)
    torch.testing.assert_close(gradient, 1 + 0.5 * weight.grad, rtol=1e-9, atol=1e-9)


def test_hoyer_does_not_change_the_scale_of_a_bank():
    torch.manual_seed(6)
    weight, gradient = torch.randn(6, 20, dtype=torch.float64), torch.zeros(6, 20, dtype=torch.float64)
    spectral([weight], [gradient], [1.0], "hoyer")
    assert abs(float((weight * gradient).sum())) < 1e-12


def test_lost_directions_are_not_called_back():
    torch.manual_seed(7)
    weight, gradient = torch.randn(8, 2) @ torch.randn(2, 30), torch.zeros(8, 30)
    spectral([weight], [gradient], [1.0], "nuclear")
    assert np.linalg.matrix_rank(gradient.numpy(), tol=1e-3) == 2


def test_zeros_biases_and_a_strength_of_0_are_left_alone():
    weights = [torch.zeros(4, 5), torch.ones(4), torch.ones(4, 5)]
    gradients = [torch.zeros_like(weight) for weight in weights]
    spectral(weights, gradients, [1.0, 1.0, 0.0], "hoyer")
    assert not any(bool(gradient.any()) for gradient in gradients)


def test_an_unknown_penalty_is_named():
    with pytest.raises(SolverError, match="spectral_decay_type is 'trace'; allowed: nuclear, hoyer"):
        spectral([torch.ones(2, 2)], [torch.ones(2, 2)], [1.0], "trace")


def test_truncation_is_the_nearest_matrix_of_the_smallest_rank_with_that_energy():
    rng = np.random.RandomState(8)
    left, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    right, _ = np.linalg.qr(rng.standard_normal((30, 6)))
    values = np.array([4, 3, 2, 1, 0.5, 0.25])  # shares of energy: .527 .824 .956 .989 .998 1
    weight = torch.tensor((left * values) @ right.T).reshape(6, 2, 3, 5)
    truncate(weight, 0.95)
    expected = (left[:, :3] * values[:3]) @ right.T[:3]
    np.testing.assert_allclose(weight.reshape(6, 30).numpy(), expected, atol=1e-12)
