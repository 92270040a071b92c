"""OrthoReg (Lubana et al., arXiv:2009.05014): the filters of a layer, as vectors, become orthonormal.

    R(W) = sum_l a_l |V_l V_l^T - I|_1  or  sum_l a_l |V_l^T V_l - I|_1        |M|_1 = sum_ij |M_ij|

    dR/dV = 2 a sign(V V^T - I) V       or  2 a V sign(V^T V - I)              sign(0) = 0

V has the filters of a layer as rows, and where it is asked for their bias as its last column. It is the entrywise norm,
without square and without division by the number of entries, as in main.py of EkdeepSLubana/OrthoReg at 869f049.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.registry import register

SIDES = ("rows", "columns")


@dataclass(frozen=True)
class OrthoTerm:
    """One layer. weight, bias: numbers of its parameters in Caffe's order, bias None where it is no column of V.

    side: "rows" for V V^T, "columns" for V^T V. factor: lambda a_l.
    """

    weight: int
    bias: int | None
    side: str
    factor: float


@register("OrthoReg")
def ortho(weights: list[Tensor], gradients: list[Tensor], terms: Sequence[OrthoTerm]) -> None:
    """Add factor * d|Gram - I|_1 / dV to the gradients of the terms, in place."""
    for term in terms:
        filters = _matrix(weights, term)
        sign = _off_identity(filters, term.side).sign_()
        pull = sign @ filters if term.side == "rows" else filters @ sign
        values = weights[term.weight][0].numel()
        gradients[term.weight].add_(pull[:, :values].reshape(weights[term.weight].shape), alpha=2 * term.factor)
        if term.bias is not None:
            gradients[term.bias].add_(pull[:, values], alpha=2 * term.factor)


def ortho_penalty(weights: list[Tensor], terms: Sequence[OrthoTerm]) -> float:
    """sum factor |Gram - I|_1 over the terms."""
    return sum(
        term.factor * float(_off_identity(_matrix(weights, term), term.side).abs().sum(dtype=torch.float64))
        for term in terms
    )


def orthogonality(filters: Tensor, side: str = "rows") -> float:
    """sum |diag(Gram)| / sum |Gram| of a matrix (filters, values), in [0, 1]: 1 where its filters are orthogonal.

    side: "rows" for V V^T, "columns" for V^T V. 1 for a matrix of zeros.
    """
    gram = (filters @ filters.T if side == "rows" else filters.T @ filters).double()
    whole = float(gram.abs().sum())
    return float(gram.diagonal().abs().sum()) / whole if whole else 1.0


def _matrix(weights: list[Tensor], term: OrthoTerm) -> Tensor:
    filters = weights[term.weight].flatten(1)
    return filters if term.bias is None else torch.cat([filters, weights[term.bias][:, None]], dim=1)


def _off_identity(filters: Tensor, side: str) -> Tensor:
    gram = filters @ filters.T if side == "rows" else filters.T @ filters
    gram.diagonal().sub_(1)
    return gram
