"""Group lasso over blocks of a weight matrix (SSL, Wen et al., NIPS 2016; GroupLassoRegularize of the branch scnn).

    R(W) = sum_b |w_b|        diff += strength w_b / |w_b|, and nothing for a block of zeros

The blocks tile the matrix of filters: one filter a row, one place of the kernel a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.registry import register


@dataclass(frozen=True)
class Blocks:
    """Blocks of `rows` by `columns` that tile the matrix of one parameter; index: of the parameter in Caffe's order."""

    index: int
    rows: int
    columns: int
    strength: float


@register("group_lasso")
def group_lasso(weights: list[Tensor], gradients: list[Tensor], blocks: Sequence[Blocks]) -> None:
    """Add strength * w_b / |w_b| of every block to the gradients, in place."""
    for block in blocks:
        weight = weights[block.index]
        tiles = tiled(weight, block.rows, block.columns)
        inverse = torch.linalg.vector_norm(tiles, dim=(1, 3), keepdim=True).reciprocal_()
        inverse.masked_fill_(inverse.isinf(), 0)
        gradients[block.index].add_((tiles * inverse).reshape(weight.shape), alpha=block.strength)


def group_lasso_penalty(weights: list[Tensor], blocks: Sequence[Blocks]) -> float:
    """sum strength |w_b| over the blocks."""
    total = 0.0
    for block in blocks:
        tiles = tiled(weights[block.index], block.rows, block.columns)
        total += block.strength * float(torch.linalg.vector_norm(tiles, dim=(1, 3)).sum(dtype=torch.float64))
    return total


def tiled(weight: Tensor, rows: int, columns: int) -> Tensor:
    """`weight` (filters, ...) as (filters / rows, rows, values / columns, columns)."""
    matrix = weight.reshape(len(weight), -1)
    return matrix.reshape(len(matrix) // rows, rows, matrix.shape[1] // columns, columns)
