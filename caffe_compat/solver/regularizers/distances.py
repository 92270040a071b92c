"""How far apart filters lie on the unit sphere, accurately and without a loop over pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SHORTEST = 1e-4  # a filter must be longer to pull or be pulled
NEAREST = 1e-4  # two filters must be further apart to pull each other, unless c(d) = 1
FAR = 0.5  # filters this far apart and more: float32 is enough
BLOCK = 98304  # elements of a copy in float64, far fewer than a large weight has
ROWS = 96  # of a band of the Gram matrix, of which only half is computed


def unit_distances(filters: Tensor, inverse: Tensor) -> Tensor:
    """All d_ij = |u_i - u_j|, filters x filters, for u_i = filters_i inverse_i; the diagonal is 0.

    As accurate as the dtype of the filters can tell, at every distance: 2 - 2 u_i.u_j cancels, so float32 filters are
    measured in float64 as soon as any two come near each other, and float64 filters by their difference.
    """
    if filters.dtype == torch.float64:
        return _distances_by_difference(filters, inverse)
    if filters.dtype == torch.float32 and not filters.is_cuda:  # asking for the smallest would make a GPU wait
        distance = _distances_by_gram(filters, inverse, torch.float32)
        if distance.fill_diagonal_(2).min() > FAR:
            return distance.fill_diagonal_(0)
    return _distances_by_gram(filters, inverse, torch.float64)


def _distances_by_gram(filters: Tensor, inverse: Tensor, dtype: torch.dtype) -> Tensor:
    """d_ij = sqrt(2 - 2 u_i.u_j), off by dtype's rounding / d_ij."""
    gram = torch.zeros(len(filters), len(filters), dtype=dtype, device=filters.device)
    bands = [slice(first, first + ROWS) for first in range(0, len(filters), ROWS)]
    for (w,) in blocks(filters):
        unit = w.to(dtype) * inverse[:, None].to(dtype)
        for band in bands:  # the rest is symmetric
            gram[band, band.start :].addmm_(unit[band], unit[band.start :].T, alpha=-2)
    for band in bands:
        gram[band.stop :, band] = gram[band, band.stop :].T
    return gram.add_(2).clamp_(min=0).sqrt_().fill_diagonal_(0)


def _distances_by_difference(filters: Tensor, inverse: Tensor) -> Tensor:
    """d_ij = |u_i - u_j| term by term: slower, and right to float64's last digits at every distance."""
    unit = filters * inverse[:, None]
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")


def blocks(filters: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The arrays in step, some of their last axis at a time: as much as makes a BLOCK of `filters`."""
    columns = max(1, BLOCK // len(filters))
    return zip(*(torch.split(array, columns, dim=-1) for array in (filters, *others)), strict=True)
