"""How far the outputs of an exported net are from those of the net itself."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from caffe_compat.errors import GraphError


def relative_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value of `wanted`; inf where the sizes differ, 0 for empty arrays.

    Both may be of any shapes that hold the same values in the same order.
    """
    if found.size != wanted.size:
        return float("inf")
    largest = max(float(np.abs(wanted).max(initial=0)), 1e-30)
    return float(np.abs(found.reshape(wanted.shape) - wanted).max(initial=0)) / largest


def check_outputs(
    path: str | os.PathLike[str],
    found: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    tolerance: float,
) -> dict[str, float]:
    """{output: its `relative_difference`} of what the file `path` gave to what the net gives, in the order of `found`.

    GraphError for the first output of another shape, or off by more than `tolerance`, or that is no number.
    """
    differences = {}
    for name, values in found.items():
        if values.shape != wanted[name].shape:
            raise GraphError(
                f"{os.fspath(path)}: output '{name}' has shape {values.shape}; the net gives {wanted[name].shape}"
            )
        differences[name] = relative_difference(values, wanted[name])
        if not differences[name] <= tolerance:
            raise GraphError(
                f"{os.fspath(path)}: output '{name}' is off by {differences[name]:.3g} of its largest value; "
                f"at most {tolerance:g} is wanted"
            )
    return differences
