"""Force Regularization (Wen et al., ICCV 2017): filters attract each other on the unit sphere.

The paper's Eq. 2, with unit filters u_i = w_i / |w_i| and distances d_ij = |u_i - u_j|:

    g_i = |w_i| (I - u_i u_i^T) sum_j (u_i - u_j) / c(d_ij)        diff_i += force_decay force_mult g_i

    Degradation  c = 1    the paper's l2 force, Eq. 4             Linear   c = d^2
    Constant     c = d    the paper's l1 force, Eq. 5             Gravity  c = d^3

As on the fork's CPU path (SGDSolver::ForceRegularize), a filter no longer than 1e-4 neither pulls nor is pulled, and
filters no further apart than 1e-4 leave each other alone (all but Degradation). The projection makes g a combination of
the filters themselves, g = M w, so no loop over pairs is needed; M is formed in float64, because 2 - 2 u_i.u_j
cancels for the nearly parallel filters that the force is there to produce.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.registry import register

ZERO_THRESHOLD = 1e-4  # of filter lengths and of distances between unit filters
POWERS = {"Degradation": 0, "Constant": 1, "Linear": 2, "Gravity": 3}  # of d in c(d)
DIRECTIONS = ("all", "same")
DECAY_TYPES = ("fixed", "adaptive")
SMALLEST_FORCE = 1e-8  # below this norm, an adaptive force is nothing
BLOCK, ROWS = 98304, 96  # elements of a float64 copy, far fewer than a large weight has; rows of a block of the Gram


@register("force")
def add_force(
    weights: list[Tensor],
    gradients: list[Tensor],
    strengths: Sequence[float],
    force_type: str = "Degradation",
    direction: str = "all",
    decay_type: str = "fixed",
    groups: Sequence[int] | None = None,
) -> None:
    """Add strength * force to each gradient, in place; a strength is force_decay * force_mult, of either sign.

    direction "same" drops the elements that point against the gradient; decay_type "adaptive" makes the force's norm
    strength * |gradient|. Both look at the gradient as it stands, weight decay included. groups: how many groups of
    filters of each weight keep to themselves; 1 for all by default, for the fork ignores the groups of a convolution.
    """
    for weight, gradient, strength, parts in zip(
        weights, gradients, strengths, groups or [1] * len(weights), strict=True
    ):
        if strength == 0 or weight.dim() < 2:
            continue
        force = torch.cat([force_gradient(part, force_type) for part in weight.chunk(parts)])
        if direction == "same":
            force.masked_fill_(gradient * force < 0, 0)
        if decay_type == "adaptive":
            size = torch.linalg.vector_norm(force)
            force *= (torch.linalg.vector_norm(gradient) / size).where(size >= SMALLEST_FORCE, 0)
        gradient.add_(force, alpha=strength)


@torch.no_grad()
def force_gradient(weight: Tensor, force_type: str = "Constant") -> Tensor:
    """What the force adds to the gradient of `weight` for force_decay * force_mult = 1; shape and dtype of `weight`.

    weight: (filters, ...), any floating type; every row is one filter. Blobs with fewer than 2 axes feel no force.
    Raises SolverError for a force_type other than Degradation, Constant, Linear, Gravity.
    """
    if force_type not in POWERS:
        raise SolverError(f"force_type is '{force_type}'; allowed: {', '.join(POWERS)}")
    force = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    if weight.dim() >= 2 and weight.numel() > 0:
        filters = weight.flatten(1)
        lengths = [torch.linalg.vector_norm(w.double(), dim=1) for (w,) in _blocks(filters)]
        length = torch.linalg.vector_norm(torch.stack(lengths), dim=0)
        length = length.where(length > ZERO_THRESHOLD, 0)
        inverse = length.reciprocal().where(length > 0, 0)
        pull = _pull_to_sum if force_type == "Degradation" else _pull_between_pairs
        pull(filters, length, inverse, POWERS[force_type], force.view(filters.shape))
    return force


def _pull_to_sum(filters: Tensor, length: Tensor, inverse: Tensor, power: int, force: Tensor) -> None:
    """c = 1, where the pairs add up: g_i = (s.u_i) w_i - |w_i| s with s = sum_j u_j."""
    total = torch.cat([inverse @ w.double() for (w,) in _blocks(filters)])
    agreement = inverse * torch.stack([w.double() @ s for w, s in _blocks(filters, total)]).sum(0)
    for g, w, s in _blocks(force, filters, total):
        g.copy_(agreement[:, None] * w.double() - length[:, None] * s)


def _pull_between_pairs(filters: Tensor, length: Tensor, inverse: Tensor, power: int, force: Tensor) -> None:
    """g = M w; blocks of columns keep the float64 copies small."""
    combination = _combination(filters, length, inverse, power)
    for g, w in _blocks(force, filters):
        g.copy_(combination @ w.double())


def _combination(filters: Tensor, length: Tensor, inverse: Tensor, power: int) -> Tensor:
    """M of g = M w, with a_ij = 1 / c(d_ij): M_ij = -|w_i| a_ij / |w_j| and M_ii = sum_j a_ij u_i.u_j."""
    measure = _distances_by_difference if filters.dtype == torch.float64 else _distances_by_gram
    distance = measure(filters, inverse)
    apart = (distance > ZERO_THRESHOLD) & (inverse > 0) & (inverse > 0)[:, None]
    attraction = distance.reciprocal().masked_fill_(apart.logical_not_(), 0).pow_(power)
    cosine_sum = attraction.sum(1) - distance.square_().mul_(attraction).sum(1) / 2  # u_i.u_j = 1 - d_ij^2 / 2
    combination = attraction.mul_(inverse).mul_(-length[:, None])
    combination.diagonal().copy_(cosine_sum)
    return combination


def _distances_by_gram(filters: Tensor, inverse: Tensor) -> Tensor:
    """d_ij = sqrt(2 - 2 u_i.u_j) in float64: off by 1e-16 / d_ij, far below float32's own 6e-8."""
    gram = torch.zeros(len(filters), len(filters), dtype=torch.float64, device=filters.device)
    bands = [slice(first, first + ROWS) for first in range(0, len(filters), ROWS)]
    for (w,) in _blocks(filters):
        unit = w.double().mul_(inverse[:, None])
        for band in bands:  # the rest is symmetric
            gram[band, band.start :].addmm_(unit[band], unit[band.start :].T, alpha=-2)
    for band in bands:
        gram[band.stop :, band] = gram[band, band.stop :].T
    return gram.add_(2).clamp_(min=0).sqrt_().fill_diagonal_(0)


def _distances_by_difference(filters: Tensor, inverse: Tensor) -> Tensor:
    """d_ij = |u_i - u_j| term by term: slower, and right to float64's last digits at every distance."""
    unit = filters * inverse[:, None]
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")


def _blocks(filters: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The arrays in step, some of their last axis at a time: as much as makes a BLOCK of `filters`."""
    columns = max(1, BLOCK // len(filters))
    return zip(*(torch.split(array, columns, dim=-1) for array in (filters, *others)), strict=True)
