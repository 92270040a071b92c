"""Caffe's weight fillers (filler.hpp): Caffe's distributions, torch's random numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def fill(blob: Tensor, filler: Any) -> Tensor:
    """`blob` filled in place as the FillerParameter says."""
    return blob.fill_(filler.value)
