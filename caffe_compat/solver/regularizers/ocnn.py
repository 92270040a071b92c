"""Orthogonal convolutions (OCNN, Wang et al., CVPR 2020): not the filters alone, the whole map becomes orthogonal.

A convolution is y = A x with a matrix A of shifted filters; A A^T = I is, over all shifts (a, b) of the output grid,

    R_ij(a, b) = sum_cuv W[i, c, u, v] W[j, c, u + a s, v + b s] = 1 for i = j and a = b = 0, else 0

    L = |R - I|   (Frobenius norm; L^2 with ortho_squared, as in the paper)    dL/dW = dR/dW (R - I) / L, 0 where L = 0

R is the convolution of W with itself at padding P = floor((k - 1) / s) s on each axis: ortho_padding "paper". "code" is
imagenet/utils.py of samaonline/Orthogonal-Convolutional-Neural-Networks at aa7f569, whose padding is 1 whatever the
kernel, with the identity at (ct, ct), ct = floor(width(R) / 2): at stride 2 that is not the zero shift. Filters of
different groups see different inputs, so groups add up by themselves. Where the kernel is one place, and for an
InnerProduct, it is L = |M^T M - I| with M the filters as rows, or as columns where there are fewer rows than columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.solver.regularizers.registry import register

Pair = tuple[int, int]
PADDINGS = ("paper", "code")


@dataclass(frozen=True)
class ConvTerm:
    """One layer. index: of its weight in Caffe's order. padding: "paper", "code", or "" for the Gram of the matrix.

    column: the input side in place of the output side, see `column_orthogonality`. factor: lambda of this layer.
    """

    index: int
    stride: Pair = (1, 1)
    group: int = 1
    padding: str = ""
    column: bool = False
    factor: float = 1.0


@register("OCNN")
def ocnn(weights: list[Tensor], gradients: list[Tensor], terms: Sequence[ConvTerm], squared: bool = False) -> None:
    """Add factor * dL/dW of every term to the gradients, in place; dL^2/dW with `squared`."""
    for term in terms:
        _, gradient = term_value(weights[term.index], term, squared)
        gradients[term.index].add_(gradient, alpha=term.factor)


def ocnn_penalty(weights: list[Tensor], terms: Sequence[ConvTerm], squared: bool = False) -> float:
    """sum factor L over the terms."""
    return sum(term.factor * float(term_value(weights[term.index], term, squared)[0]) for term in terms)


def term_value(weight: Tensor, term: ConvTerm, squared: bool = False) -> tuple[Tensor, Tensor]:
    """L of one weight as `term` says, a scalar, and its gradient."""
    if not term.padding and not term.column:
        return matrix_orthogonality(weight, squared)
    if term.column:
        return column_orthogonality(weight, term.stride[0], squared)
    return conv_orthogonality(weight, term.stride, term.padding, term.group, squared)


def conv_orthogonality(
    weight: Tensor, stride: Pair = (1, 1), padding: str | Pair = "paper", group: int = 1, squared: bool = False
) -> tuple[Tensor, Tensor]:
    """L, a scalar, and dL/dW for weight (filters, channels / group, height, width), in its dtype.

    padding: "paper", "code", or (rows, columns).
    """
    if padding == "paper":
        pad = ((weight.shape[2] - 1) // stride[0] * stride[0], (weight.shape[3] - 1) // stride[1] * stride[1])
        is_plain = tuple(stride) == (1, 1) and weight.dtype in (torch.float32, torch.float64)
        part_of = _spectral_part if is_plain else _paper_part
        parts = [part_of(bank, stride, pad) for bank in weight.chunk(group)]
    else:
        pad = (1, 1) if isinstance(padding, str) else padding
        parts = [_code_part(bank, stride, pad) for bank in weight.chunk(group)]
    squares = torch.stack([part[0] for part in parts]).sum()
    return _normed(squares, torch.cat([part[1] for part in parts]), squared)


def matrix_orthogonality(weight: Tensor, squared: bool = False) -> tuple[Tensor, Tensor]:
    """L and dL/dW of |M^T M - I| for weight (filters, ...), on the smaller side."""
    filters = weight.flatten(1)
    tall = filters if len(filters) >= filters.shape[1] else filters.T
    off = tall.T @ tall
    off.diagonal().sub_(1)
    half = 2 * tall @ off
    gradient = half if tall is filters else half.T
    return _normed(off.square().sum(), gradient.reshape(weight.shape), squared)


def column_orthogonality(weight: Tensor, stride: int = 1, squared: bool = False) -> tuple[Tensor, Tensor]:
    """The input side: L = |V B^T - E| and dL/dW, as the authors' conv_orth_dist; no training script of theirs calls it.

    B has one row an input pixel of an n x n map, n = s (k - 1) + k: what the convolution without padding makes of it. V
    has the rows of the middle pixel, E picks it. weight (filters, channels, k, k), with k > s.
    """
    channels, side = weight.shape[1], stride * (weight.shape[2] - 1) + weight.shape[2]
    middle = torch.zeros(channels, channels, side * side, dtype=weight.dtype, device=weight.device)
    middle[:, :, side * side // 2] = torch.eye(channels, dtype=weight.dtype, device=weight.device)
    middle = middle.view(channels, channels, side, side)
    with torch.enable_grad():
        free = weight.detach().requires_grad_()
        off = F.conv_transpose2d(F.conv2d(middle, free, stride=stride), free, stride=stride) - middle
        squares = off.square().sum()
        (gradient,) = torch.autograd.grad(squares, free)
    return _normed(squares.detach(), gradient / 2, squared)


def _normed(squares: Tensor, half: Tensor, squared: bool) -> tuple[Tensor, Tensor]:
    """L and its gradient from L^2 and half the gradient of L^2."""
    if squared:
        return squares, 2 * half
    norm = squares.sqrt()
    return norm, half * norm.reciprocal().where(norm > 0, 0)


def _code_part(bank: Tensor, stride: Pair, pad: Pair) -> tuple[Tensor, Tensor]:
    """L^2 and half its gradient, at any padding; R has no symmetry to use then."""
    off = F.conv2d(bank, bank, stride=stride, padding=pad)
    centre = off.shape[3] // 2
    off[:, :, centre, centre].diagonal().sub_(1)
    return off.square().sum(), _correlated(bank, off, stride, pad, first=True, second=True)


def _spectral_part(bank: Tensor, stride: Pair, pad: Pair) -> tuple[Tensor, Tensor]:
    """The same at stride 1 in the frequency domain, where every shift of R is a product of matrices by itself.

    With filters padded by zeros to 2 k - 1 places an axis nothing wraps around: R^(f) = W^(f) W^(f)*, I is the identity
    at each f, and |R - I| is the same there (Parseval; 2 k - 1 is odd, so that all columns but the first count twice).
    """
    size = (bank.shape[2] + pad[0], bank.shape[3] + pad[1])
    spectrum = torch.fft.rfft2(bank, s=size)
    filters = spectrum.permute(2, 3, 0, 1).contiguous()
    off = filters @ filters.mH
    off.diagonal(dim1=-2, dim2=-1).sub_(1)
    squares = torch.view_as_real(off).square().sum((0, 2, 3, 4))
    total = (2 * squares.sum() - squares[0]) / math.prod(size)
    gradient = torch.fft.irfft2((off @ filters).permute(2, 3, 0, 1).contiguous(), s=size)
    return total, 2 * gradient[:, :, : bank.shape[2], : bank.shape[3]]


def _paper_part(bank: Tensor, stride: Pair, pad: Pair) -> tuple[Tensor, Tensor]:
    """The same at the padding P, where R_ij(a, b) = R_ji(-a, -b): the shifts a >= 0 give the rest.

    Both arguments then have the same gradient, so that one of them is enough.
    """
    rows = pad[0] // stride[0]
    half = F.conv2d(F.pad(bank, (pad[1], pad[1], 0, pad[0])), bank, stride=stride)
    half[:, :, 0, half.shape[3] // 2].diagonal().sub_(1)
    off = torch.cat([half[:, :, 1:].flip(2, 3).transpose(0, 1), half], dim=2) if rows else half
    return off.square().sum(), 2 * _correlated(bank, off, stride, pad, first=True, second=False)


def _correlated(bank: Tensor, off: Tensor, stride: Pair, pad: Pair, first: bool, second: bool) -> Tensor:
    """sum over both arguments of conv2d(bank, bank) of the gradient that `off` gives them."""
    made = torch.ops.aten.convolution_backward(
        off, bank, bank, None, stride, pad, (1, 1), False, (0, 0), 1, (first, second, False)
    )
    return sum((part for part in made[:2] if part is not None), torch.zeros_like(bank))
