"""The paper's recipe whole: train with force, decompose, fine-tune; every stage measured.

Wen et al., Coordinating Filters for Faster Deep Neural Networks, ICCV 2017, section 5: force lets filters come close
to one another, so that the same share of their energy needs fewer ranks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from caffe_compat.decompose.bank import banks
from caffe_compat.decompose.break_even import break_even_rank
from caffe_compat.decompose.finetune import fine_tune_solver
from caffe_compat.decompose.ranks import ranks_by_energy, ranks_in_order
from caffe_compat.decompose.rewrite import CHAINS, LOWRANK, decompose
from caffe_compat.errors import RankError, SolverError, WeightsError
from caffe_compat.net.timing import compare_time
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model, read_model, read_solver, write_model
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import format_text
from caffe_compat.proto.upgrade import upgrade_solver
from caffe_compat.recipes.deployment import write_deployed
from caffe_compat.recipes.one_net import take_net
from caffe_compat.recipes.records import Records, fingerprint
from caffe_compat.recipes.stages import Stage, measure_stage, stage_table, timed_net
from caffe_compat.recipes.training import Around, Surroundings, weights_files

logger = logging.getLogger(__name__)

ROUNDS = 9  # forward passes of each net that are timed
STEPS = ("start", "forced", "decomposed", "finetuned", "timed", "deployed")


@dataclass(frozen=True)
class Shrunk:
    """What `shrink` made. print() gives the table of its stages.

    net, weights: the files of the last stage. keep: the share of energy that the ranks of dense nets are counted at.
    deployed: the files to deploy, a prototxt, its caffemodel and ONNX, as far as they could be written.
    """

    net: Path
    weights: Path
    stages: tuple[Stage, ...]
    keep: float
    device: str
    threads: int
    deployed: tuple[Path, ...] = ()

    def model(self) -> Model:
        """The last stage's net and weights, read back."""
        return read_model(self.net, self.weights)

    def __str__(self) -> str:
        return stage_table(self.stages, self.device, self.threads, self.keep)


def shrink(
    solver: Any,
    weights: Any = None,
    out: str | os.PathLike[str] = "shrunk",
    force: str | None = None,
    force_decay: float | None = None,
    force_layers: Sequence[str] | str | None = None,
    keep: float = 0.95,
    ranks: Mapping[str, Any] | Sequence[int] | None = None,
    method: str = "pca",
    inner_product: bool = False,
    except_layers: Sequence[str] = (),
    max_iter: int | None = None,
    fine_tune_iter: int | None = None,
    device: str = "cpu",
    compat: str = "bvlc",
    around: Around = nullcontext,
) -> Shrunk:
    """Train the net of `solver` with force, decompose it, fine-tune it, measure it at each step, and deploy it.

    weights: files to start from, or none to start from the fillers. force, force_decay, force_layers, max_iter: as in
    Solver; force "none" decomposes the weights as they are. keep: share of energy; a layer whose rank is not below
    break-even stays dense. ranks: {layer: rank}, or ranks in the net's order, instead. fine_tune_iter: iterations, 0
    for none; by default a third of the solver's. around: a context in which each solver trains.

    In the folder `out` every step leaves its files and a record: the same call finds what is finished, and goes on
    from the last snapshot of what is not. SolverError where the records are of another call.
    """
    param, net = _read(solver, compat, weights)
    options = {"force": force, "force_decay": force_decay, "force_layers": force_layers, "max_iter": max_iter}
    choice = Choice(keep, ranks, method, inner_product, tuple(except_layers))
    recipe = _Recipe(param, net, weights, Path(out), Surroundings(device, compat, around), choice)
    with recipe.records.undone_where_refused("net.prototxt"):
        return recipe.run(options, fine_tune_iter)


