"""Sparse group lasso with a nonconvex inner penalty r, by variable splitting (Bui et al., arXiv:1912.07868 and 2021).

    min_W L(W) + lambda sum_g sqrt(#g) |w_g| + lambda r(W)        r one of l0, l1, l1_l2, SCAD, TL1

An auxiliary u stands for w in r, held to it by beta / 2 |w - u|^2. One iteration is a step of the solver on

    L + (1 / N) [beta / 2 |w - u|^2 + lambda sqrt(#g) sum_g |w_g|],    then u = prox of (lambda / beta) r at the new w

As new_layers/group_relaxed_*_layers.py of kbui1993/Official_Nonconvex_SGL at bdbeea1, but that the gradient of |w_g| at
0 is 0. There l1_l2 puts its only entry, where all |w| <= lambda / beta, at the largest w, not at the largest |w| where
the map of Lou and Yan has it; so it is here, for that is what their numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.registry import register

SCAD_A = 3.7
SMALL = 1e-5  # below it a weight, or the mean of a group, counts as zero


@dataclass(frozen=True)
class GroupTerm:
    """One weight. index: in Caffe's order. columns: its groups are columns, inputs of an InnerProduct; else filters.

    decay: lambda of this weight, not divided by N.
    """

    index: int
    columns: bool
    decay: float


@register("sparse_group")
def sparse_group(
    weights: list[Tensor],
    gradients: list[Tensor],
    terms: Sequence[GroupTerm],
    split: Sequence[Tensor],
    betas: Sequence[float],
    samples: float,
) -> None:
    """Add (1 / N) [beta (w - u) + lambda sqrt(#g) w / |w_g|] to the gradients, in place; split: u of each term."""
    for term, u, beta in zip(terms, split, betas, strict=True):
        weight = weights[term.index]
        lengths, size = _group_lengths(weight, term)
        inverse = lengths.reciprocal().where(lengths > 0, 0)
        factor = term.decay * math.sqrt(size) * inverse + beta
        gradients[term.index].add_(factor * weight - beta * u, alpha=1 / samples)


def sparse_group_penalty(
    weights: list[Tensor], terms: Sequence[GroupTerm], split: Sequence[Tensor], betas: Sequence[float], samples: float
) -> float:
    """(1 / N) sum [beta / 2 |w - u|^2 + lambda sqrt(#g) sum_g |w_g|] over the terms."""
    total = 0.0
    for term, u, beta in zip(terms, split, betas, strict=True):
        lengths, size = _group_lengths(weights[term.index], term)
        total += beta / 2 * float((weights[term.index] - u).square().sum(dtype=torch.float64))
        total += term.decay * math.sqrt(size) * float(lengths.sum(dtype=torch.float64))
    return total / samples


def sparse_shares(weight: Tensor, columns: bool) -> tuple[int, int, int, int]:
    """(weights below 1e-5, weights, groups whose mean |w| is above 1e-5, groups) of one weight."""
    matrix = weight.flatten(1).abs()
    means = matrix.mean(0 if columns else 1)
    return int((matrix < SMALL).sum()), matrix.numel(), int((means > SMALL).sum()), means.numel()


def _group_lengths(weight: Tensor, term: GroupTerm) -> tuple[Tensor, int]:
    """|w_g|, of a shape that goes with the weight's, and #g."""
    axes = [0] if term.columns else list(range(1, weight.dim()))
    lengths = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return lengths, weight.numel() // lengths.numel()


def _soft(w: Tensor, threshold: float) -> Tensor:
    shrunk: Tensor = w.sign() * (w.abs() - threshold).clamp(min=0)
    return shrunk


def _l0(w: Tensor, strength: float, alpha: float) -> Tensor:
    """w where |w| > sqrt(2 strength), else 0."""
    return w.where(w.abs() > math.sqrt(2 * strength), 0)


def _l1(w: Tensor, strength: float, alpha: float) -> Tensor:
    """Soft thresholding at `strength`."""
    return _soft(w, strength)


def _l1_l2(w: Tensor, strength: float, alpha: float) -> Tensor:
    """l1 - alpha l2 over the whole blob: z (|z| + alpha strength) / |z| with z = soft(w), else one entry, else 0."""
    largest = float(w.abs().max()) if w.numel() else 0.0
    if largest > strength:
        z = _soft(w, strength)
        length = float(torch.linalg.vector_norm(z))
        return z * ((length + alpha * strength) / length)
    values = w.flatten()
    only = torch.zeros_like(values)
    if largest > (1 - alpha) * strength:
        place = int(values.argmax())
        only[place] = values[place].sign() * (largest + (alpha - 1) * strength)
    return only.reshape(w.shape)


def _scad(w: Tensor, strength: float, alpha: float) -> Tensor:
    """Soft up to 2 strength, ((a - 1) w - sign(w) a strength) / (a - 2) up to a strength, else w; a = 3.7."""
    size = w.abs()
    middle = ((SCAD_A - 1) * w - w.sign() * SCAD_A * strength) / (SCAD_A - 2)
    return _soft(w, strength).where(size <= 2 * strength, middle.where(size <= SCAD_A * strength, w))


def _tl1(w: Tensor, strength: float, alpha: float) -> Tensor:
    """Transformed l1, with a = alpha: 0 up to t, beyond it sign(w) (2/3 (a + |w|) cos(phi / 3) - 2 a / 3 + |w| / 3).

    phi = acos(1 - 27 strength a (a + 1) / (2 (a + |w|)^3)); t = strength (a + 1) / a where
    strength <= a^2 / (2 (a + 1)), else sqrt(2 strength (a + 1)) - a / 2.
    """
    a, size = alpha, w.abs()
    flat = strength <= a**2 / (2 * (a + 1))
    threshold = strength * (a + 1) / a if flat else math.sqrt(2 * strength * (a + 1)) - a / 2
    phi = (1 - 27 * strength * a * (a + 1) / (2 * (a + size) ** 3)).clamp(-1, 1).acos()
    kept = w.sign() * (2 / 3 * (a + size) * (phi / 3).cos() - 2 * a / 3 + size / 3)
    return kept.where(size > threshold, 0)


PROXES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "l0": _l0, "l1": _l1, "l1_l2": _l1_l2, "SCAD": _scad, "TL1": _tl1
}  # fmt: skip


def prox(weight: Tensor, penalty: str, strength: float, alpha: float = 1.0) -> Tensor:
    """argmin over u of strength r(u) + |w - u|^2 / 2, shape and dtype of `weight`; strength: lambda / beta, above 0."""
    return PROXES[penalty](weight, strength, alpha)
