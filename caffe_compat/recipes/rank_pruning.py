"""Dynamic rank pruning: ranks shrink while the net trains (the fork's lowrank_netsolver.py).

Every test_interval, the weight W of each X_lowrank layer is split at the rank k that keeps enough of it, W ~ C B. Where
some k is below the rank of now, X_lowrank becomes B, X_linear becomes L C, and training goes on with the smaller net.
Unlike the fork's, the run is one: iterations, learning rate, data and momentum go on, and no layer needs a bias.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.decompose.bank import KINDS, banks, layer_fields, read_bank
from caffe_compat.decompose.factorize import factorize
from caffe_compat.decompose.ranks import rank_by_energy, rank_by_norm
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import RankError, SolverError
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.missing import refuse_missing
from caffe_compat.proto.files import find_file, write_atomically
from caffe_compat.proto.model import Model, read_solver, read_weights, write_model
from caffe_compat.proto.text import format_text
from caffe_compat.recipes.anchors import anchor
from caffe_compat.recipes.one_net import take_net
from caffe_compat.recipes.training import Around, Surroundings, weights_files
from caffe_compat.solver.log import JsonLinesLog
from caffe_compat.solver.solver import Solver

logger = logging.getLogger(__name__)

RULES = {"pca": rank_by_energy, "svd": rank_by_norm}
LINEAR_MEMORY = ("SGD", "Nesterov")  # types whose history is a sum of gradients, and so turns as gradients do


@dataclass(frozen=True)
class Pruned:
    """What `prune_ranks` made: the files of the net, the names of its layers and its ranks after every test_interval.

    ranks: int [tests, layers], also in the file `record`, PREFIX.ranks. iterations: after which each row was taken.
    """

    net: Path
    weights: Path
    layers: tuple[str, ...]
    ranks: np.ndarray
    record: Path
    iterations: tuple[int, ...]


def prune_ranks(
    solver: str | os.PathLike[str],
    weights: Any = None,
    keep: float = 0.99,
    method: str = "pca",
    pruning_iter: int = -1,
    max_iter: int | None = None,
    device: str = "cpu",
    compat: str = "bvlc",
    around: Around = nullcontext,
    allow_missing: Collection[str] = (),
) -> Pruned:
    """Train the net of the file `solver` to max_iter, its X_lowrank layers losing ranks on the way.

    A net without such layers is first decomposed at full rank. keep: of each X_lowrank weight, share of energy with
    method "pca", of the norm with "svd". pruning_iter: the last iteration after which ranks may shrink, -1 for no end.
    Each smaller net is written as PREFIX_r1_r2_net.prototxt with PREFIX_r1_r2_solver.prototxt and a snapshot,
    PREFIX_r1_r2.solverstate, from which `solve` can go on. allow_missing: layers for which `weights` may have nothing.
    Raises RankError, SolverError, WeightsError.
    """
    if method not in RULES:
        raise RankError(f"method is '{method}'; allowed: {', '.join(RULES)}")
    param = read_solver(solver, weights)
    if max_iter is not None:
        param.max_iter = max_iter
    if param.test_interval < 1:
        raise SolverError(f"{solver}: test_interval is missing; ranks are looked at that often")
    run = _Run(param, Path(solver), weights, Surroundings(device, compat, around), allow_missing)
    rows: list[list[int]] = []
    iterations: list[int] = []
    record = Path(f"{param.snapshot_prefix}.ranks")
    with closing(run.journal):
        while run.solver.iteration < param.max_iter:
            run.train(min(param.test_interval, param.max_iter - run.solver.iteration))
            if pruning_iter < 0 or run.solver.iteration <= pruning_iter:
                run.shrink(keep, method)
            rows.append(list(run.ranks.values()))
            iterations.append(run.solver.iteration)
            with write_atomically(record) as temporary:
                np.savetxt(temporary, np.array(rows, ndmin=2), fmt="%d")
        files = run.finish()
    return Pruned(*files, tuple(run.ranks), np.array(rows, dtype=np.int64), record, tuple(iterations))


class _Run:
    """One training run over several solvers, each with a net smaller than that of the one before."""

    def __init__(
        self, param: Any, path: Path, weights: Any, place: Surroundings, allow_missing: Collection[str]
    ) -> None:
        self.param, self.place, self.prefix = param, place, str(param.snapshot_prefix)
        self.journal = JsonLinesLog(f"{self.prefix}.jsonl")
        self.net_path = self._net_file(path)
        self.param.net = str(self.net_path)
        self.solver = place.solver(param, weights)
        files = weights_files(param.weights if weights is None else weights)
        found = {name: blobs for file in files for name, blobs in read_weights(file, self.solver.net.param).items()}
        refuse_missing(Model(self.solver.net.param, found, files=tuple(map(str, files))), allow_missing)
        self.solver.callbacks.append(self.journal)
        self.folder = self.net_path.parent
        if not pairs(self.solver.net.param):
            model = self.solver.model()
            full = {name: bank.largest_rank for name, bank in banks(model).items()}
            logger.info("No layer is named X_lowrank: every Convolution is decomposed at full rank")
            self._continue(decompose(model, full), {})

    def _net_file(self, path: Path) -> Path:
        """The file of the net: the solver's own, or one that is written from what else it names."""
        if self.param.HasField("net") and not (self.param.test_net or self.param.test_net_param):
            return find_file(self.param.net, path.parent, named_by=str(path))
        file = Path(f"{self.prefix}_net.prototxt")
        write_model(Model(take_net(self.param, path, self.place.compat)), file)
        return file

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of every X_lowrank layer."""
        return {low.name: layer_fields(low).num_output for low, _ in pairs(self.solver.net.param)}

    def train(self, iterations: int) -> None:
        """Train on; KeyboardInterrupt, after a snapshot, where the solver was asked to stop."""
        last = self.solver.iteration + iterations
        with self.place.around(self.solver):
            self.solver.step(iterations)
        if self.solver.iteration < last:
            logger.info("Stopped; solve can go on from %s", self.solver.snapshot())
            raise KeyboardInterrupt

    def shrink(self, keep: float, method: str) -> None:
        """Give every X_lowrank layer the rank that keeps enough of it, if that is smaller for any."""
        model = self.solver.model()
        mixings: dict[str, np.ndarray] = {}
        for low, _ in pairs(model.net):
            bank = read_bank(model, low)
            rank = RULES[method](bank.weight, keep, bank.group)
            if rank < len(bank.weight):
                mixings[low.name] = factorize(bank.weight, rank, method, bank.group).coefficients
        if mixings:
            self._continue(absorb(model, mixings), mixings)

    def finish(self) -> tuple[Path, Path]:
        """Snapshot and test at the end; the files of the net and of its weights."""
        state = self.solver.snapshot()
        self.solver.test()
        return self.net_path, state.with_name(state.name.replace(".solverstate", ".caffemodel"))

    def _continue(self, model: Model, mixings: Mapping[str, np.ndarray]) -> None:
        """Write `model` and go on with it where the solver of now stands."""
        ranks = [str(layer_fields(low).num_output) for low, _ in pairs(model.net)]
        logger.info("Iteration %d, ranks: %s", self.solver.iteration, " ".join(ranks))
        name = "_".join(ranks)
        self.net_path = Path(f"{self.prefix}_{name}_net.prototxt")
        write_model(Model(anchor(model.net, self.folder)), self.net_path)
        self.param.net = str(self.net_path)
        with write_atomically(f"{self.prefix}_{name}_solver.prototxt") as temporary:
            temporary.write_text(format_text(self.param), encoding="utf-8")
        before, self.solver = self.solver, self.place.solver(self.param, ())
        self.solver.net.load_weights(model.weights)
        carry_state(before, self.solver, mixings)
        self.solver.snapshot(name)
        self.solver.callbacks.append(self.journal)


def pairs(net: Any) -> list[tuple[Any, Any]]:
    """The layers X_lowrank and X_linear of a NetParameter. RankError for one that cannot be pruned."""
    layers = {layer.name: layer for layer in net.layer if layer.type in KINDS}
    found = []
    for low in net.layer:
        if not low.name.endswith("_lowrank") or low.type not in KINDS:
            continue
        linear = layers.get(f"{low.name.removesuffix('_lowrank')}_linear")
        if linear is None or linear.type != low.type or list(linear.bottom) != list(low.top):
            raise RankError(f"layer '{low.name}' has no {low.type} of its own ending in _linear right behind it")
        fields = layer_fields(low), layer_fields(linear)
        if low.type == "Convolution" and fields[0].group != fields[1].group:
            raise RankError(f"layer '{low.name}' has {fields[0].group} groups, '{linear.name}' {fields[1].group}")
        if any(spec.name for layer in (low, linear) for spec in layer.param) or fields[0].bias_term:
            raise RankError(f"layer '{low.name}' has a bias, or shares its weights; its rank cannot shrink")
        found.append((low, linear))
    return found


def absorb(model: Model, mixings: Mapping[str, np.ndarray]) -> Model:
    """The model with each X_lowrank of `mixings` projected on its C, and each X_linear times C: W ~ C B, L W ~ L C B.

    mixings: {X_lowrank: C [rank before, rank / group, ...]}.
    """
    net = type(model.net)()
    net.CopyFrom(model.net)
    weights = dict(model.weights)
    for low, linear in pairs(net):
        if low.name not in mixings:
            continue
        group, mixing = _groups(low), mixings[low.name]
        basis = project(_rows(low, weights[low.name][0]), inverse(mixing, group), group)
        mixed = mix(_rows(linear, weights[linear.name][0]), mixing, group)
        weights[low.name] = (_rows(low, basis),)
        weights[linear.name] = (_rows(linear, mixed), *weights[linear.name][1:])
        layer_fields(low).num_output = len(basis)
    return Model(net, weights)


def carry_state(before: Solver, after: Solver, mixings: Mapping[str, np.ndarray]) -> None:
    """Give `after` the iteration, the place in the data and the memory of `before`.

    The memory of SGD and Nesterov is a sum of gradients and is carried through W = C B by the chain rule:
    dB = C^T dW and dL' = dL pinv(C)^T. Other types, and layers that were not there before, start without memory.
    """
    after.state.iteration, after.state.current_step = before.state.iteration, before.state.current_step
    for old, new in zip((before.net, *before.test_nets), (after.net, *after.test_nets), strict=True):
        sources = ([layer for _, layer in net.steps if isinstance(layer, SourceLayer)] for net in (old, new))
        for same, layer in zip(*sources, strict=True):
            if not layer.fed:
                layer.seek(same.cursor)
    count = len(before.net.learnable_params)
    rounds = len(before.state.history) // max(count, 1)
    olds = {param.users[0]: index for index, param in enumerate(before.net.learnable_params)}
    turned = _turned_users(before.net.param, mixings)
    for index, param in enumerate(after.net.learnable_params):
        user, place = param.users[0], olds.get(param.users[0])
        if place is None or (user in turned and before.config.type not in LINEAR_MEMORY):
            logger.info("Layer %s: the solver's memory of blob %d starts anew", *user)
            continue
        for each in range(rounds):
            values = before.state.history[each * count + place].cpu().numpy()
            made = turned[user](values) if user in turned else values
            target = after.state.history[each * len(after.net.learnable_params) + index]
            target.copy_(torch.from_numpy(np.ascontiguousarray(made)))


def _turned_users(net: Any, mixings: Mapping[str, np.ndarray]) -> dict[tuple[str, int], Any]:
    """What becomes of a gradient of each weight that `absorb` changes, by (layer, blob)."""
    turned: dict[tuple[str, int], Any] = {}
    for low, linear in pairs(net):
        if low.name in mixings:
            mixing, group = mixings[low.name], _groups(low)
            dual = inverse(mixing, group)
            turned[low.name, 0] = lambda values, c=mixing, g=group, of=low: _rows(of, project(_rows(of, values), c, g))
            turned[linear.name, 0] = lambda values, c=dual, g=group, of=linear: _rows(of, mix(_rows(of, values), c, g))
    return turned


def inverse(mixing: np.ndarray, group: int) -> np.ndarray:
    """pinv(C)^T of every group's C, [rank before, rank / group]: `project` on it solves W ~ C B for B."""
    return np.concatenate([np.linalg.pinv(part.reshape(len(part), -1)).T for part in np.split(mixing, group)])


