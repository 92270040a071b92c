"""Does the steps of a network, each once: databases, the net decomposed where that is wanted, training.

Each step is a folder that holds what `caffe-compat solve` needs and leaves: train_test.prototxt, solver.prototxt, log,
run.jsonl, run_iter_N.*. A finished step is not done again; an interrupted one goes on from its newest snapshot.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import main as command
from reproductions import choosing
from reproductions.averages import lightened
from reproductions.narrowing import narrowed
from reproductions.record import commit, locked
from reproductions.runs import Run, read_events, read_runs
from reproductions.steps import PUBLIC, Network, Place, Step, StepError

PREFIX, NET = "run", "train_test.prototxt"  # of the files in a step's folder
KEEP = 0.95  # share of energy that a rank keeps: at most 5 % reconstruction error, as the paper measures ranks
SMOKE_ITERATIONS, SMOKE_BATCH = 2, 4


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
        if step.chosen is not None:
            param.force_decay = choosing.found(self, step) or 0.0
        param.net, param.snapshot_prefix, param.random_seed = NET, PREFIX, step.seed
        if self.place.smoke:
            param.max_iter = param.test_interval = param.snapshot = param.display = SMOKE_ITERATIONS
            del param.test_iter[:], param.stepvalue[:]
            param.test_iter.append(1)
        return param

    def iterations(self, step: Step) -> int:
        return int(self.solver(step).max_iter)

    def weights(self, step: Step) -> Path:
        """The file that the finished step leaves."""
        return self.weights_at(step, self.iterations(step))

    def weights_at(self, step: Step, iteration: int) -> Path:
        """The file of the step's snapshot at an iteration."""
        return self.folder(step) / f"{PREFIX}_iter_{iteration}{self.ending}"

    @property
    def ending(self) -> str:
        """What names of weights end in."""
        return f".caffemodel{self.network.suffix}"

    def checkpoint(self, step: Step) -> Path:
        """Where the project keeps a snapshot of a long step, from which it goes on anywhere."""
        return self.network.folder / "checkpoints" / step.name

    def has_checkpoint(self, step: Step) -> bool:
        """Whether the step goes on from a snapshot that the project keeps, where its folder has none."""
        return not (self.place.smoke or self.place.fresh) and self.checkpoint(step).exists()

    def is_done(self, step: Step) -> bool:
        """Whether its weights are there, which others start from, and in its own log its last test too."""
        return self.weights(step).exists() and not self.lacks_last_test(step)

    def lacks_last_test(self, step: Step) -> bool:
        """Whether the step, of which the last snapshot is there, was ended before or in the test after it."""
        log, param, last = self.folder(step) / f"{PREFIX}.jsonl", self.solver(step), self.iterations(step)
        if not log.exists() or not param.test_interval or last % param.test_interval:
            return False
        return not any(event["event"] == "test" and event["iteration"] == last for event in read_events(log))

    def recorded(self, step: Step) -> Run | None:
        """The finished row of the step that the project keeps; None also where steps begin where they begin."""
        if self.place.smoke or self.place.fresh:
            return None
        command = self.command(step)
        rows = (run for run in read_runs(self.network.name) if run.status == "finished")
        return next((run for run in rows if run.command == command), None)

    def is_finished(self, step: Step) -> bool:
        """Whether the step is finished, here or in the results that the project keeps."""
        return self.is_done(step) or self.recorded(step) is not None

    def command(self, step: Step) -> str:
        """The command that finishes the step, or repeats it."""
        models = " --models MODELS" if self.is_public(step) else ""
        return f"python -m {self.network.program} {self.network.source}{models} --only {step.name}"

    def reached(self, step: Step) -> int:
        """The iteration of the newest snapshot, here or that the project keeps; 0 where there is none."""
        state = newest_state(self.folder(step))
        if state is None and self.has_checkpoint(step):
            state = newest_state(self.checkpoint(step))
        return int(state.name.split("_")[2].split(".")[0]) if state else 0

    def state(self, step: Step) -> str:
        """One word or two for --list."""
        if self.is_done(step):
            return "finished"
        if self.recorded(step) is not None:
            return "recorded"
        reached = self.reached(step)
        return f"at {reached}" if reached or self.folder(step).exists() else "to do"

    def is_public(self, step: Step) -> bool:
        """Whether the step, or one that it needs, starts from a public model."""
        return step.start.startswith(PUBLIC) or any(map(self.is_public, self.rests_on(step)))

    def before(self, step: Step) -> Step | None:
        """The step that this one starts from."""
        if not step.start or step.start.startswith(PUBLIC):
            return None
        return self.network.step(step.start.partition("@")[0])

    def rests_on(self, step: Step) -> list[Step]:
        """The steps that this one takes weights, ranks or its strength from."""
        ranks_of = [step.low_rank.ranks_of] if step.low_rank and step.low_rank.ranks_of else []
        names = [*ranks_of, *(step.chosen.among if step.chosen else ())]
        before = self.before(step)
        return [*([before] if before else []), *map(self.network.step, names)]

    def needs(self, step: Step) -> list[Step]:
        """The steps that must be finished first: ranks and errors of recorded ones are known, their weights are not."""
        before = self.before(step)
        settled = step.chosen.among if step.chosen and choosing.found(self, step) is not None else ()
        others = [each for each in self.rests_on(step) if each != before and each.name not in settled]
        unknown = [each for each in others if self.is_done(each) or self.recorded(each) is None]
        return [*([before] if before else []), *unknown]

    def do(self, step: Step) -> None:
        """Finish the step, and first those that it needs; of one whose snapshot it starts from, that is enough.

        A step that is under way needs no other any more.
        """
        self.take_checkpoint(step)
        for needed in () if self.reached(step) else self.needs(step):
            self.take_checkpoint(needed)
            if not ("@" in step.start and needed == self.before(step) and self.start_weights(step).exists()):
                self.do(needed)
        if not self.is_done(step):
            self.prepare(step)
            self.train(step)

    def prepare(self, step: Step) -> None:
        """Write the folder of the step. StepError where it holds a run of other settings."""
        folder = self.folder(step)
        folder.mkdir(parents=True, exist_ok=True)
        solver = folder / "solver.prototxt"
        self.take_checkpoint(step)
        if step.chosen is not None:
            choosing.settle(self, step)
        wanted = self.solver(step)
        if solver.exists() and self.reached(step) and cc.read_solver(solver) != wanted:
            raise StepError(f"{folder}: holds a run of other settings; remove it, or give another --work")
        self.link_data(folder, step)
        if not (folder / "commit").exists():
            (folder / "commit").write_text(commit() + "\n", encoding="utf-8")
        if not (folder / NET).exists():
            self.write_net(step)
        with cc.write_atomically(solver) as temporary:
            temporary.write_text(cc.format_text(wanted), encoding="utf-8")

    def take_checkpoint(self, step: Step) -> None:
        """Copy what the project keeps of a step into its folder, unless that has a snapshot to go on from."""
        if self.has_checkpoint(step) and not newest_state(self.folder(step)):
            shutil.copytree(self.checkpoint(step), self.folder(step), dirs_exist_ok=True)

    def write_net(self, step: Step) -> None:
        """The net that the step trains, and the weights that it starts from where they are its own."""
        folder = self.folder(step)
        model, weights = cc.Model(self.source_net(step), {}), None
        if step.has_own_start:
            model = cc.Model(model.net, cc.read_weights(self.start_weights(step)))
            weights = folder / f"start{self.ending}"
        if step.low_rank is not None:
            model = cc.decompose(model, self.chosen_ranks(step, model), step.low_rank.method)
        if step.filters is not None:
            model = narrowed(model, step.filters, folder, step.seed)
        if step.lightened:
            model = lightened(model)
        if step.edit is not None:
            step.edit(model.net)
        cc.write_model(model, folder / NET, weights)

    def network_net(self) -> Any:
        """The network's own net; with --smoke, in small batches and narrow."""
        net = cc.read_net(self.network.folder / self.network.net)
        for layer in net.layer if self.place.smoke else ():
            if layer.type == "Data":
                layer.data_param.batch_size = SMOKE_BATCH
            for name in ("convolution_param", "inner_product_param"):
                if layer.HasField(name):
                    getattr(layer, name).num_output //= self.network.narrow
        return net

    def source_net(self, step: Step) -> Any:
        """The net of the step that this one starts from, else the network's own."""
        before = self.before(step)
        return cc.read_net(self.folder(before) / NET) if before else self.network_net()

    def chosen_ranks(self, step: Step, dense: cc.Model) -> dict[str, Any]:
        """The ranks of a decomposing step, of layers that become cheaper by it."""
        assert step.low_rank is not None
        if step.low_rank.ranks:
            narrow = self.network.narrow if self.place.smoke else 1
            return {name: max(rank // narrow, 1) for name, rank in step.low_rank.ranks.items()}
        if step.low_rank.ranks_of:
            owner = self.network.step(step.low_rank.ranks_of)
            row = None if self.is_done(owner) else self.recorded(owner)
            if row is not None:
                return below_break_even({name: rank for name, (rank, _) in row.ranks.items()}, dense)
            dense = cc.read_model(self.folder(owner) / NET, self.weights(owner))
        return cheaper_ranks(dense, step.low_rank.keep)

    def start_weights(self, step: Step) -> Path:
        """The weights that the step starts from, before any decomposition."""
        before, at = self.before(step), step.start.partition("@")[2]
        if before is not None:
            return self.weights_at(before, int(at) if at and not self.place.smoke else self.iterations(before))
        if self.place.smoke:
            return self.made_up_weights()
        if self.place.models is None:
            raise StepError(f"step {step.name} starts from a public model; give its folder as --models DIR")
        return self.place.models / step.start.removeprefix(PUBLIC)

    def made_up_weights(self) -> Path:
        """Weights as the fillers give them, for --smoke."""
        path = self.place.work / f"made_up{self.ending}"
        if not path.exists():
            net = cc.Net(cc.Model(self.network_net(), {}), phase="TEST", folder=self.data_folder(1))
            cc.write_model(cc.Model(net.param, net.weights()), path.with_name("made_up.prototxt"), path)
        return path

    def data_folder(self, seed: int, held_out: int = 0) -> Path:
        """The folder of the databases, made where they are not there yet; one for each order of the images.

        held_out: how many training images are kept out, as the network's `hold_out` does. The folder has its name only
        when it is whole; another process that makes it is waited for.
        """
        name = "data" if seed == 1 else f"data-seed{seed}"
        folder = self.place.work / (f"{name}-held-out-{held_out}" if held_out else name)
        self.place.work.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not self.has_data(folder):
                if self.place.data is None and not self.place.smoke:
                    raise StepError(f"{folder} lacks databases; give the data set's folder as --data DIR")
                part = folder.with_name(f"{folder.name}.part")
                if folder.exists() and not part.exists():
                    folder.rename(part)
                part.mkdir(exist_ok=True)
                self.make_data(part, seed, held_out)
                part.rename(folder)
        return folder

    def has_data(self, folder: Path) -> bool:
        return all((folder / name).exists() for name in self.network.databases)

    def make_data(self, folder: Path, seed: int, held_out: int) -> None:
        """Write the databases into `folder`."""
        if self.place.smoke:
            self.network.make_smoke(folder)
        else:
            assert self.place.data is not None
            self.network.make_data(self.place.data, folder, seed)
        if held_out:
            assert self.network.hold_out is not None
            self.network.hold_out(folder, held_out)

    def link_data(self, folder: Path, step: Step) -> None:
        """Link the databases into a step's folder, whose net names them."""
        source = self.data_folder(step.seed, step.held_out)
        for name in self.network.databases:
            if not (folder / name).exists():
                (folder / name).symlink_to(os.path.relpath(source / name, folder))

    def train(self, step: Step) -> None:
        """`caffe-compat solve` in the step's folder, from its newest snapshot where it has one."""
        folder = self.folder(step)
        words = ["solve", "solver.prototxt", *step.options, "--device", self.place.device]
        words += ["--keep-last", str(step.keep_last)]
        if self.place.threads:
            words += ["--threads", str(self.place.threads)]
        if state := newest_state(folder):
            words += ["--snapshot", state.name]
        elif step.has_own_start:
            words += ["--weights", f"start{self.ending}"]
        elif step.start:
            words += ["--weights", str(self.start_weights(step).resolve())]
        with working_in(folder), open("log", "a", encoding="utf-8") as log, redirect_stderr(log):
            status = command(words)
        if status or not self.is_done(step):
            how = f"with status {status}" if status else f"at iteration {self.reached(step)}"
            raise StepError(f"{step.name}: stopped {how}; see {folder}/log; the same command goes on")


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Within this block, `folder` is the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def cheaper_ranks(model: cc.Model, keep: float = KEEP) -> dict[str, Any]:
    """The rank at `keep` of every layer that costs less multiply-adds at it."""
    return below_break_even(cc.ranks_by_energy(model, keep), model)


def below_break_even(ranks: Mapping[str, Any], model: cc.Model) -> dict[str, Any]:
    """Those of `ranks` at which a layer costs less multiply-adds than dense."""
    groups = {layer.name: layer.convolution_param.group for layer in model.net.layer}
    even = {name: cc.break_even_rank(model.weights[name][0].shape, groups[name]) for name in ranks}
    return {name: rank for name, rank in ranks.items() if rank < even[name]}


def newest_state(folder: Path) -> Path | None:
    """The latest solver state of a step's folder; None where there is none."""
    form = re.compile(rf"{PREFIX}_iter_(\d+)\.solverstate(\.h5)?")
    found = [(int(match[1]), file) for file in folder.glob("*") if (match := form.fullmatch(file.name))]
    return max(found)[1] if found else None
