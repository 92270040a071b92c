"""Training curves as a picture; matplotlib is imported only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.curves import Curves

Panel = tuple[str, list[tuple[str, list[int], list[float]]]]  # title; (name, iterations, values) of each curve


def panels(curves: Curves) -> list[Panel]:
    """What is drawn, panel by panel: losses, other test outputs, the learning rate, then what is told of layers."""
    drawn: list[Panel] = []
    losses = [_curve(curves, "train", "loss", "train loss")] if "loss" in curves.columns("train") else []
    tests = [column for column in curves.columns("test")]
    losses += [_curve(curves, "test", column, f"test {column}") for column in tests if "loss" in column]
    drawn.append(("loss", losses))
    drawn.append(("test", [_curve(curves, "test", column, column) for column in tests if "loss" not in column]))
    drawn.append(("lr", [_curve(curves, "train", "lr", "lr")] if "lr" in curves.columns("train") else []))
    for section in ("rank", "weight norm", "force norm", "angle"):
        drawn.append((section, [_curve(curves, section, layer, layer) for layer in curves.columns(section)]))
    return [(title, lines) for title, lines in drawn if lines]


def plot_curves(curves: Curves, path: Path, title: str = "") -> Path:
    """`draw` what `panels` finds."""
    return draw(panels(curves), path, title)


def draw(found: list[Panel], path: Path, title: str = "") -> Path:
    """Draw panels into the file `path`, by its suffix; CaffeCompatError without matplotlib or for another suffix."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise cc.DataError("plots need the package matplotlib: pip install caffe_compat[plots]") from None
    figure = Figure(figsize=(8, 2.6 * len(found)), layout="constrained")
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in kinds:
        raise cc.DataError(f"{path}: a picture's name ends in one of: {', '.join(f'.{kind}' for kind in kinds)}")
    axes: Any = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title)
    for place, (label, lines) in zip(axes, found, strict=True):
        for name, iterations, values in lines:
            place.plot(iterations, values, label=name, marker="." if len(values) < 30 else None, linewidth=1)
        place.set_ylabel(label)
        place.grid(alpha=0.3)
        place.legend(fontsize="x-small", ncols=2)
    axes[-1].set_xlabel("iteration")
    with cc.write_atomically(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])
    return path


def _curve(curves: Curves, section: str, column: str, name: str) -> tuple[str, list[int], list[float]]:
    points = [(iteration, row[column]) for iteration, row in curves.rows(section) if column in row]
    return name, [iteration for iteration, _ in points], [value for _, value in points]
