"""What a network's runs are: steps, each of which trains one net, and the network that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import caffe_compat as cc
from reproductions.runs import HERE

PUBLIC = "public:"  # begins the `start` of a step that starts from a public trained model


class StepError(cc.CaffeCompatError):
    """A step cannot be done: what is missing, and which option or step gives it."""


@dataclass(frozen=True)
class LowRank:
    """How the net that a step starts from is decomposed first.

    ranks_of: the step whose ranks at KEEP are taken, "" for those of the start itself. ranks: given ones instead.
    keep: the share of energy that is kept in place of KEEP. Layers whose rank is not below break-even stay dense.
    """

    method: str = "pca"
    ranks_of: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    keep: float = 0.95


@dataclass(frozen=True)
class Filters:
    """How the net that a step starts from loses filters first: by a criterion of `caffe-compat prune`.

    remove: share of the filters of each layer. beta: the preference of eprune. below: filters whose mean |w| is at most
    that much are made 0 first, for methods that leave them small. except_layers: those that keep all filters. batches:
    how many of the net's own training data `fisher` and `tfo` see. A net without zeros stays as it is under "zeros".
    """

    criterion: str
    remove: float = 0.5
    beta: float = 0.75
    below: float = 0.0
    except_layers: tuple[str, ...] = ()
    batches: int = 0


@dataclass(frozen=True)
class Chosen:
    """How a step gets the strength of its force: from finished steps on held-out images, by a rule that stands here.

    among: names of these steps, the one without force and those of every candidate strength. slack: points of error on
    the held-out images. Of the candidates whose error at the end is at most `slack` above that without force, the
    strongest is taken; where there is none, the weakest candidate.
    """

    among: tuple[str, ...]
    slack: float = 0.5


@dataclass(frozen=True)
class Step:
    """One training run.

    name: of its folder and log. experiment, method, paper, note: as in a row of results (reproductions/runs.py).
    solver: a file of the network's folder. settings: fields of the solver, as prototxt, that replace those of the
    file. start: "" for the fillers, `public:FILE` for a public model, else the name of an earlier step, with `@N` for
    its snapshot at iteration N. low_rank: how the start is decomposed, if it is; filters: how it loses filters.
    lightened: whether BatchNorm's averages of the start are made to weigh one batch, see averages.py. seed:
    of the fillers, of random filters and, from 2 on, of the order of the training images. options: further words of the
    command. keep_last: how many snapshots stay. edit: changes the net, in place, before it is trained. baseline: the
    step without force that it is compared with, of the same start and of the same schedule or the nearest that was run.
    held_out: how many training images are kept from training, and tested on in place of the test images. chosen: how
    its force_decay is found, where that is not in `settings`.
    """

    name: str
    experiment: str
    method: str
    solver: str
    settings: str = ""
    start: str = ""
    low_rank: LowRank | None = None
    filters: Filters | None = None
    lightened: bool = False
    seed: int = 1
    paper: tuple[str, ...] = ()
    note: str = ""
    options: tuple[str, ...] = ()
    keep_last: int = 2
    edit: Callable[[Any], None] | None = None
    baseline: str = ""
    held_out: int = 0
    chosen: Chosen | None = None

    @property
    def has_own_start(self) -> bool:
        """Whether the weights that it starts from are made of those of its start."""
        return bool(self.low_rank or self.filters or self.lightened)


@dataclass(frozen=True)
class Network:
    """A folder of reproductions/ (name: its path there), its steps in order, and how its databases are made.

    net: the file of the net, from that folder. measure: (runner, finished step) -> what measures.py keeps of it, where
    that is other than there.
    make_data(source, folder, seed): writes the databases and mean images whose names `databases` lists.
    hold_out(folder, images): makes so many of the training images in `folder` its test images.
    make_smoke(folder): the same, made up. accuracy, top5: outputs of the TEST net, the latter if it has one. suffix:
    what snapshots' names end in: nothing for a net whose layers' names have "/", which HDF5 files cannot hold. narrow:
    what the widths of the net's layers are divided by with --smoke, so that a large net takes seconds. source: words
    of the command, those that give the data set.
    """

    name: str
    steps: tuple[Step, ...]
    make_data: Callable[[Path, Path, int], None]
    make_smoke: Callable[[Path], None]
    accuracy: str
    databases: tuple[str, ...]
    top5: str = ""
    suffix: str = ".h5"
    narrow: int = 1
    source: str = "--data DATA"
    net: str = "train_test.prototxt"
    measure: Callable[[Any, Step], dict[str, Any]] | None = None
    hold_out: Callable[[Path, int], None] | None = None

    @property
    def folder(self) -> Path:
        return HERE / self.name

    @property
    def program(self) -> str:
        """The module of its command."""
        return f"reproductions.{self.name.replace('/', '.')}.run"

    def step(self, name: str) -> Step:
        """The step of that name; StepError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise StepError(f"no step '{name}'; --list shows them")


@dataclass(frozen=True)
class Place:
    """Where and how steps run. work: their folders. data: the data set as published. models: public trained models.

    fresh: steps begin where they begin, and not at the checkpoints that the project keeps of them.
    """

    work: Path
    data: Path | None = None
    models: Path | None = None
    device: str = "auto"
    threads: int | None = None
    smoke: bool = False
    fresh: bool = False
