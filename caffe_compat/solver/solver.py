"""Solver: trains a net as `caffe train` does, with Caffe's numbers, log and files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import torch

from caffe_compat.errors import SolverError
from caffe_compat.net.in_place import chosen_in_place, default_in_place
from caffe_compat.net.memory import keep_freed_memory
from caffe_compat.proto.model import Model, read_solver
from caffe_compat.proto.upgrade import upgrade_solver
from caffe_compat.showing import visible
from caffe_compat.solver import snapshots
from caffe_compat.solver.compiling import compile_net
from caffe_compat.solver.config import read_config
from caffe_compat.solver.debug import forward_explained
from caffe_compat.solver.device import choose_device
from caffe_compat.solver.early import obstacle as gradients_needed
from caffe_compat.solver.early import updating_early
from caffe_compat.solver.forcing import choose_force, force_groups, force_multipliers
from caffe_compat.solver.graphed import GraphedIteration, cuda_graph, obstacle
from caffe_compat.solver.log import number
from caffe_compat.solver.nets import check_loss, test_nets, training_net
from caffe_compat.solver.passes import Passes
from caffe_compat.solver.prefix import prefix_reserved
from caffe_compat.solver.resuming import Resuming
from caffe_compat.solver.run_options import Options, as_given, complete
from caffe_compat.solver.settings import SolverConfig
from caffe_compat.solver.smoothing import SmoothedLoss
from caffe_compat.solver.snapshots import Snapshot
from caffe_compat.solver.testing import run_test

logger = logging.getLogger(__name__)

HOOKS = ("before_step", "after_step", "after_test", "after_snapshot")


class Solver(Resuming):
    """Caffe's solver for a solver.prototxt or a SolverParameter.

    weights: files to start from, a comma list or a sequence; instead of those that the solver names. device: "cpu",
    "cuda", "cuda:1", or "auto" (what solver_mode asks for, if it is here). force: l1, l2, linear, gravity or none;
    force_decay, force_layers: see `forcing`; force_per_group: filters attract only those of their own group, as they do
    not in the fork. max_iter: instead of the solver's. level, stages: of the training net. compat: "bvlc" or "wen2017",
    in_place: "caffe" or "right", see Net. precision: "fp32" as Caffe, "tf32" (GPUs), "bf16" or "fp16", see `precision`.
    compile: let torch.compile make the training net's program, where it can. graph: on a GPU, run iterations as a CUDA
    graph, where they can be one, see `graphed`.

    callbacks: objects with any of before_step(solver), after_step(solver), after_test(solver, results) and
    after_snapshot(solver, path); the attribute of that name has them. Raises SolverError for what is wrong in the
    solver, before anything runs.
    """

    def __init__(
        self,
        solver: Any,
        weights: Any = None,
        device: str = "cpu",
        force: str | None = None,
        force_decay: float | None = None,
        force_layers: Sequence[str] | str | None = None,
        force_per_group: bool | None = None,
        compat: str | None = None,
        max_iter: int | None = None,
        level: int | None = None,
        stages: Sequence[str] | None = None,
        precision: str | None = None,
        compile: bool = False,
        graph: bool = True,
        in_place: str | None = None,
        callbacks: Iterable[Any] = (),
    ) -> None:
        self.path = Path(solver) if isinstance(solver, (str, os.PathLike)) else None
        self._file = read_solver(self.path, weights) if self.path else upgrade_solver(solver)
        if max_iter is not None:
            self._file.max_iter = max_iter
        self._speed = {"compile": compile, "graph": graph}
        self._given = as_given(
            force=force,
            force_decay=force_decay,
            force_layers=force_layers,
            force_per_group=force_per_group,
            compat=compat,
            level=level,
            stages=stages,
            precision=precision,
            in_place=in_place or (None if chosen_in_place() == "caffe" else chosen_in_place()),
        )
        self._begin()
        self._configure(self._given)
        if self.config.snapshot:
            snapshots.check_writable(self.config)
        self.device = choose_device(self.param, device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self._make_nets(weights)
        if self.config.snapshot:
            snapshots.check_names(self.config, self.net)
        self._start()
        if self._shaping.keeps_snapshots:
            snapshots.check_writable(self.config)
        self.callbacks += list(callbacks)
        if self._copied:
            self._shaping.loaded(self._weights())

    def _configure(self, options: Options) -> None:
        """Take the settings from the solver's file and `options`, see `run_options`."""
        self._options = options
        self.param = type(self._file)()
        self.param.CopyFrom(self._file)
        choose_force(self.param, options.get("force"), options.get("force_decay"))
        self.config: SolverConfig = read_config(self.param, str(self.path or "the solver"))

    def _make_nets(self, weights: Any) -> None:
        options = complete(self._options)
        if self.config.random_seed >= 0:
            torch.manual_seed(self.config.random_seed)
        compat = options["compat"]
        with default_in_place(options["in_place"]):
            net = training_net(self.param, self.path, compat, options["level"], options["stages"])
            others = test_nets(self.param, self.path, compat)
        check_loss(net)
        self.net, self.test_nets = net.to(self.device), [net.to(self.device) for net in others]
        files = weights if weights is not None else self.param.weights
        self._copied = snapshots.load_weights(self.net, files)  # whether any came from a .caffemodel
        for net in self.test_nets:
            snapshots.load_tested_weights(net, self.net, files)
            net.share_weights_with(self.net)
        if self._speed["compile"]:
            compile_net(self.net)

    def _start(self) -> None:
        """Make all that is about the nets of now and the options: what updates do, and an empty state."""
        options = complete(self._options)
        wanted = options["force"] not in (None, "none")
        multipliers = force_multipliers(
            self.net, wanted, options["force_layers"], self.config.force.decay, options["compat"]
        )
        self._prepare(multipliers, force_groups(self.net) if options["force_per_group"] else None)
        self._passes = Passes(self.net, self._params, self.config.iter_size, options["precision"])
        if self.config.type in ("SGD", "Nesterov"):  # others divide a gradient by what it has been, rounding or not
            self._passes.spares = lambda: not gradients_needed(self)
        if self._speed["graph"] and self.device.type == "cuda":
            self._graphed = self._graph(options["precision"], self._speed["compile"])

    def _graph(self, precision: str, compiled: bool) -> GraphedIteration | None:
        """The iteration as a CUDA graph; None, and a line in the log that says why, where it cannot be one."""
        reasons = {
            obstacle(self.net): True,
            "fp16 adapts its loss scale": precision == "fp16",
            "torch.compile makes its own": compiled,
            "the structure of weights changes as they do": self._structure.active,
            "a method around the paper acts": bool(self._shaping),
        }
        for reason, holds in reasons.items():
            if reason and holds:
                logger.info("CUDA graph: %s; training goes on without", reason)
                return None
        return GraphedIteration(self._passes, self.apply_update, cuda_graph)

    def step(self, iterations: int) -> None:
        """Do `iterations` iterations: test where it is due, forward and backward, update, snapshot where it is due.

        A method that goes back to an earlier iteration, as IncReg does while it retrains, does some of them anew.
        """
        self._read_losses().smoothed = self._carried or SmoothedLoss(self.config.average_loss)
        self._carried = None
        last = self.iteration + iterations
        self._shaping.begin(self._run_of)
        while self.iteration < last and "stop" not in self._requests and not self._shaping.is_over:
            self._mark()
            if self._is_due(self.config.test_interval) and (self.iteration > 0 or self.config.test_initialization):
                self.test()
                if "stop" in self._requests:
                    self._untest()
                    break
            self._call("before_step")
            if self._graphed is None or (self.config.debug_info and self._is_due(self.config.display)):
                self._iterate()
            else:
                self._replay(self._graphed)
            self.state.iteration += 1
            self._shaping.end_iteration(self._run_of)
            self._call("after_step")
            if self._is_due(self.config.snapshot) or "snapshot" in self._requests:
                self._requests.discard("snapshot")
                self.snapshot()

    def solve(self, resume: str | os.PathLike[str] | Snapshot | None = None, accept_changes: bool = False) -> None:
        """Train to max_iter as `caffe train`, from the snapshot `resume` if given; then snapshot, display, test.

        Where nothing needs all gradients at once (see `early`), large ones are applied and freed within the passes, and
        are None afterwards. `step` keeps them.

        resume: also "latest" or "auto", the newest whole snapshot of the prefix, or a start where there is none.
        accept_changes: see `restore`.
        """
        config = self.config
        if config.snapshot_after_train:
            snapshots.check_writable(config)
            snapshots.check_names(config, self.net)
        logger.info("Solving %s", self.net.graph.name)
        logger.info("Learning Rate Policy: %s", config.lr_policy)
        if isinstance(resume, str) and resume in snapshots.NEWEST:
            resume = snapshots.newest_snapshot(config.snapshot_prefix)
        if resume is not None:
            self.restore(resume, accept_changes)
        with self._reserved(), updating_early(self, self._passes, self._update, self._rate_of_now) as self._early:
            self._train()

    def _train(self) -> None:
        config = self.config
        self.is_stopped = False
        self.step(config.max_iter - self.iteration)
        if "snapshot" in self._requests:  # and a test was stopped before it could be taken
            self._requests.discard("snapshot")
            self.snapshot()
        elif config.snapshot_after_train and not self._is_kept:
            self.snapshot()
        if "stop" in self._requests:
            self._requests.discard("stop")
            self.is_stopped = True
            logger.info("Optimization stopped early.")
            return
        if self._is_due(config.display):
            with torch.no_grad(), forward_explained(self.net) if self._explains else nullcontext():
                self._read_losses().smoothed.add(float(self.net.forward_with_loss()[1]))
            logger.info("Iteration %d, loss = %s", self.iteration, number(self.smoothed_loss))
        if self._is_due(config.test_interval):
            self.test()
        logger.info("Optimization Done.")

    @property
    def _is_kept(self) -> bool:
        """Whether the last iteration left a snapshot: it was due, and no method went back since."""
        interval = self.config.snapshot
        return bool(interval) and self.iteration % interval == 0 and not self._shaping.is_over

    def request(self, action: str) -> None:
        """Ask a running step for "snapshot" or "stop" after its iteration; for signal handlers and callbacks."""
        if action not in ("snapshot", "stop"):
            raise SolverError(f"action is '{action}'; allowed: snapshot, stop")
        self._asked.add(action)

    def _interrupts_tests(self) -> bool:
        return "stop" in self._asked and not self._tests_whole

    def test(self) -> list[dict[str, Any]]:
        """The mean of every output of every test net over its test_iter batches, by name; floats, or arrays."""
        results = [
            run_test(net, index, self.config, self.iteration, self._interrupts_tests)
            for index, net in enumerate(self.test_nets)
        ]
        self._call("after_test", results)
        return results

    def model(self) -> Model:
        """The net as it was given, for all phases, with the weights of now."""
        return self.net.given_model()

    def given_model(self) -> Model:
        """The same as `model`: a Solver stands wherever a Model is wanted."""
        return self.model()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """TypeError: it has files open and a run that others look at."""
        raise TypeError(
            "a Solver cannot be copied or pickled; its snapshot() keeps what it has for the restore() of another, and "
            "its model() is the net"
        )

    def __repr__(self) -> str:
        name, loss = self.path or self.net.graph.name, self.smoothed_loss
        told = "" if math.isnan(loss) else f", loss {loss:.4g}"
        return f"Solver('{visible(str(name))}': iteration {self.iteration} of {self.config.max_iter}{told})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"

    def _reserved(self) -> AbstractContextManager[None]:
        return prefix_reserved(self.config)
