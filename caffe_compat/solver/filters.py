"""How the filters of one layer stand to one another: what the force changes, in numbers for a log."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.distances import SHORTEST


@torch.no_grad()
def pair_angles(weight: Tensor) -> Tensor:
    """The angles between all pairs of filters, in degrees from 0 to 180: (pairs,), float64.

    weight: (filters, ...); every row is one filter. Filters no longer than 1e-4 have no direction and do not count.
    """
    filters = weight.detach().flatten(1).double()
    length = torch.linalg.vector_norm(filters, dim=1)
    units = filters[length > SHORTEST] / length[length > SHORTEST, None]
    first, second = torch.triu_indices(len(units), len(units), offset=1, device=units.device)
    return torch.rad2deg((units @ units.T).clamp_(-1, 1).acos_())[first, second]


def filter_angles(weight: Tensor) -> dict[str, float]:
    """mean, std, min and max of the angles between all pairs of filters; empty where fewer than two have one."""
    angles = pair_angles(weight)
    if not len(angles):
        return {}
    spread = {"mean": angles.mean(), "std": angles.std(correction=0), "min": angles.min(), "max": angles.max()}
    return {name: float(value) for name, value in spread.items()}