@dataclass(frozen=True)
class Choice:
    """Which layers are decomposed, and how; see `shrink`."""

    keep: float
    ranks: Mapping[str, Any] | Sequence[int] | None
    method: str
    inner_product: bool
    except_layers: tuple[str, ...]

    def dense_ranks(self, model: Model) -> dict[str, Any]:
        """The rank that each layer would need at `keep`."""
        return dict(ranks_by_energy(model, self.keep, self.inner_product, self.except_layers))

    def choose(self, model: Model) -> dict[str, Any]:
        """The rank of each layer, None where it stays dense. RankError where nothing is to be decomposed."""
        if isinstance(self.ranks, Mapping):
            return dict(self.ranks)
        if self.ranks is not None:
            return dict(ranks_in_order(model, self.ranks, self.inner_product, self.except_layers))
        if CHAINS.get(self.method) is not LOWRANK:
            known = ", ".join(name for name, chain in CHAINS.items() if chain is LOWRANK)
            raise RankError(f"keep has no rule for method '{self.method}'; give ranks, or one of {known}")
        known_banks = banks(model, self.inner_product)
        chosen: dict[str, Any] = {}
        needed = ranks_by_energy(model, self.keep, self.inner_product, self.except_layers, self.method)
        for name, rank in needed.items():
            bank = known_banks[name]
            even = break_even_rank(bank.weight.shape, bank.group)
            chosen[name] = rank if rank < even else None
            if rank >= even:
                logger.info("Layer %s stays dense: rank %d is not below break-even, %.1f", name, rank, even)
        if not any(chosen.values()):
            raise RankError(f"at keep {self.keep:g} no layer's rank is below break-even; lower keep, or force more")
        return chosen


