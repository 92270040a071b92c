"""Force Regularization (Wen et al., ICCV 2017): filters attract each other on the unit sphere.

The paper's Eq. 2, with unit filters u_i = w_i / |w_i| and distances d_ij = |u_i - u_j|:

    g_i = |w_i| (I - u_i u_i^T) sum_j (u_i - u_j) / c(d_ij)        diff_i += force_decay force_mult g_i

    Degradation  c = 1    the paper's l2 force, Eq. 4             Linear   c = d^2
    Constant     c = d    the paper's l1 force, Eq. 5             Gravity  c = d^3

As on the fork's CPU path (SGDSolver::ForceRegularize), a filter no longer than 1e-4 neither pulls nor is pulled, and
filters no further apart than 1e-4 leave each other alone (all but Degradation). The projection makes g a combination of
the filters themselves, g = M w, so no loop over pairs is needed; `distances` keeps M accurate for the nearly parallel
filters that the force is there to produce.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.distances import BLOCK, NEAREST, SHORTEST, blocks, unit_distances
from caffe_compat.solver.regularizers.registry import register
from caffe_compat.solver.regularizers.small_banks import add_forces

POWERS = {"Degradation": 0, "Constant": 1, "Linear": 2, "Gravity": 3}  # of d in c(d)
DIRECTIONS = ("all", "same")
DECAY_TYPES = ("fixed", "adaptive")
SCALERS = ("length", "inverse_length")  # of the filter that is pulled: the rows of the paper's Table 1
SMALLEST_FORCE = 1e-8  # below this norm, an adaptive force is nothing


@register("force")
def add_force(
    weights: list[Tensor],
    gradients: list[Tensor],
    strengths: Sequence[float],
    force_type: str = "Degradation",
    direction: str = "all",
    decay_type: str = "fixed",
    groups: Sequence[int] | None = None,
    scaler: str = "length",
) -> None:
    """Add strength * force to each gradient, in place; a strength is force_decay * force_mult, of either sign.

    direction "same" drops the elements that point against the gradient; decay_type "adaptive" makes the force's norm
    strength * |gradient|. Both look at the gradient as it stands, weight decay included. groups: how many groups of
    filters of each weight keep to themselves; 1 for all by default, for the fork ignores the groups of a convolution.
    scaler "inverse_length" has 1 / |w_i| where Eq. 2 has |w_i|.
    """
    power = _power(force_type)
    forced = [place for place, strength in enumerate(strengths) if strength and weights[place].dim() >= 2]
    parts = [1 if groups is None else groups[place] for place in forced]
    if (direction, decay_type, scaler) == ("all", "fixed", "length"):
        banks, slopes = (_banks([each[place] for place in forced], parts) for each in (weights, gradients))
        chosen = [strengths[place] for place, count in zip(forced, parts, strict=True) for _ in range(count)]
        _add_forces(banks, slopes, chosen, power)
        return
    for place, count in zip(forced, parts, strict=True):
        weight, gradient = weights[place], gradients[place]
        force = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        _add_forces(_banks([weight], [count]), _banks([force], [count]), [1.0] * count, power)
        if scaler == "inverse_length":
            force *= _inverse_squares(weight).view(-1, *[1] * (weight.dim() - 1))
        if direction == "same":
            force.masked_fill_(gradient * force < 0, 0)
        if decay_type == "adaptive":
            size = torch.linalg.vector_norm(force)
            force *= (torch.linalg.vector_norm(gradient) / size).where(size >= SMALLEST_FORCE, 0)
        gradient.add_(force, alpha=strengths[place])


@torch.no_grad()
def force_gradient(weight: Tensor, force_type: str = "Constant") -> Tensor:
    """What the force adds to the gradient of `weight` for force_decay * force_mult = 1; shape and dtype of `weight`.

    weight: (filters, ...), any floating type; every row is one filter. Blobs with fewer than 2 axes feel no force.
    Raises SolverError for a force_type other than Degradation, Constant, Linear, Gravity.
    """
    power = _power(force_type)
    force = torch.zeros_like(weight, memory_format=torch.contiguous_format)
    if weight.dim() >= 2:
        _add_forces([weight], [force], [1.0], power)
    return force


def _banks(blobs: Sequence[Tensor], parts: Sequence[int]) -> list[Tensor]:
    """The filters of each that pull each other: all of a blob, or some number of parts of it."""
    return [
        bank
        for blob, count in zip(blobs, parts, strict=True)
        for bank in (torch.tensor_split(blob, count) if count > 1 else (blob,))
    ]


def _power(force_type: str) -> int:
    if force_type not in POWERS:
        raise SolverError(f"force_type is '{force_type}'; allowed: {', '.join(POWERS)}")
    return POWERS[force_type]


def _add_forces(banks: Sequence[Tensor], gradients: Sequence[Tensor], strengths: Sequence[float], power: int) -> None:
    """Add strength * force to the gradient of each bank, in place."""
    for place in add_forces(banks, gradients, strengths, power):
        if banks[place].numel():
            _add_force(banks[place], gradients[place], strengths[place], power)


def _add_force(weight: Tensor, gradient: Tensor, strength: float, power: int) -> None:
    """The same for one bank of any kind and size."""
    filters = weight.flatten(1)
    bands = torch.split(filters, max(1, BLOCK // filters.shape[1]))  # whose copies in float64 are small
    length = torch.cat([torch.linalg.vector_norm(band, dim=1, dtype=torch.float64) for band in bands])
    length = length.where(length > SHORTEST, 0)
    inverse = length.reciprocal().where(length > 0, 0)
    pull = _pull_to_sum if power == 0 else _pull_between_pairs
    slopes = gradient.flatten(1)  # a copy, where the values lie in another order than those of `weight`
    pull(filters, length, inverse, power, slopes, strength)
    if slopes.data_ptr() != gradient.data_ptr():
        gradient.copy_(slopes.view(gradient.shape))


def _inverse_squares(weight: Tensor) -> Tensor:
    """1 / |w_i|^2 of every filter, 0 where it is too short to be pulled; (filters,), dtype of `weight`."""
    length = torch.linalg.vector_norm(weight.flatten(1), dim=1, dtype=torch.float64)
    inverse: Tensor = length.pow(-2)
    return inverse.where(length > SHORTEST, 0).to(weight.dtype)


def _pull_to_sum(
    filters: Tensor, length: Tensor, inverse: Tensor, power: int, gradient: Tensor, strength: float
) -> None:
    """c = 1, where the pairs add up: g_i = (s.u_i) w_i - |w_i| s with s = sum_j u_j."""
    if filters.numel() <= BLOCK:
        w = filters.double()
        s = inverse @ w
        force = (inverse * (w @ s))[:, None] * w - length[:, None] * s
        gradient.add_(force.to(gradient.dtype), alpha=strength)
        return
    total = torch.cat([inverse @ w.double() for (w,) in blocks(filters)])
    agreement = inverse * torch.stack([w.double() @ s for w, s in blocks(filters, total)]).sum(0)
    for g, w, s in blocks(gradient, filters, total):
        g.add_((agreement[:, None] * w.double() - length[:, None] * s).to(g.dtype), alpha=strength)


def _pull_between_pairs(
    filters: Tensor, length: Tensor, inverse: Tensor, power: int, gradient: Tensor, strength: float
) -> None:
    """g = M w; blocks of columns keep copies in float64 small."""
    combination = _combination(unit_distances(filters, inverse), length, inverse, power)
    for g, w in blocks(gradient, filters):
        g.add_((combination @ w.to(combination.dtype)).to(g.dtype), alpha=strength)


def _combination(distance: Tensor, length: Tensor, inverse: Tensor, power: int) -> Tensor:
    """M of g = M w, with a_ij = 1 / c(d_ij): M_ij = -|w_i| a_ij / |w_j| and M_ii = sum_j a_ij u_i.u_j."""
    apart = (distance > NEAREST) & (inverse > 0) & (inverse > 0)[:, None]
    attraction = distance.reciprocal().masked_fill_(apart.logical_not_(), 0).pow_(power)
    near = attraction.sum(1, dtype=torch.float64)  # what float32 would lose here, the whole sum would be off by
    cosine_sum = near - distance.square_().mul_(attraction).sum(1, dtype=torch.float64) / 2  # u_i.u_j = 1 - d_ij^2 / 2
    combination = attraction.mul_(inverse).mul_(-length[:, None])
    combination.diagonal().copy_(cosine_sum)
    return combination
