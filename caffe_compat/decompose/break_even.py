"""What a low-rank pair costs beside the layer that it stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_compat.errors import RankError


def theoretical_speedup(shape: Sequence[int], rank: int, group: int = 1) -> float:
    """Multiply-adds of a Convolution over those of its _lowrank and _linear pair (Wen et al. 2017, Table 4).

    shape: of the weight, (filters, channels / group, *kernel). rank: over all groups, which it need not divide (the
    paper's 201 and 129 over 2). Equation: N C k^2 / (M C k^2 + N M), in each group.
    """
    return break_even_rank(shape, group) / rank


def break_even_rank(shape: Sequence[int], group: int = 1) -> float:
    """The rank over all groups at which the pair costs as many multiply-adds as the layer; below it, fewer."""
    filters, *rest = shape
    values = int(np.prod(rest))
    if group < 1 or filters % group:
        raise RankError(f"a weight of shape {tuple(shape)} cannot have {group} groups")
    return filters * values / (values + filters / group)
