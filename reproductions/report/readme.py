"""README.md of reproductions/, generated."""

from __future__ import annotations

from collections.abc import Sequence

from reproductions.report.causes import CAUSES
from reproductions.report.sheets import Note, Sheet

FIRST_LINE = (
    "<!-- made by `python -m reproductions.report`, do not edit; its words are in reproductions/report/readme.py -->"
)
INTRODUCTION = """
# Reproductions

*Coordinating Filters for Faster Deep Neural Networks* (Wen et al., ICCV 2017), side by side with what this package
measures. `index.html` shows the same with plots.

Each folder holds nets and solvers, written for this project with the layers and settings that the paper's authors
published, and a `run.py` that does everything from the data to the rows below: `--list` shows its steps, `--only STEP`
does one with those that it needs, `--record` writes rows and logs, `--smoke` tries it in seconds on made-up data. A CPU
build of the paper's fork of Caffe trains from these nets and solvers too.

| folder | what | how |
|---|---|---|
| `convnet/` | cifar10_full, the paper's ConvNet | `python -m reproductions.convnet.run --help` |
| `convnet/beside_fork.py` | the fork and this package | `python -m reproductions.convnet.beside_fork --help` |
| `lenet/` | LeNet on MNIST | `python -m reproductions.lenet.run --help` |
| `resnet20/` | ResNet-20 on CIFAR-10 | `python -m reproductions.resnet20.run --help` |
| `alexnet/`, `googlenet/`, `vgg16/` | with ImageNet | `python -m reproductions.alexnet.run --imagenet DIR` |
| `methods/` | other methods, see its `index.html` | `python -m reproductions.methods.convnet.run --help` |
| `quickstart/` | a small ConvNet on scikit-learn's digits, in two minutes | `python -m reproductions.quickstart` |
| `speed.py` | times of AlexNet and VGG16 at published ranks | `python -m reproductions.speed --record` |
| `gpu/` | long runs and speedups on one CUDA device, in parts | `python -m reproductions.gpu --help` |
| `scores.py` | public models that others trained with Caffe, scored | `python -m reproductions.scores --help` |
| `paper.csv` | the paper's numbers, each with where it was read | |
| `results/`, `logs/` | one row a run, and whole logs; `runs.py` says what the columns are | |

## The paper and ours

A cell reads `paper → ours (difference)`; the difference is ours less the paper's, and ours ± is the standard deviation
over seeds. Ranks are over all filters. A number alone has no counterpart. † was restored from other numbers of the
paper, ‡ read off a drawn curve or bar. Below each table stand the runs that answer it. Several runs may answer one row:
of those whose average rank ratio is at most the paper's, where there are such, that one counts whose ratio is lowest
while its error is at most 0.1 points above the baseline's; where no error is that low, the one with the lowest error.
The baseline is the run without force of the same start, on the same schedule or the nearest that was run, which the
table of every run names; where it names none, the best of the table.
"""
RUNS = """
## Every run

Errors are in percent of the test images, times in seconds, tests included. `above baseline`: points of error above the
run without force that stands behind them; branches have more iterations than theirs, or fewer.
"""


def readme(said: Sequence[str], paper: Sequence[Sheet], runs: Sequence[Sheet], unfinished: Sheet) -> str:
    """The whole file. said: the sentences that stand first."""
    first, rest = INTRODUCTION.strip().split("\n\nEach folder", 1)
    parts = [FIRST_LINE, first, *said, f"Each folder{rest}"]
    parts += [sheet_text(sheet) for sheet in paper]
    parts.append("## What was missed, and why, as far as we know\n\n" + "\n".join(f"- {cause}" for cause in CAUSES))
    parts.append(RUNS.strip())
    parts += [sheet_text(sheet) for sheet in runs]
    if unfinished.rows:
        parts.append("## Unfinished")
        parts.append(table(unfinished, code={2}))
    return "\n\n".join(parts) + "\n"


def sheet_text(sheet: Sheet) -> str:
    """A heading, the table, its notes."""
    logs = {place for place, name in enumerate(sheet.head) if name == "log"}
    return "\n\n".join(filter(None, [f"### {sheet.title}", table(sheet, logs=logs), notes(sheet.notes)]))


def table(sheet: Sheet, code: set[int] = frozenset(), logs: set[int] = frozenset()) -> str:  # type: ignore[assignment]
    """Rows with bold for what we measured; `code` and `logs` are columns of commands and of paths."""
    lines = ["| " + " | ".join(map(escaped, sheet.head)) + " |", "|" + "---|" * len(sheet.head)]
    for i, row in enumerate(sheet.rows):
        cells = []
        for j, text in enumerate(row):
            cell = escaped(text)
            if text and j in code:
                cell = f"`{cell}`"
            elif text and j in logs:
                cell = f"[log]({text})"
            elif (i, j) in sheet.strong:
                paper, _, ours = cell.partition(" → ")
                value, _, rest = ours.partition(" (")
                cell = f"{paper} → **{value}** ({rest}"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def notes(found: Sequence[Note]) -> str:
    return "\n".join(note_text(note) for note in found)


def note_text(note: Note) -> str:
    command = f" `{note.command}`" if note.command else ""
    logs = "".join(f" [log]({log})" for log in note.logs)
    return f"- {note.text}.{command}{logs}"


def escaped(text: str) -> str:
    return text.replace("|", r"\|")