class _Recipe:
    """The steps, each of which gives its stage; `settings` grows by what each of them depends on."""

    def __init__(self, param: Any, net: Any, weights: Any, folder: Path, place: Surroundings, choice: Choice) -> None:
        self.folder, self.place, self.choice = folder, place, choice
        self.weights = weights_files(param.weights if weights is None else weights)
        self.settings: dict[str, Any] = {
            "solver": fingerprint(format_text(param)),
            "net": fingerprint(format_text(net)),
            "weights": fingerprint(*(path.read_bytes() for path in self.weights)) if self.weights else None,
            "compat": place.compat,
        }
        self.records = Records(folder, STEPS)
        self.param = param
        self.param.net = str(folder / "net.prototxt")
        self.param.ClearField("weights")
        self.param.snapshot_prefix = str(folder / "forced")
        write_model(Model(net), folder / "net.prototxt")

    def run(self, options: Mapping[str, Any], fine_tune_iter: int | None) -> Shrunk:
        """Every step, in order; options: those of the training with force."""
        if options["force"] == "none":
            dense = [self.start()]
            name = "start"
        else:
            if options["force"] is None and not self.param.force_decay:
                raise SolverError(
                    "the solver sets no force_decay; give a force (l1, l2), or 'none' to decompose at once"
                )
            dense = [self.start()] if self.weights else []
            dense.append(self.train_with_force(options))
            name = "forced"
        small = [self.decompose(name)]
        if fine_tune_iter != 0:
            small.append(self.fine_tune(fine_tune_iter))
        timed = self.measure_time(name)
        stages = [replace(stage, seconds=tuple(timed["dense"])) for stage in dense]
        stages += [replace(stage, seconds=tuple(timed["decomposed"])) for stage in small]
        last = "decomposed" if fine_tune_iter == 0 else "finetuned"
        made = self.folder / "decomposed.prototxt", self.folder / f"{last}.caffemodel"
        where = timed["device"], timed["threads"]
        return Shrunk(*made, tuple(stages), self.choice.keep, *where, self.deploy(last))

    def start(self) -> Stage:
        """The weights as given."""
        if not self.weights:
            raise WeightsError("no weights are given; without force there is nothing else to decompose")
        facts = self.records.begin("start", self.settings)
        if facts is None:
            solver = self.place.solver(self._unforced(), self.weights)
            write_model(solver.model(), self.folder / "net.prototxt", self.folder / "start.caffemodel")
            facts = self._finish("start", measure_stage("before", solver))
        return self._with_ranks(facts, "start")

    def train_with_force(self, options: Mapping[str, Any]) -> Stage:
        """The net after training with force."""
        self.settings.update(options)
        facts = self.records.begin("forced", self.settings)
        if facts is None:
            solver, results = self.place.train(self.param, self.weights, **options)
            write_model(solver.model(), self.folder / "net.prototxt", self.folder / "forced.caffemodel")
            facts = self._finish("forced", measure_stage("after force", solver, results=results))
        return self._with_ranks(facts, "forced")

    def decompose(self, source: str) -> Stage:
        """The net of the step `source` with its layers replaced by chains."""
        self.settings.update(asdict(self.choice))
        facts = self.records.begin("decomposed", self.settings)
        if facts is None:
            model = read_model(self.folder / "net.prototxt", self.folder / f"{source}.caffemodel")
            ranks = self.choice.choose(model)
            given = {name: rank for name, rank in ranks.items() if rank is not None}
            small = decompose(model, given, self.choice.method)
            write_model(small, self.folder / "decomposed.prototxt", self.folder / "decomposed.caffemodel")
            solver = self.place.solver(self._fine_tuning(None))
            facts = self._finish("decomposed", measure_stage("decomposed", solver, ranks))
        self.ranks = facts["ranks"]
        return Stage(**facts)

    def fine_tune(self, iterations: int | None) -> Stage:
        """The decomposed net after training without force."""
        self.settings["fine_tune_iter"] = iterations
        facts = self.records.begin("finetuned", self.settings)
        if facts is None:
            param = self._fine_tuning(iterations)
            with write_atomically(self.folder / "finetuned.solver.prototxt") as temporary:
                temporary.write_text(format_text(param), encoding="utf-8")
            solver, results = self.place.train(param)
            write_model(solver.model(), self.folder / "decomposed.prototxt", self.folder / "finetuned.caffemodel")
            facts = self._finish("finetuned", measure_stage("fine-tuned", solver, self.ranks, results))
        return Stage(**facts)

    def measure_time(self, source: str) -> dict[str, Any]:
        """Seconds of forward passes of one batch, dense and decomposed; the two take turns."""
        facts = self.records.begin("timed", {**self.settings, "device": self.place.device})
        if facts is None:
            dense = self.place.solver(self._unforced(), self.folder / f"{source}.caffemodel")
            nets = [timed_net(solver) for solver in (dense, self.place.solver(self._fine_tuning(None)))]
            with torch.inference_mode():
                blobs = nets[0].blobs()
            inputs = {name: blobs[name] for name in nets[0].input_names}
            times = compare_time(nets, inputs, ROUNDS)
            where = {"device": str(dense.device), "threads": torch.get_num_threads()}
            facts = {"dense": times[0], "decomposed": times[1], **where}
            self.records.finish("timed", facts)
        return facts

    def deploy(self, source: str) -> tuple[Path, ...]:
        """The files to deploy of the decomposed net with the weights of the step `source`."""
        facts = self.records.begin("deployed", self.settings)
        if facts is None:
            model = read_model(self.folder / "decomposed.prototxt", self.folder / f"{source}.caffemodel")
            files = write_deployed(model, self.folder, self.place.compat)
            facts = {"files": [file.name for file in files]}
            self.records.finish("deployed", facts)
        return tuple(self.folder / name for name in facts["files"])

    def _with_ranks(self, facts: Mapping[str, Any], source: str) -> Stage:
        """A dense stage with the ranks that its weights need."""
        model = read_model(self.folder / "net.prototxt", self.folder / f"{source}.caffemodel")
        return Stage(**{**facts, "ranks": self.choice.dense_ranks(model)})

    def _unforced(self) -> Any:
        """The solver without force, to test a dense net with."""
        param = type(self.param)()
        param.CopyFrom(self.param)
        param.force_decay = 0
        return param

    def _fine_tuning(self, iterations: int | None) -> Any:
        """The solver that fine-tunes; its learning rate steps lie at the same parts of any number of iterations."""
        base = type(self.param)()
        base.CopyFrom(self.param)
        if iterations is not None:
            base.max_iter = 3 * iterations  # of which a third is left
        net, weights = (str(self.folder / f"decomposed.{suffix}") for suffix in ("prototxt", "caffemodel"))
        param = fine_tune_solver(net, weights, base)
        param.snapshot_prefix = str(self.folder / "finetuned")
        return param

    def _finish(self, step: str, stage: Stage) -> dict[str, Any]:
        facts = {**asdict(stage), "seconds": ()}
        self.records.finish(step, facts)
        return facts


def _read(solver: Any, compat: str, weights: Any = None) -> tuple[Any, Any]:
    """Copies of a solver (a path or a message), without its nets, and of the one net that they make."""
    path = Path(solver) if isinstance(solver, (str, os.PathLike)) else None
    own = SolverParameter()
    own.CopyFrom(read_solver(path, weights) if path else upgrade_solver(solver))
    return own, take_net(own, path, compat)
