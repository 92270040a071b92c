"""A network's runs as steps that are done once: databases, training, measures, a row of results and a log.

Each step is a folder that holds what `caffe-compat solve` needs and leaves: train_test.prototxt, solver.prototxt, log,
run.jsonl, run_iter_N.*. A finished step is not done again; an interrupted one goes on from its newest snapshot.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import caffe_compat as cc
from reproductions.record import HERE, commit

PREFIX = "run"
KEEP = 0.95  # share of energy that a rank keeps: at most 5 % reconstruction error, as the paper measures ranks
SMOKE_ITERATIONS, SMOKE_BATCH = 2, 4
PUBLIC = "public:"  # begins the `start` of a step that starts from a public trained model


class StepError(cc.CaffeCompatError):
    """A step cannot be done: what is missing, and which option or step gives it."""


@dataclass(frozen=True)
class LowRank:
    """How the net that a step starts from is decomposed first.

    ranks_of: the step whose ranks at KEEP are taken, "" for those of the start itself. ranks: given ones instead.
    Layers whose rank is not below break-even stay dense.
    """

    method: str = "pca"
    ranks_of: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One training run.

    name: of its folder and log. experiment, method, paper, note: as in a row of results (reproductions/runs.py).
    solver: a file of the network's folder. settings: fields of the solver, as prototxt, that replace those of the
    file. start: "" for the fillers, `public:FILE` for a public model, else the name of an earlier step. low_rank: how
    the start is decomposed, if it is. seed: of the fillers and, from 2 on, of the order of the training images.
    options: further words of the command.
    """

    name: str
    experiment: str
    method: str
    solver: str
    settings: str = ""
    start: str = ""
    low_rank: LowRank | None = None
    seed: int = 1
    paper: tuple[str, ...] = ()
    note: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A folder of reproductions/, its steps in order, and how its databases are made.

    make_data(source, folder, seed): writes the databases and mean images whose names `databases` lists.
    make_smoke(folder): the same, made up. accuracy: the output of the TEST net.
    """

    name: str
    steps: tuple[Step, ...]
    make_data: Callable[[Path, Path, int], None]
    make_smoke: Callable[[Path], None]
    accuracy: str
    databases: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return HERE / self.name

    def step(self, name: str) -> Step:
        """The step of that name; StepError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise StepError(f"no step '{name}'; --list shows them")


@dataclass(frozen=True)
class Place:
    """Where and how steps run. work: their folders. data: the data set as published. models: public trained models."""

    work: Path
    data: Path | None = None
    models: Path | None = None
    device: str = "auto"
    threads: int | None = None
    smoke: bool = False


