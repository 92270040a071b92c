"""Print the layer types: the module of each, whose it is, what is computed, and what its numbers are compared with.

With TYPE, all that is known of one. Modules are below caffe_compat.layers, but for those of plugins. forward: computed,
shapes (the layer is built and does not run) or given (the user gives the values). backward: derivative, own (as its
fork's Backward says, which is not the derivative) or none. exact: Caffe's own numbers, or those of a test's reference.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from dataclasses import asdict
from typing import Any

import caffe_compat as cc

COLUMNS = ("type", "module", "whose", "forward", "backward", "onnx", "exact")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", nargs="?", metavar="TYPE", help="a layer type, as prototxts spell it")
    parser.add_argument("--json", action="store_true", help="as JSON: a list, or with TYPE an object")


def run(arguments: argparse.Namespace) -> int:
    known = dict(cc.layer_types())
    if arguments.type is None or arguments.type not in known:
        known |= of_plugins()
    if arguments.type is None:
        rows = [known[name] for name in sorted(known)]
        print(json.dumps([asdict(each) for each in rows], indent=1) if arguments.json else table(rows))
        return 0
    if arguments.type not in known:
        raise cc.UnsupportedLayerError(unknown(arguments.type, known))
    facts = asdict(known[arguments.type])
    print(json.dumps(facts, indent=1) if arguments.json else sheet(facts))
    return 0


def of_plugins() -> dict[str, cc.LayerType]:
    """The types that plugins add; a plugin that cannot be imported is named on stderr."""
    if not cc.has_plugins():
        return {}
    found, faults = cc.plugin_layer_types()
    for fault in faults:
        print(f"caffe-compat: {fault}", file=sys.stderr)
    return found


def unknown(name: str, known: dict[str, cc.LayerType]) -> str:
    """One line on a type that nobody has, with the nearest one."""
    spelled = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f"layer type '{name}' is not known; " + (
        f"did you mean '{spelled[near[0]]}'?" if near else "`caffe-compat layers` lists all"
    )


def table(rows: list[cc.LayerType]) -> str:
    """One line a type, aligned."""
    cells = [COLUMNS, *(tuple(word(getattr(each, name)) for name in COLUMNS) for each in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)


def word(value: object) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"


def sheet(facts: dict[str, Any]) -> str:
    """One line a fact; of the variants the fields that choose them."""
    lines = {name.replace("_", " "): word(value) for name, value in facts.items() if name != "variants"}
    for each in facts["variants"]:
        lines[f"variant {each['module']}"] = f"where the message has {' or '.join(each['fields'])}"
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in lines.items())
