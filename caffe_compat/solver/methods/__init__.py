"""The methods around the paper: each is asked for by fields of the solver and the net, and off without them.

A method reads its fields into a frozen config, and what it changes while it runs is its own state, which snapshots keep
in the side-car. What it computes stands in solver/regularizers, as pure functions with their equations and sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods import (
    group_fisher,
    growing,
    increg,
    orthogonality,
    soft_pruning,
    sparse_group,
    sparsetrain,
)
from caffe_compat.solver.methods.connections import Connections
from caffe_compat.solver.methods.method import Entry, Shaping, check_together
from caffe_compat.solver.methods.scnn import Scnn

TRAINING_METHODS: tuple[Entry, ...] = (
    *orthogonality.ENTRIES,
    *sparse_group.ENTRIES,
    *growing.ENTRIES,
    *soft_pruning.ENTRIES,
    *increg.ENTRIES,
    *group_fisher.ENTRIES,
    *sparsetrain.ENTRIES,
)


def read_methods(param: Any) -> tuple[Any, ...]:
    """The configs of the methods that the SolverParameter `param` asks for; SolverError names field and value."""
    configs = (read(param) for read in dict.fromkeys(entry.read for entry in TRAINING_METHODS))
    return tuple(config for config in configs if config is not None)


def build_methods(
    configs: Sequence[Any],
    net: Net,
    claims: Sequence[tuple[str, str, frozenset[int]]] = (),
    threshold: float = 0.0,
    growth: Sequence[tuple[int, float]] = (),
) -> Shaping:
    """The methods of a solver that trains `net`; SolverError where one has nothing to act on, or two contradict.

    claims: (title, kind, numbers of the parameters) of what else changes weights, the force for one. threshold:
    prune_threshold, for a net with compat "scnn". growth: (iteration, density) of each connection_growth.
    """
    builders = {entry.config: entry.build for entry in TRAINING_METHODS}
    methods = [builders[type(config)](config, net) for config in configs]
    if any(getattr(layer, "connections", None) is not None for layer in net.layers.values()):
        methods.append(Connections(net, growth))
    elif growth:
        raise SolverError("connection_growth is given, but no convolution of the net has a connection_density; set it")
    if net.compat == "scnn":
        methods.append(Scnn(net, threshold))
    own = [(method.title, method.kind, method.acts_on) for method in methods]
    check_together([*claims, *own], net.learnable_params)
    return Shaping(methods)
