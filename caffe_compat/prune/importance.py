"""How important each filter is, from its weights, and where it takes data from gradients; which to remove then.

    l1, l2    the norm of the filter, without bias
    bn        |gamma| of the Scale behind it; OrthoReg's code divides it by the fan-in in nets without shortcuts
    fisher    (sum over the filter of w g, and of its bias)^2, g the mean gradient of the loss (OrthoReg's importance)
    tfo       (gamma g_gamma)^2

fisher and tfo as imp_estimator.py of EkdeepSLubana/OrthoReg at 869f049: the net in TEST, a batch is read while the
samples so far are not above the limit, batches count by their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caffe_compat.errors import DataError, RankError
from caffe_compat.net.net import Net
from caffe_compat.progress import in_steps

Scores = NDArray[np.float64]
FIXED = 1e7  # the importance of what must stay, in their code
PROTECTED = 0.05


def filter_norms(weight: NDArray[np.floating], power: float = 2) -> Scores:
    """The norm of every filter of weight (filters, ...): (filters,)."""
    norms: Scores = np.linalg.norm(weight.reshape(len(weight), -1).astype(np.float64), power, axis=1)
    return norms


def mean_gradients(
    net: Net, batches: Iterable[Mapping[str, Any]], samples: int = 10000
) -> tuple[dict[tuple[str, int], torch.Tensor], int]:
    """The mean gradient of the loss for every blob, {(layer, index): tensor}, and how many samples it is of.

    net: in TEST, with its loss. batches: {blob: values} each. DataError where there is none.
    """
    blobs = {(name, i): blob for name, every in net.params.items() for i, blob in enumerate(every)}
    for blob in blobs.values():
        blob.requires_grad_(blob.is_floating_point())
    totals = {place: torch.zeros_like(blob) for place, blob in blobs.items()}
    used = 0
    for batch in in_steps("finding gradients", batches, lambda _: ""):
        if used > samples:
            break
        size = len(next(iter(batch.values())))
        _, loss = net.forward_with_loss(**batch)
        if not loss.requires_grad:
            raise DataError(
                f"net '{net.graph.name}' has no loss in TEST that depends on its weights; name one that has"
            )
        grads = torch.autograd.grad(loss, list(blobs.values()), allow_unused=True)
        for place, grad in zip(blobs, grads, strict=True):
            if grad is not None:
                totals[place] += grad * size
        used += size
    if not used:
        raise DataError("importance by gradients needs data, and there is none; give the net's own, or batches")
    return {place: total / used for place, total in totals.items()}, used


def fisher(weights: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> Scores:
    """(sum over the filter of w g over all given blobs, filters first)^2: (filters,)."""
    sums = [(w * g).reshape(len(w), -1).sum(1) for w, g in zip(weights, gradients, strict=True)]
    scores: Scores = torch.stack(sums).sum(0).square().double().detach().numpy()
    return scores


def protected(count: int, share: float = PROTECTED) -> int:
    """How many filters, the last ones by index, OrthoReg's code keeps of a layer that once had `count`."""
    return math.floor(share * count) + 1


def choose_least(scores: Mapping[str, Scores], share: float, keep: int = 1) -> dict[str, list[int]]:
    """Per layer the filters to keep when floor(share * all filters) of the least scores go, over all layers together.

    keep: no layer is left with fewer. RankError for a share outside [0, 1).
    """
    check_share("remove", share)
    names = list(scores)
    flat = np.concatenate([scores[name] for name in names])
    owner = np.repeat(np.arange(len(names)), [len(scores[name]) for name in names])
    gone = np.zeros(len(flat), bool)
    gone[np.argsort(flat, kind="stable")[: math.floor(share * len(flat))]] = True
    kept = {}
    for place, name in enumerate(names):
        stays = ~gone[owner == place]
        if stays.sum() < keep:
            stays[np.argsort(-scores[name], kind="stable")[: min(keep, len(stays))]] = True
        kept[name] = np.flatnonzero(stays).tolist()
    return kept


def round_ratios(share: float, rounds: int) -> list[float]:
    """What each of n `rounds` removes of what is then left, for `share` p of all in the end: p / (i p + n (1 - p))."""
    check_share("remove", share)
    return [share / (i * share + rounds * (1 - share)) for i in range(1, rounds + 1)]


def check_share(what: str, share: float) -> None:
    """RankError where `share` is no share of filters to remove: outside [0, 1)."""
    if not 0 <= share < 1:
        raise RankError(f"{what} is {share:g}; wanted 0 or more and less than 1: nothing would be left of 1")
