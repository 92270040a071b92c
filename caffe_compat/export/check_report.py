"""What a check of a net found: a verdict on every layer, problems, and notes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from caffe_compat.showing import message, visible

EXACT, APPROXIMATE, UNSUPPORTED = "exact", "approximate", "unsupported"
VERDICTS = (EXACT, APPROXIMATE, UNSUPPORTED)
FINDINGS = {
    "problem": {
        "wiring": "a bottom that nobody makes, a top made twice, a wrong number of either, opposed rules, no layers",
        "unsupported": "an unknown layer type or value, with the nearest name; a Python module that is missing",
        "shape": "a bottom that a layer cannot take, windows outside the image, blobs that differ where shared",
        "data": "data that is here and damaged, or does not fit the layer; batch_size 0; labels beyond the classes",
        "fork-field": "a field of a fork that the layer does not obey, and whose it is",
        "unknown-field": "a field of a binary net that no fork known here has, or several have with different meanings",
        "name": "two layers of one name with weights",
        "in-place": "an in-place layer whose values in Caffe nobody can tell",
        "weights": "layers or files without weights, blobs whose number or shape does not fit",
        "runtime": "what a runtime of `--for` computes otherwise, ignores or does not take",
        "values": "values that are not finite, BatchNorm whose factor is 0 beside statistics, variances below 0",
    },
    "note": {
        "data": "a source whose data is not here, and the shapes taken in its place; how many labels were looked at",
        "shape": "layers whose shapes could not be checked",
        "sharing": "parameters that layers share",
        "in-place": "layers that compute, as in Caffe, with what a layer in place has overwritten",
        "weights": "weights that no layer uses",
        "unread-field": "a field of a fork's own layer that no code here reads",
        "code": "a Python layer, whose file and class would run",
        "runtime": "a version of a runtime other than that of which something is known, or a net not looked at",
        "writes": "a layer that writes a file, and whether outside the working folder",
        "dialect": "the fields that show which fork the net is written for, and in which dialect the weights are",
    },
}
"""Word of a Finding -> its kind -> what it tells."""


@dataclass(frozen=True)
class Verdict:
    """How far a layer computes what Caffe does: "exact", "approximate" or "unsupported", and why it is not exact."""

    layer: str
    type: str
    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing to know. layer: empty where it concerns the whole net. kind: a word to sort by, such as "weights"."""

    layer: str
    kind: str
    message: str


@dataclass(frozen=True)
class Report:
    """All that a check found in one net.

    net: its name. dialect: the fork that it is written for, "bvlc" for Caffe 1.0. phases: those that were checked.
    problems: what keeps the net from building, or from giving what Caffe gives. notes: what is good to know.
    """

    net: str
    dialect: str
    phases: tuple[str, ...]
    layers: tuple[Verdict, ...]
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> str:
        """The report as a JSON object, with `clean` beside the fields."""
        return json.dumps({"clean": self.clean, **asdict(self)}, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        counts = {verdict: sum(each.verdict == verdict for each in self.layers) for verdict in VERDICTS}
        total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        lines = [f"net '{visible(self.net)}', dialect {self.dialect}, phases {' and '.join(self.phases) or 'none'}"]
        rows = [(each.layer, each.type, each.verdict, each.reason) for each in self.layers]
        lines += _aligned([tuple(map(message, row)) for row in rows])
        lines += _listed("problem", self.problems) + _listed("note", self.notes)
        plural = "" if len(self.problems) == 1 else "s"
        return "\n".join([*lines, f"{len(self.layers)} layers: {total}; {len(self.problems) or 'no'} problem{plural}"])


def _listed(word: str, findings: Iterable[Finding]) -> list[str]:
    return [f"{word}: {message(finding.message)}" for finding in findings]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        "  ".join(["", *(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
