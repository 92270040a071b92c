"""What every method has in common: when it is asked, what it acts on, what of it a snapshot keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.net.params import LearnableParam, param_specs

# Two methods of these kinds on one parameter contradict one another: what makes filters alike, or orthonormal, acts on
# all of them, those too that another one is taking away, and gives these a length again.
CONTRARY = ({"attracts", "spreads"}, {"attracts", "prunes"}, {"spreads", "prunes"}, {"prunes"})

Config = TypeVar("Config")


@dataclass(frozen=True)
class Step:
    """One iteration as a method sees it.

    weights, gradients: of every learnable parameter, in Caffe's order; gradients only while they are there.
    history: the solver's memory, one blob a parameter and round. iteration: updates done before this one.
    """

    iteration: int
    weights: list[Tensor]
    history: list[Tensor]


class Method:
    """One method on one net. What changes while it runs is in what `state_dict` gives, and in nothing else."""

    title: str = ""  # as its authors call it
    kind: ClassVar[str] = ""  # attracts, spreads, shrinks or prunes; see CONTRARY

    @property
    def acts_on(self) -> frozenset[int]:
        """The numbers of the parameters that it changes."""
        return frozenset()

    def loaded(self, weights: list[Tensor]) -> None:
        """Take note that weights were copied in from a .caffemodel."""

    def before_pass(self, step: Step) -> None:
        """Change weights before the forward pass."""

    def after_pass(self, step: Step, gradients: list[Tensor]) -> None:
        """Change the raw gradients, summed over iter_size, before they are clipped."""

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        """Add to the gradients, after clipping, the division by iter_size, decay and force; before the history."""

    def after_update(self, step: Step) -> None:
        """Change weights after the update that ends `step`."""

    def penalty(self, weights: list[Tensor]) -> float | None:
        """The value of the penalty that it adds to the loss; None for a method that adds none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a snapshot keeps, see solver/method_state.py; empty for a method that keeps nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; ValueError or KeyError where it does not fit."""

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        """Lines for the log at each display, of the weights of now."""
        return ()

    keeps_snapshots = False  # whether it writes snapshots of its own
    passes = 1  # of an iteration, for each of iter_size
    is_over = False  # whether the run has no more to do for it

    def check_tests(self, nets: Sequence[Net]) -> None:
        """SolverError where it needs other test nets than these."""

    def rate(self, policy: float) -> float:
        """The learning rate of the next update, where the policy says this."""
        return policy

    def begin(self, run: Run) -> None:
        """Before the iterations that a solver is asked for."""

    def end_iteration(self, run: Run) -> None:
        """After an iteration, which is counted."""


class Run(Protocol):
    """A solver between two iterations, as its methods may use it.

    iteration: updates done. rate: of the last of them.
    """

    iteration: int

    @property
    def rate(self) -> float: ...

    def accuracies(self) -> list[float]:
        """The outputs called accuracy of the last test net, after a whole test of all of them."""

    def keep(self, name: str) -> None:
        """Write a snapshot PREFIX_name."""

    def go_back(self, name: str) -> Mapping[str, Any]:
        """Take weights, history and iteration of the snapshot PREFIX_name; gives what the method kept in it.

        The places of data and the random numbers stay as they are.
        """


@dataclass(frozen=True)
class Entry:
    """One row of the table of methods: what it is called, whose it is, its fields, and how it is made.

    read: a SolverParameter -> its config, None where it is not asked for. build: (config, net) -> the Method.
    """

    title: str
    does: str
    source: str
    fields: tuple[str, ...]
    read: Callable[[Any], Any]
    config: type
    build: Callable[[Any, Net], Method]


class Shaping:
    """The methods of one solver, asked in their order; with none of them, nothing is done and nothing costs."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self.methods = tuple(methods)

    def __bool__(self) -> bool:
        return bool(self.methods)

    def loaded(self, weights: list[Tensor]) -> None:
        for method in self.methods:
            method.loaded(weights)

    def before_pass(self, step: Step) -> None:
        for method in self.methods:
            method.before_pass(step)

    def after_pass(self, step: Step, gradients: list[Tensor]) -> None:
        for method in self.methods:
            method.after_pass(step, gradients)

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        for method in self.methods:
            method.regularize(step, gradients)

    def after_update(self, step: Step) -> None:
        for method in self.methods:
            method.after_update(step)

    @property
    def keeps_snapshots(self) -> bool:
        return any(method.keeps_snapshots for method in self.methods)

    @property
    def passes(self) -> int:
        """Of an iteration, for each of iter_size."""
        return math.prod(method.passes for method in self.methods)

    @property
    def is_over(self) -> bool:
        return any(method.is_over for method in self.methods)

    def check_tests(self, nets: Sequence[Net]) -> None:
        for method in self.methods:
            method.check_tests(nets)

    def rate(self, policy: float) -> float:
        for method in self.methods:
            policy = method.rate(policy)
        return policy

    def begin(self, run_of: Callable[[str], Run]) -> None:
        for method in self.methods:
            method.begin(run_of(method.title))

    def end_iteration(self, run_of: Callable[[str], Run]) -> None:
        for method in self.methods:
            method.end_iteration(run_of(method.title))

    def penalties(self, weights: list[Tensor]) -> dict[str, float]:
        """The value of each penalty for these weights, by the method's title."""
        values = ((method.title, method.penalty(weights)) for method in self.methods)
        return {title: value for title, value in values if value is not None}

    def report(self, weights: list[Tensor]) -> list[str]:
        """What the methods say at a display."""
        return [line for method in self.methods for line in method.report(weights)]

    @property
    def stateful(self) -> list[Method]:
        """Those of which a snapshot keeps something."""
        return [method for method in self.methods if method.state_dict()]


