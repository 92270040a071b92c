"""Two files of weights, states or arrays, blob by blob: `caffe-compat compare a.caffemodel b.caffemodel`."""

from __future__ import annotations

import json
import math
from typing import Any

import caffe_compat as cc

Row = dict[str, Any]


def compare(one: str, other: str, tolerance: float, as_json: bool) -> int:
    """Print how far the blobs of two files are apart; 0 where all are within `tolerance`, else 1.

    tolerance: of a blob's largest value in `one`.
    """
    (kind, first), (their_kind, second) = cc.stored_arrays(one), cc.stored_arrays(other)
    if kind != their_kind:
        raise cc.SolverError(f"compare: {one} holds {kind} and {other} {their_kind}; two files of one kind are wanted")
    rows = list(_rows(first, second))
    bad = [row for row in rows if row["problem"] or not row["relative"] <= tolerance]
    if as_json:
        print(json.dumps({"a": one, "b": other, "tolerance": tolerance, "equal": not bad, "blobs": rows}))
        return int(bool(bad))
    print("\n".join(_table(rows)))
    if bad:
        print(
            f"{len(bad)} of {len(rows)} blobs differ by more than {tolerance:g} of their largest value, or lack another"
        )
    else:
        print(f"{len(rows)} blobs are equal within {tolerance:g} of their largest value")
    return int(bool(bad))


def _rows(one: cc.Weights, other: cc.Weights) -> list[Row]:
    """A row for every blob of both, in the order of the first."""
    rows: list[Row] = []
    for layer in dict.fromkeys([*one, *other]):
        pairs = one.get(layer, ()), other.get(layer, ())
        for index in range(max(map(len, pairs))):
            a, b = (blobs[index] if index < len(blobs) else None for blobs in pairs)
            rows.append({"layer": layer, "blob": index, **_difference(a, b)})
    return rows


def _difference(a: Any, b: Any) -> Row:
    import numpy as np

    if a is None or b is None:
        there = b if a is None else a
        only = "only in B" if a is None else "only in A"
        return {"shape": list(there.shape), "absolute": None, "relative": None, "problem": only}
    if a.shape != b.shape:
        return {"shape": list(a.shape), "absolute": None, "relative": None, "problem": f"B has {_shape(b.shape)}"}
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.abs(np.asarray(a, np.float64) - b))
    apart = np.where(np.isnan(apart), math.inf, apart)
    finite = np.abs(a[np.isfinite(a)])
    absolute, largest = float(apart.max(initial=0)), float(finite.max(initial=0))
    relative = 0.0 if absolute == 0 else absolute / largest if largest else math.inf
    problem = "values that are not finite" if math.isinf(absolute) else ""
    sayable = [None if math.isinf(value) else value for value in (absolute, relative)]
    return {"shape": list(a.shape), "absolute": sayable[0], "relative": sayable[1], "problem": problem or (
        "all zeros in A" if math.isinf(relative) else "")}  # fmt: skip


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "()"


def _table(rows: list[Row]) -> list[str]:
    cells = [("layer", "blob", "shape", "max absolute", "max relative", "")]
    for row in rows:
        numbers = ["-" if row[name] is None else f"{row[name]:.3g}" for name in ("absolute", "relative")]
        cells.append((row["layer"], str(row["blob"]), _shape(row["shape"]), *numbers, row["problem"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
