"""Count the filters that training left without effect, layer by layer (Mehta et al., CVPR 2019).

caffe-compat sparsity NET WEIGHTS                 # by the scale behind BatchNorm: |gamma| at most 1e-3
caffe-compat sparsity NET WEIGHTS --batches 10    # and on batches of the net's own TEST data: never above 1e-12
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.costs import add_json, print_json
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.options import add_input
from caffe_compat.commands.targets import add_force_overwrite, check_targets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", metavar="WEIGHTS", help="its weights")
    parser.add_argument(
        "--batches", type=whole_number(0), default=0, metavar="N", help="batches of its own data to run"
    )
    parser.add_argument("--fuse", metavar="PREFIX", help="write the net without them, BatchNorm folded in")
    add_json(parser)
    add_input(parser)
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    written = [f"{arguments.fuse}.prototxt", f"{arguments.fuse}.caffemodel"] if arguments.fuse else []
    check_targets(written, [arguments.net, arguments.weights], arguments.force_overwrite)
    model = cc.read_model(arguments.net, arguments.weights)
    folder, shapes = Path(arguments.net).parent, dict(arguments.input) or None
    batches = cc.own_batches(model.net, arguments.batches, "TEST", folder=folder) if arguments.batches else []
    found = cc.measure_sparsity(model, batches, shapes, folder)
    if arguments.json:
        print_json({"layers": {name: _facts(layer) for name, layer in found.items()}, "saved": written})
    else:
        for row in [("layer", "filters", "|gamma| <= 1e-3", "never active", "mean selectivity"), *_rows(found)]:
            print("\t".join(row))
        if not found:
            print(f"{arguments.net}: no Convolution, and these are what is counted", file=sys.stderr)
    if arguments.fuse:
        cc.write_model(cc.prune_and_fuse(model, input_shapes=shapes, folder=folder), *written)
        if not arguments.json:
            print(f"Saved as {written[0]} and {written[1]}")
    return 0


def _facts(layer: Any) -> dict[str, Any]:
    selectivity = None if layer.universality is None else 1 - float(layer.universality.mean())
    return {
        "filters": layer.filters,
        "by_scale": layer.by_scale,
        "by_activation": layer.by_activation,
        "selectivity": selectivity,
    }


def _rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, layer in found.items():
        filters, *counts, selectivity = _facts(layer).values()
        shown = ["-" if count is None else str(count) for count in counts]
        rows.append((name, str(filters), *shown, "-" if selectivity is None else f"{selectivity:.3f}"))
    return rows
