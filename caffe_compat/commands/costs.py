"""What two nets cost, for programs: the same numbers as the table of `cc.compare_cost`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import caffe_compat as cc


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def print_json(facts: Any) -> None:
    """Print `facts` as one JSON value; numbers that JSON has no word for become null."""
    print(json.dumps(_sayable(facts), indent=1, default=str))


def _sayable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _sayable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(each) for each in value]
    if hasattr(value, "tolist"):
        return _sayable(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def costs_of(found: cc.Comparison) -> dict[str, Any]:
    """{layers: {name: {before, after}}, before, after, speedup}; each cost as multiply_adds and parameters."""
    layers = {name: {"before": asdict(was), "after": asdict(now)} for name, (was, now) in found.layers.items()}
    whole = {"before": asdict(found.before), "after": asdict(found.after), "speedup": found.speedup}
    return {"layers": layers, **whole}
