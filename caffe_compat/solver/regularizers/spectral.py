"""Penalties on the singular values s of a filter bank W = U diag(s) V^T: what the force is compared with.

    nuclear  R(W) = sum s            dR/dW = U V^T
    hoyer    R(W) = sum s / |s|      dR/dW = U V^T / |s| - (sum s / |s|^3) W    (Yang et al., CVPR workshops 2020)

and the truncation of trained rank pruning (Xu et al., IJCAI 2020). One filter is one row of W. Singular values that are
not told from zero in float32 take no part, so that a direction once lost is not called back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.registry import register

ROUNDING = 1e-6  # of the largest singular value: below it, nothing but float32's rounding
SPECTRAL_TYPES = ("nuclear", "hoyer")


@register("spectral")
def spectral(
    weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float], penalty: str = "nuclear"
) -> None:
    """Add strength * dR/dW to each gradient, in place; blobs with fewer than 2 axes have no singular values."""
    if penalty not in SPECTRAL_TYPES:
        raise SolverError(f"spectral_decay_type is '{penalty}'; allowed: {', '.join(SPECTRAL_TYPES)}")
    for weight, gradient, strength in zip(weights, gradients, strengths, strict=True):
        if strength == 0 or weight.dim() < 2:
            continue
        filters = weight.flatten(1).double()
        values, directions = singular(filters)
        push = directions @ ((directions.T @ filters) / values[:, None])
        if penalty == "hoyer" and len(values):
            total, length = values.sum(), torch.linalg.vector_norm(values)
            push = push / length - (total / length**3) * filters
        gradient.add_(push.reshape(weight.shape).to(gradient.dtype), alpha=strength)


def singular(filters: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values above rounding, largest first, and their left vectors; filters: float64 (filters, values)."""
    energy, directions = torch.linalg.eigh(filters @ filters.T)
    values = energy.clamp_(min=0).sqrt_().flip(0)
    kept = int((values > ROUNDING * values[:1]).sum())
    return values[:kept], directions.flip(1)[:, :kept]


@torch.no_grad()
def truncate(weight: Tensor, keep: float) -> None:
    """Replace `weight` by its nearest matrix of the smallest rank that has a share `keep` of its energy, in place."""
    filters = weight.flatten(1).double()
    values, directions = singular(filters)
    if not len(values):
        return
    reached = values.square().cumsum(0)
    rank = int((reached < (keep - 1e-12) * reached[-1]).sum()) + 1
    basis = directions[:, :rank]
    weight.copy_((basis @ (basis.T @ filters)).reshape(weight.shape))
