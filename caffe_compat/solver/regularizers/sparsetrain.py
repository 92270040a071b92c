"""SparseTrain (Dai et al., DAC 2020; Ye et al., ECCV 2020): gradients of activations are pruned at random, unbiased.

With the gradient g of a batch taken as normal, of standard deviation sqrt(pi / 2) mean |g|, the share p lies below

    tau = Phi^-1((1 + p) / 2) sqrt(pi / 2) mean |g|

where |g| >= tau, g stays; else it becomes sign(g) tau with probability |g| / tau, else 0. The threshold that is used is
the mean of those of the last N batches before, and none until there are N. No authors' code is public: "paper" restates
it; "third_party" is HaFred/pytorch_imagenet: the threshold of the same batch, without the factor sqrt(pi / 2).
"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor

RULES = ("paper", "third_party")


def threshold(gradient: Tensor, rate: float, rule: str = "paper") -> float:
    """tau of this gradient, zeros counted; rate: p, in [0, 1)."""
    factor = math.sqrt(math.pi / 2) if rule == "paper" else 1.0
    return float(ndtri((1 + rate) / 2)) * factor * float(gradient.abs().mean(dtype=torch.float64))


def prune_gradient(gradient: Tensor, tau: float, draws: Tensor) -> Tensor:
    """`gradient` pruned at `tau`, in its shape and dtype; draws: uniform in [0, 1), of the same shape."""
    size = gradient.abs()
    rounded = (gradient.sign() * tau).where(size > draws * tau, 0)
    return gradient.where(size >= tau, rounded)
