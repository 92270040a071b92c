"""Caffe's weight fillers (filler.hpp): Caffe's distributions, the random numbers of `draws`.

The fans count every value behind an axis: fan_in = count / shape[0] and fan_out = count / shape[1], for every layer
type, whatever its groups; an axis that is missing counts as 1.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.draws import source
from caffe_compat.proto.printer import format_text


def fill(blob: Tensor, filler: Any, compat: str = "bvlc", place: str = "filler") -> Tensor:
    """`blob` filled in place as the FillerParameter `filler` says.

    compat: "bvlc" or "wen2017"; they differ in "bilinear". place: what an error message begins with.
    Raises UnsupportedParameterError for an unknown type or a field that Caffe would refuse.
    """
    rule = _RULES.get(filler.type)
    if rule is None:
        near = difflib.get_close_matches(filler.type, _RULES, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UnsupportedParameterError(
            f"{place}: filler type '{filler.type}' is not known; {hint}known: {', '.join(sorted(_RULES))}"
        )
    try:
        with torch.no_grad():
            return rule(blob, filler, compat)
    except _FillerError as error:
        raise UnsupportedParameterError(f"{place}: {filler.type} filler {error}") from None
    except (RuntimeError, OverflowError, ZeroDivisionError) as error:  # torch on bounds that are no float32
        if "memory" in str(error):
            raise
        fields = " ".join(format_text(filler).split())
        raise UnsupportedParameterError(f"{place}: no values come of filler {{ {fields} }}: {error}") from None


class _FillerError(Exception):
    """What is wrong with a filler's fields, before its place is known."""


def _constant(blob: Tensor, filler: Any, compat: str) -> Tensor:
    _check_dense(filler)
    return blob.fill_(filler.value)


def _uniform(blob: Tensor, filler: Any, compat: str) -> Tensor:
    _check_dense(filler)
    if filler.min > filler.max:
        raise _FillerError(f"has min {filler.min:g} above max {filler.max:g}")
    if (
        not filler.max - filler.min <= torch.finfo(torch.float32).max
    ):  # found without values too, as `check` builds blobs
        raise _FillerError(f"has min {filler.min:g} and max {filler.max:g}; give numbers less far apart")
    return source().uniform(blob, filler.min, filler.max)


def _gaussian(blob: Tensor, filler: Any, compat: str) -> Tensor:
    """Normal; `sparse: s` keeps each value with probability s / shape[0] and makes the others 0."""
    if not filler.std > 0:
        raise _FillerError(f"has std {filler.std:g}; give a positive one, or type 'constant'")
    source().normal(blob, filler.mean, filler.std)
    if filler.sparse == -1:
        return blob
    outputs = blob.shape[0] if blob.dim() else 1
    if not 0 <= filler.sparse <= outputs:
        raise _FillerError(f"has sparse {filler.sparse}; give 0 to {outputs}, the blob's first axis")
    return blob.mul_(source().bernoulli(torch.empty_like(blob), filler.sparse / outputs))


def _positive_unitball(blob: Tensor, filler: Any, compat: str) -> Tensor:
    """Uniform in [0, 1), then each entry of the first axis divided by its sum."""
    _check_dense(filler)
    rows = source().uniform(blob, 0, 1).view(blob.shape[0] if blob.dim() else 1, -1)
    rows.div_(rows.sum(1, keepdim=True))
    return blob


def _xavier(blob: Tensor, filler: Any, compat: str) -> Tensor:
    """Uniform within sqrt(3 / n) of 0 (Glorot and Bengio 2010; n is fan_in unless variance_norm says otherwise)."""
    _check_dense(filler)
    bound = math.sqrt(3 / _fan(blob, filler))
    return source().uniform(blob, -bound, bound)


def _msra(blob: Tensor, filler: Any, compat: str) -> Tensor:
    """Normal with variance 2 / n (He et al. 2015)."""
    _check_dense(filler)
    return source().normal(blob, 0, math.sqrt(2 / _fan(blob, filler)))


def _bilinear(blob: Tensor, filler: Any, compat: str) -> Tensor:
    """The kernel of upsampling by f = ceil(width / 2), in every channel pair: (1 - |x/f - c|)(1 - |y/f - c|)."""
    _check_dense(filler)
    if blob.dim() != 4 or blob.shape[2] != blob.shape[3]:
        raise _FillerError(f"needs a blob of 4 axes with a square kernel, not {tuple(blob.shape)}")
    if blob.is_meta:
        return blob
    width = blob.shape[3]
    f = math.ceil(width / 2)
    # Caffe 1.0 centred the kernel of every width; the fork's older formula differs for widths 2, 3, 6, 7, ...
    c = (width - 1) / (2 * f) if compat == "bvlc" else (2 * f - 1 - f % 2) / (2 * f)
    taps = 1 - (torch.arange(width, dtype=torch.float64) / f - c).abs()
    return blob.copy_(torch.outer(taps, taps).expand(blob.shape))


def _check_dense(filler: Any) -> None:
    if filler.sparse != -1:
        raise _FillerError("cannot be sparse; remove sparse, or use type 'gaussian'")


def _fan(blob: Tensor, filler: Any) -> float:
    """The n of xavier and msra, as `variance_norm` chooses it."""
    fan_in = blob.numel() // (blob.shape[0] if blob.dim() > 0 else 1)
    fan_out = blob.numel() // (blob.shape[1] if blob.dim() > 1 else 1)
    chosen = {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out, filler.AVERAGE: (fan_in + fan_out) / 2}
    return float(chosen[filler.variance_norm])


_RULES: dict[str, Callable[[Tensor, Any, str], Tensor]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
