"""`caffe.SGDSolver` and its kin, and `get_solver` (_caffe.cpp)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto.model import read_solver
from caffe_compat.pycaffe.bindings import Bound, CheckError, check, refuse_types, text, whole
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.logs import lines
from caffe_compat.pycaffe.mode import NCCL
from caffe_compat.pycaffe.net import Net, view
from caffe_compat.pycaffe.training import LiveSolver
from caffe_compat.pycaffe.vectors import NetVec


class SolverParameter(Bound):
    """What a script may read of a solver's prototxt; base_lr can be set, and holds at once."""

    def __init__(self, live: LiveSolver) -> None:
        self._live = live

    @property
    def max_iter(self) -> int:
        return int(self._live.param.max_iter)

    @property
    def display(self) -> int:
        return int(self._live.param.display)

    @property
    def layer_wise_reduce(self) -> bool:
        return bool(self._live.param.layer_wise_reduce)

    @property
    def base_lr(self) -> float:
        return float(self._live.param.base_lr)

    @base_lr.setter
    def base_lr(self, rate: float) -> None:
        self._live.set_base_rate(rate)


class Solver(Bound):
    """A solver for a prototxt: its nets, and its iterations."""

    _live: LiveSolver

    @property
    def net(self) -> Net:
        """The training net: a new Net object each time, on the same net."""
        return view(self._live.live)

    @property
    def test_nets(self) -> NetVec:
        """The test nets, which get the weights when a test runs."""
        return NetVec(self._live.live_tests, view)

    @property
    def iter(self) -> int:
        """How many updates were done."""
        return self._live.iteration

    @property
    def param(self) -> SolverParameter:
        return SolverParameter(self._live)

    def step(self, iters: int) -> None:
        """Do `iters` iterations, past max_iter too: test, forward and backward, update, snapshot as they are due."""
        _refusing(self._live.step, whole("step", iters))

    def solve(self, resume_file: str | None = None) -> None:
        """Train to max_iter, from the state in `resume_file` if given; then snapshot and test."""
        _refusing(self._live.solve, resume_file if resume_file is None else text("solve", resume_file))

    def restore(self, state_file: str) -> None:
        """Go on from a .solverstate or .solverstate.h5, and the weights it names."""
        _refusing(self._live.restore, text("restore", state_file))

    def snapshot(self) -> None:
        """Write weights and state of now."""
        _refusing(self._live.snapshot)

    def apply_update(self) -> None:
        """Take the update that follows from the diffs off the weights, leave it in the diffs, count an iteration."""
        _refusing(self._live.count_update)

    def share_weights(self, net: Net) -> None:
        """Have the learnable blobs of `net` on the memory of the training net's."""
        if not isinstance(net, Net):
            refuse_types("share_weights", "caffe::Net<float>*", self, net)
        net.share_with(self.net)

    def add_callback(self, *calls: Any) -> None:
        """Call on_start() before an iteration's passes, on_gradients_ready() before its update; NCCL does nothing."""
        if not calls or (len(calls) == 1 and isinstance(calls[0], NCCL)):
            return
        if len(calls) != 2:
            refuse_types("add_callback", "object on_start, object on_gradients_ready", self, *calls)
        self._live.starts.append(calls[0])
        self._live.readies.append(calls[1])


class SGDSolver(Solver):
    """Stochastic gradient descent, whatever `type` the file says."""

    solver_type: ClassVar[str] = "SGD"

    def __init__(self, *args: Any) -> None:
        if len(args) != 1:
            refuse_types(f"{type(self).__name__}.__init__", "std::string", self, *args)
        path = text("__init__", args[0])
        param = _read(path)
        param.type = self.solver_type
        self._live = _live(param, path)

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self._live.rate()


class NesterovSolver(SGDSolver):
    solver_type = "Nesterov"


class AdaGradSolver(SGDSolver):
    solver_type = "AdaGrad"


class RMSPropSolver(SGDSolver):
    solver_type = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    solver_type = "AdaDelta"


class AdamSolver(SGDSolver):
    solver_type = "Adam"


_KINDS = {
    kind.solver_type: kind
    for kind in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(*args: Any) -> SGDSolver:
    """The solver of a prototxt, of the class that its `type` asks for."""
    if len(args) != 1:
        refuse_types("get_solver", "std::string", *args)
    path = text("get_solver", args[0])
    kind = _read(path).type
    known = ", ".join(sorted(_KINDS))
    check(kind in _KINDS, "registry.count(type) == 1 (0 vs. 1)", f"Unknown solver type: {kind} (known types: {known})")
    return _KINDS[kind](path)


def _read(path: str) -> Any:
    if not Path(path).is_file():
        raise CheckError(f"Check failed: fd != -1 (-1 vs. -1) File not found: {path}")
    try:
        return read_solver(path)
    except CaffeCompatError as error:
        raise CheckError(
            "Check failed: ReadProtoFromTextFile(param_file, param) "
            f"Failed to parse SolverParameter file: {path} ({error})"
        ) from error


def _live(param: Any, path: str) -> LiveSolver:
    nets = [name for name in ("net", "net_param", "train_net", "train_net_param") if param.HasField(name)]
    fields = "net, net_param, train_net, train_net_param"
    check(len(nets) >= 1, f"num_train_nets >= 1 ({len(nets)} vs. 1)",
          f"SolverParameter must specify a train net using one of these fields: {fields}")  # fmt: skip
    check(len(nets) <= 1, f"num_train_nets <= 1 ({len(nets)} vs. 1)",
          f"SolverParameter must not contain more than one of these fields: {fields}")  # fmt: skip
    live: LiveSolver = _refusing(LiveSolver, param, Path(path))
    return live


def _refusing(do: Any, *args: Any) -> Any:
    """do(*args), its errors in Caffe's words; those of callbacks and Python layers come out as they are."""
    try:
        with lines():
            return do(*args)
    except CheckError:
        raise
    except CaffeCompatError as error:
        raise in_caffes_words(error) from error