class Runner:
    """Does the steps of one network in one place."""

    def __init__(self, network: Network, place: Place) -> None:
        self.network, self.place = network, place

    def folder(self, step: Step) -> Path:
        return self.place.work / step.name

    def solver(self, step: Step) -> Any:
        """The step's SolverParameter, as its folder gets it."""
        param = cc.read_solver(self.network.folder / step.solver)
        changes = cc.parse_text(step.settings, cc.SolverParameter)
        for descriptor, _ in changes.ListFields():
            param.ClearField(descriptor.name)
        param.MergeFrom(changes)
        param.net, param.snapshot_prefix, param.random_seed = "train_test.prototxt", PREFIX, step.seed
        if self.place.smoke:
            param.max_iter = param.test_interval = param.snapshot = param.display = SMOKE_ITERATIONS
            del param.test_iter[:], param.stepvalue[:]
            param.test_iter.append(1)
        return param

    def iterations(self, step: Step) -> int:
        return int(self.solver(step).max_iter)

    def weights(self, step: Step) -> Path:
        """The file that the finished step leaves."""
        return self.folder(step) / f"{PREFIX}_iter_{self.iterations(step)}.caffemodel.h5"

    def is_done(self, step: Step) -> bool:
        return self.weights(step).exists()

    def reached(self, step: Step) -> int:
        """The iteration of the newest snapshot, 0 where there is none."""
        state = newest_state(self.folder(step))
        return int(state.name.split("_")[2].split(".")[0]) if state else 0

    def state(self, step: Step) -> str:
        """One word or two for --list."""
        if self.is_done(step):
            return "finished"
        return f"at {self.reached(step)}" if self.folder(step).exists() else "to do"

    def needs(self, step: Step) -> list[Step]:
        """The steps that must be finished first."""
        names = [step.start, step.low_rank.ranks_of if step.low_rank else ""]
        return [self.network.step(name) for name in names if name and not name.startswith(PUBLIC)]

    def do(self, step: Step) -> None:
        """Finish the step, and first those that it needs."""
        for needed in self.needs(step):
            self.do(needed)
        if not self.is_done(step):
            self.prepare(step)
            self.train(step)

    def prepare(self, step: Step) -> None:
        """Write the folder of the step. StepError where it holds a run of other settings."""
        folder = self.folder(step)
        folder.mkdir(parents=True, exist_ok=True)
        solver = folder / "solver.prototxt"
        wanted = self.solver(step)
        if solver.exists() and self.reached(step) and cc.read_solver(solver) != wanted:
            raise StepError(f"{folder}: holds a run of other settings; remove it, or give another --work")
        self.link_data(folder, step.seed)
        if not (folder / "commit").exists():
            (folder / "commit").write_text(commit() + "\n", encoding="utf-8")
        if not (folder / "train_test.prototxt").exists():
            self.write_net(step)
        with cc.write_atomically(solver) as temporary:
            temporary.write_text(cc.format_text(wanted), encoding="utf-8")

    def write_net(self, step: Step) -> None:
        """The net that the step trains, and the decomposed weights that it starts from where it has a `low_rank`."""
        folder = self.folder(step)
        net = self.network_net()
        if step.low_rank is None:
            cc.write_model(cc.Model(net, {}), folder / "train_test.prototxt")
            return
        dense = cc.read_model(self.source_net(step), self.start_weights(step))
        ranks = self.chosen_ranks(step, dense)
        small = cc.decompose(dense, ranks, step.low_rank.method)
        cc.write_model(small, folder / "train_test.prototxt", folder / "start.caffemodel.h5")

    def network_net(self) -> Any:
        """The network's own net; with --smoke, in small batches."""
        net = cc.read_net(self.network.folder / "train_test.prototxt")
        for layer in net.layer:
            if self.place.smoke and layer.type == "Data":
                layer.data_param.batch_size = SMOKE_BATCH
        return net

    def source_net(self, step: Step) -> Path:
        """The prototxt of the weights that the step starts from."""
        if not step.start or step.start.startswith(PUBLIC):
            return self.network.folder / "train_test.prototxt"
        return self.folder(self.network.step(step.start)) / "train_test.prototxt"

    def chosen_ranks(self, step: Step, dense: cc.Model) -> dict[str, Any]:
        """The ranks of a decomposing step, of layers that become cheaper by it."""
        assert step.low_rank is not None
        if step.low_rank.ranks:
            return dict(step.low_rank.ranks)
        if step.low_rank.ranks_of:
            owner = self.network.step(step.low_rank.ranks_of)
            dense = cc.read_model(self.folder(owner) / "train_test.prototxt", self.weights(owner))
        return cheaper_ranks(dense)

    def start_weights(self, step: Step) -> Path:
        """The weights that the step starts from, before any decomposition."""
        if not step.start.startswith(PUBLIC):
            return self.weights(self.network.step(step.start))
        if self.place.smoke:
            return self.made_up_weights()
        if self.place.models is None:
            raise StepError(f"step {step.name} starts from a public model; give its folder as --models DIR")
        return self.place.models / step.start.removeprefix(PUBLIC)

    def made_up_weights(self) -> Path:
        """Weights as the fillers give them, for --smoke."""
        path = self.place.work / "made_up.caffemodel.h5"
        if not path.exists():
            net = cc.Net(cc.Model(self.network_net(), {}), phase="TEST", folder=self.data_folder(1))
            cc.write_net(cc.Model(net.param, net.weights()), path)
        return path

    def data_folder(self, seed: int) -> Path:
        """The folder of the databases, made where they are not there yet; one for each order of the images."""
        folder = self.place.work / ("data" if seed == 1 else f"data-seed{seed}")
        if not all((folder / name).exists() for name in self.network.databases):
            folder.mkdir(parents=True, exist_ok=True)
            if self.place.smoke:
                self.network.make_smoke(folder)
            elif self.place.data is None:
                raise StepError(f"{folder} lacks databases; give the data set's folder as --data DIR")
            else:
                self.network.make_data(self.place.data, folder, seed)
        return folder

    def link_data(self, folder: Path, seed: int) -> None:
        """Link the databases into a step's folder, whose net names them."""
        source = self.data_folder(seed)
        for name in self.network.databases:
            if not (folder / name).exists():
                (folder / name).symlink_to(os.path.relpath(source / name, folder))

    def train(self, step: Step) -> None:
        """Run `caffe-compat solve` in the step's folder, from its newest snapshot where it has one."""
        folder = self.folder(step)
        words = ["solve", "solver.prototxt", *step.options, "--device", self.place.device, "--keep-last", "2"]
        if self.place.threads:
            words += ["--threads", str(self.place.threads)]
        if state := newest_state(folder):
            words += ["--snapshot", state.name]
        elif step.low_rank is not None:
            words += ["--weights", "start.caffemodel.h5"]
        elif step.start:
            words += ["--weights", str(self.start_weights(step).resolve())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
        with (folder / "log").open("a", encoding="utf-8") as log:
            command = [sys.executable, "-m", "caffe_compat", *words]
            done = subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=environment, check=False)
        if done.returncode or not self.is_done(step):
            raise StepError(f"{step.name}: stopped with status {done.returncode}; see {folder / 'log'}, then go on with it")


def cheaper_ranks(model: cc.Model) -> dict[str, Any]:
    """The rank at KEEP of every layer that costs less multiply-adds at it."""
    ranks = cc.ranks_by_energy(model, KEEP)
    shapes = {name: model.weights[name][0].shape for name in ranks}
    return {name: rank for name, rank in ranks.items() if cc.theoretical_speedup(shapes[name], rank) > 1}


def newest_state(folder: Path) -> Path | None:
    """The latest solver state of a step's folder; None where there is none."""
    form = re.compile(rf"{PREFIX}_iter_(\d+)\.solverstate\.h5")
    found = [(int(match[1]), file) for file in folder.glob("*") if (match := form.fullmatch(file.name))]
    return max(found)[1] if found else None