def check_together(claims: Iterable[tuple[str, str, frozenset[int]]], params: Sequence[LearnableParam]) -> None:
    """SolverError where two methods contradict one another on a parameter; claims: (title, kind, what it acts on)."""
    claims = list(claims)
    for place, (title, kind, acts_on) in enumerate(claims):
        for other, other_kind, others in claims[:place]:
            together = sorted(acts_on & others)
            if together and any({kind, other_kind} == pair for pair in CONTRARY):
                layer = params[together[0]].layer
                raise SolverError(
                    f"layer '{layer}': {other} and {title} contradict one another on its weights; keep one of them"
                )


def hook_forward(layer: nn.Module, owner: str, hook: Callable[[Any, Any, Any], None]) -> None:
    """Have `hook` called after each forward pass of `layer`, in place of the one that `owner` had there before."""
    for key, known in list(layer._forward_hooks.items()):
        if getattr(known, "owner", "") == owner:
            del layer._forward_hooks[key]
    hook.owner = owner  # type: ignore[attr-defined]
    layer.register_forward_hook(hook)


def hook_bottoms(layer: nn.Module, owner: str, hook: Callable[[Any, Any], Any]) -> None:
    """Have `hook` called before each forward pass of `layer`, for the bottoms that it gets; otherwise as above."""
    for key, known in list(layer._forward_pre_hooks.items()):
        if getattr(known, "owner", "") == owner:
            del layer._forward_pre_hooks[key]
    hook.owner = owner  # type: ignore[attr-defined]
    layer.register_forward_pre_hook(hook)


def acting(net: Net, field: str, decay: str) -> Iterator[tuple[int, LearnableParam, Any]]:
    """(number, parameter, ParamSpec) of each whose spec has the multiplier `field`; SolverError where none has it.

    decay: the field of the solver that asks for the method.
    """
    found = [
        (index, param, spec)
        for index, param in enumerate(net.learnable_params)
        if getattr(spec := spec_of(net, param), field) != 0
    ]
    if not found:
        raise SolverError(
            f"{decay} acts where {field} is not 0, but net '{net.graph.name}' sets none; "
            f"add {field}: 1 to the param of the weights that it should act on"
        )
    yield from found


def read_config(kind: type[Config], param: Any, prefix: str, **names: str) -> Config:
    """The config of a method from its fields: `prefix` and the name of each of its own, or what `names` has for it."""
    own = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(param, names.get(name, prefix + name)) for name in own})


def spec_of(net: Net, param: LearnableParam) -> Any:
    """The ParamSpec of the owner of `param`."""
    layer, position = net.layers[param.layer], param.users[0][1]
    return param_specs(layer)[position]
