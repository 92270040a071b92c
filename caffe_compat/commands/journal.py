"""The runs in our JSON lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.curves import Curves, Row, Run


def read_runs(lines: Iterable[str]) -> list[Run]:
    """Every run in `lines`. One begins with its event "start", or where training goes back to iteration 0 without."""
    runs, reached, torn = [Run()], -1, 0
    for line in lines:
        try:
            event = cc.parse_json(line)
            kind, iteration, moment = event["event"], _iteration(event), float(event["time"])
            if kind == "start":
                runs.append(Run(resume=_resumed(event), began=moment))
            elif kind == "step" and iteration == 0 and reached > 0:
                runs.append(Run(began=moment))
            if kind in ("start", "step"):
                reached = iteration
            _add_event(runs[-1], kind, iteration, event, moment)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            torn += 1
    runs[-1].torn = torn
    return runs


def _iteration(event: dict[str, Any]) -> int:
    """The iteration of an event, 0 where it tells of none; ValueError for what no run comes to."""
    iteration = event.get("iteration", 0)
    if isinstance(iteration, bool) or not isinstance(iteration, int) or not 0 <= iteration < 1 << 31:
        raise ValueError("no number of an iteration")
    return iteration


def _resumed(event: dict[str, Any]) -> str | None:
    """The snapshot that a run was started from; the first versions told it in their command alone."""
    if "resume" in event:
        return None if event["resume"] is None else str(event["resume"])
    with suppress(ValueError, IndexError):
        words = shlex.split(event.get("command", ""))
        return words[words.index("--snapshot") + 1]
    return None


def _add_event(run: Run, kind: str, iteration: int, event: dict[str, Any], moment: float) -> None:
    curves = run.curves
    if run.began is None:
        run.began = moment
    if kind == "step":
        row = {"loss": float(event["smoothed_loss"]), "lr": float(event["lr"])}
        curves.add("train", iteration, row, moment)
    elif kind == "test":
        curves.add("test", iteration, _outputs(event["outputs"], event["net"]), moment)
    elif kind == "snapshot":
        run.snapshots[str(event["path"])] = iteration
    elif kind == "weights":
        curves.add("weight norm", iteration, _floats(event["norms"]))
    elif kind == "ranks":
        _add_ranks(curves, iteration, event)


def _add_ranks(curves: Curves, iteration: int, event: dict[str, Any]) -> None:
    curves.add("rank", iteration, _floats(event["ranks"]))
    curves.add("force norm", iteration, _floats(event.get("force_norms", {})))
    means = {layer: angles["mean"] for layer, angles in event.get("angles", {}).items() if angles}
    curves.add("angle", iteration, _floats(means))


def _floats(values: dict[str, Any]) -> Row:
    return {name: float(value) for name, value in values.items()}


def _outputs(outputs: dict[str, Any], net: int) -> Row:
    row: Row = {}
    for name, value in outputs.items():
        column = f"{name}#{net}" if net else name
        if isinstance(value, list):
            row.update({f"{column}[{index}]": float(item) for index, item in enumerate(value)})
        else:
            row[column] = float(value)
    return row
