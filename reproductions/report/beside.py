"""The figure of the paper's fork of Caffe beside this package; None where that was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reproductions.report.facts import Facts
from reproductions.report.figures import Figure
from reproductions.report.plot import Plot
from reproductions.report.svg import Axis, Point, around, swatch_line

SERIES = {"fork": (0, ""), "here": (1, "dashed"), "nudged": (2, "dotted"), "free": (3, "dotted")}
NAMES = {
    "fork": "the fork",
    "here": "this package",
    "nudged": "this package, each first weight one rounding larger",
    "free": "this package without force",
}
PARTED = ("fork", "nudged", "free")
LAYER = "conv2"  # with a force; conv1, whose first outputs are nearly 0, parts by a rounding alone
TOLD = 10  # rows of the long run in the table, or up to twice as many
FULL = {"conv1": 32, "conv2": 32, "conv3": 64}


def beside_the_fork(facts: Facts) -> Figure | None:
    """Losses and ranks of both, and how fast their weights part."""
    near, far = (of_stage(facts.beside_fork, stage) for stage in ("near", "far"))
    if len(far) < 2 or len(near) < 2:
        return None
    title = "ConvNet: the paper's fork beside this package"
    caption = (
        f"The same solver (l2, λ 0.0003), first weights and order of images over {far[-1]['iteration']:,} iterations. "
        f"The third plot: the largest difference of a weight of {LAYER} from this package's run, as a share of "
        "the largest. The fork parts from it as a run whose first weights are one rounding larger does, and at first "
        "ten times less than one without force."
    )
    pictures = (
        drawn("loss, mean of 500 iterations", far, {who: losses(far, who) for who in ("fork", "here")}),
        drawn("average rank ratio, %", far, {who: ratios(far, who) for who in ("fork", "here")}),
        drawn(
            f"difference of a weight of {LAYER}, share",
            near,
            {who: differences(near, who) for who in PARTED},
            logarithmic=True,
        ),
    )
    keys = tuple((swatch_line(*SERIES[who]), NAMES[who]) for who in SERIES)
    parted = (f"difference of {LAYER}, {name}" for name in ("fork", "rounding", "no force"))
    head = ("iterations", "error, %", "loss", "ranks, fork", "ranks, here", *parted)
    rows = (near[0], *near[9::10], *far[:: -max(len(far) // TOLD, 1)][::-1])
    return Figure("beside-fork", title, caption, pictures, keys, head, tuple(map(row_text, rows)))


def of_stage(rows: Sequence[Mapping[str, Any]], stage: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["stage"] == stage]


def losses(rows: Sequence[Mapping[str, Any]], who: str) -> list[Point]:
    return [(row["iteration"], row["loss"][who]) for row in rows if row["loss"][who] is not None]


def ratios(rows: Sequence[Mapping[str, Any]], who: str) -> list[Point]:
    """The mean over the convolutions of rank / filters, percent."""
    shares = [[rank / FULL[layer] for layer, rank in row["ranks"][who].items()] for row in rows]
    return [(row["iteration"], 100 * sum(each) / len(each)) for row, each in zip(rows, shares, strict=True)]


def differences(rows: Sequence[Mapping[str, Any]], who: str) -> list[Point]:
    """Of LAYER; a difference of nothing has no place on a logarithmic axis."""
    return [(row["iteration"], share) for row in rows if (share := row["difference"][who][LAYER])]


def drawn(
    label: str, rows: Sequence[Mapping[str, Any]], lines: Mapping[str, list[Point]], logarithmic: bool = False
) -> str:
    """One plot of these lines."""
    values = [value for points in lines.values() for _, value in points] or [1.0]
    axis = Axis("", min(values) / 2, max(values) * 2, True) if logarithmic else around("", values)
    words = "Fork and package, from the same weights." if not logarithmic else "Logarithmic; the start of the runs."
    x = Axis("iterations", 0, rows[-1]["iteration"])
    plot = Plot(f"ConvNet: {label}", words, x, axis, height=300, left=58, heading=label)
    for who, points in lines.items():
        plot.line(points, *SERIES[who])
    return plot.svg()


def row_text(row: Mapping[str, Any]) -> tuple[str, ...]:
    def both(found: Mapping[str, float]) -> str:
        return " and ".join(f"{found[who]:.2f}" for who in ("fork", "here") if found.get(who) is not None)

    ranks = ("/".join(map(str, row["ranks"][who].values())) for who in ("fork", "here"))
    apart = (f"{row['difference'][who][LAYER]:.1e}" if who in row["difference"] else "" for who in PARTED)
    return f"{row['iteration']:,}", both(row["error"]), both(row["loss"]), *ranks, *apart
