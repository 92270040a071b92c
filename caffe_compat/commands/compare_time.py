"""Two nets timed side by side, layer by layer and whole: `caffe-compat time --compare A B`."""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.costs import print_json
from caffe_compat.commands.options import choose_device
from caffe_compat.progress import in_steps

Key = tuple[str, str, int]  # a layer: its name, its type, and how many of both stand before it
Times = dict[Key, list[float]]  # seconds of every round, by layer


def compare(arguments: argparse.Namespace) -> int:
    """Print the times of the forward passes of the two nets of --compare, which take turns; the exit status."""
    import torch

    device = choose_device(arguments)
    nets = [_net(path, arguments).to(device) for path in arguments.compare]
    inputs = shared_inputs(nets)
    rounds = max(arguments.iterations, 2)
    there = [net.prepare(backend=arguments.backend) for net in nets] if arguments.backend else []
    for prepared in there:
        prepared(**inputs)  # what the runtime does not take is told before anything is measured
    with cc.pinned(torch.get_num_threads()):
        layers = layer_times(nets, inputs, rounds, max(arguments.warm_up, 1))
    whole = {layout: cc.compare_time(nets, inputs, rounds, layout) for layout in layouts(device)}
    whole["prepared"] = cc.compare_time([net.prepare() for net in nets], inputs, rounds)
    if there:
        whole[arguments.backend] = cc.compare_time(there, inputs, rounds)
    if arguments.json:
        total = [(layout, times[0], times[1]) for layout, times in whole.items()]
        print_json({"layers": in_ms(rows_of(layers)), "total": in_ms(total)})
        return 0
    print(table(layers, whole))
    where = f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"ms of a forward pass in TEST; medians and quartiles of {rounds} rounds that take turns; {where}")
    return 0


def layouts(device: str) -> tuple[str, ...]:
    """How activations are laid out in the passes that are timed whole: as nets run, then otherwise."""
    return ("channels_last", "contiguous") if device == "cpu" else ("channels_last",)


def _net(path: str, arguments: argparse.Namespace) -> cc.Net:
    return cc.Net(
        cc.read_model(path),
        phase="TEST",
        level=arguments.level,
        stages=arguments.stage,
        compat=arguments.compat,
        folder=Path(path).parent,
    ).eval()


def shared_inputs(nets: Sequence[cc.Net]) -> dict[str, Any]:
    """What both nets are fed: values that the first can take.

    GraphError where the nets have other inputs, or the same in other shapes.
    """
    import torch

    shapes = [{name: net.shapes[name] for name in net.input_names} for net in nets]
    if shapes[0] != shapes[1]:
        raise cc.GraphError(f"the nets take other inputs: {shapes[0]} and {shapes[1]}; both must take the same")
    place = next((parameter.device for net in nets for parameter in net.parameters()), torch.device("cpu"))
    return {name: torch.from_numpy(values).to(place) for name, values in cc.valid_inputs(nets[0]).items()}


def layer_times(nets: Sequence[cc.Net], inputs: dict[str, Any], rounds: int, warm_up: int) -> list[Times]:
    """Seconds of every layer with a bottom in each round; the nets take turns, after `warm_up` rounds not counted."""
    import torch

    from caffe_compat.commands.layer_timer import LayerTimer

    timers = [LayerTimer(net) for net in nets]
    keys = [layer_keys(net) for net in nets]
    times: list[Times] = [{key: [] for layer, key in each.items() if layer.param.bottom} for each in keys]
    for count in in_steps("timing each layer", range(warm_up + rounds), lambda _: ""):
        for timer, known, found in zip(timers, keys, times, strict=True):
            timer.clear()
            timer.steps.clear()
            with torch.inference_mode():
                timer.run(*(inputs[name] for name in timer.net.input_names))
            for layer, key in known.items() if count >= warm_up else ():
                if key in found:
                    found[key].append(timer.forward_seconds[layer])
    return times


def layer_keys(net: cc.Net) -> dict[Any, Key]:
    """What each layer is told by in another net; names alone do not tell, for layers may share one."""
    seen: Counter[tuple[str, str]] = Counter()
    keys: dict[Any, Key] = {}
    for node, layer in net.steps:
        kind = (node.name, str(node.param.type))
        keys[layer] = (*kind, seen[kind])
        seen[kind] += 1
    return keys


def rows_of(layers: Sequence[Times]) -> list[tuple[str, Sequence[float], Sequence[float]]]:
    """Every layer of the first net with those of the second in its place: name, seconds of each; empty for none."""
    rows: list[tuple[str, Sequence[float], Sequence[float]]] = []
    taken: set[Key] = set()
    for key, seconds in layers[0].items():
        stand_ins = [key] if key in layers[1] else [other for other in layers[1] if _stands_for(other, key, layers)]
        taken.update(stand_ins)
        together = [sum(parts) for parts in zip(*(layers[1][other] for other in stand_ins), strict=True)]
        rows.append((key[0], seconds, together))
    return rows + [(key[0], [], seconds) for key, seconds in layers[1].items() if key not in taken]


def in_ms(rows: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> list[dict[str, Any]]:
    """Medians in milliseconds, null where a net has no such layer."""
    medians = [[1e3 * statistics.median(each) if any(each) else None for each in row[1:]] for row in rows]
    return [{"name": row[0], "a": a, "b": b} for row, (a, b) in zip(rows, medians, strict=True)]


def table(layers: Sequence[Times], whole: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """A row for every layer of the first net with those of the second in its place, and one for each whole pass.

    whole: {layout, "prepared" or a backend: seconds of every round of both nets}, the layout in which nets run first.
    """
    rows: list[tuple[str, ...]] = [("layer", "A", "quartiles", "B", "quartiles", "A/B")]
    rows += [_row(*each) for each in rows_of(layers)]
    for index, (layout, (before, after)) in enumerate(whole.items()):
        rows.append(_row(f"total, {layout}" if index else "total", before, after))
    rows = [row for row in rows if set(row[1:]) != {"-"}]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def _stands_for(other: Key, key: Key, layers: Sequence[Times]) -> bool:
    """Whether layer `other` of B took the place of layer `key` of A, as `decompose` names them."""
    gone = [each for each in layers[0] if each not in layers[1] and other[0].startswith(f"{each[0]}_")]
    return other not in layers[0] and max(gone, key=lambda each: len(each[0]), default=None) == key


def _row(name: str, before: Sequence[float], after: Sequence[float]) -> tuple[str, ...]:
    cells: list[Any] = [name]
    for seconds in (before, after):
        if any(seconds):
            low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
            cells += [f"{1e3 * statistics.median(seconds):.3f}", f"{1e3 * low:.3f}-{1e3 * high:.3f}"]
        else:
            cells += ["-", "-"]
    both = any(before) and any(after)
    return (*cells, f"{statistics.median(before) / statistics.median(after):.2f}" if both else "-")