def project(values: np.ndarray, mixing: np.ndarray, group: int) -> np.ndarray:
    """C^T W in every group: [rank before, ...] -> [rank, ...]."""
    parts = zip(np.split(values, group), np.split(mixing, group), strict=True)
    made = [(c.reshape(len(c), -1).T @ v.reshape(len(v), -1)).reshape(-1, *values.shape[1:]) for v, c in parts]
    return np.concatenate(made).astype(values.dtype)


def mix(values: np.ndarray, mixing: np.ndarray, group: int) -> np.ndarray:
    """L C in every group: [filters, rank before / group, ...] -> [filters, rank / group, ...], all 1x1."""
    parts = zip(np.split(values, group), np.split(mixing, group), strict=True)
    ones = values.shape[2:]
    made = [(v.reshape(len(v), -1) @ c.reshape(len(c), -1)).reshape(len(v), -1, *ones) for v, c in parts]
    return np.concatenate(made).astype(values.dtype)


def _groups(layer: Any) -> int:
    return int(layer.convolution_param.group) if layer.type == "Convolution" else 1


def _rows(layer: Any, values: np.ndarray) -> np.ndarray:
    """The weight with a row for every filter, or back again: an InnerProduct with `transpose` is turned round."""
    turned = layer.type == "InnerProduct" and layer.inner_product_param.transpose
    return np.ascontiguousarray(values.T) if turned else values
