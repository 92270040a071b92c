"""What a SolverParameter says, as plain values: the settings that a solver's parts read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from caffe_compat.solver.structure import StructureConfig


@dataclass(frozen=True)
class ForceConfig:
    """The fields force_type, force_decay, force_iter (-1: never ends), force_decay_type, _direction and _scaler."""

    force_type: str
    decay: float
    last_iteration: int
    decay_type: str
    direction: str
    scaler: str


@dataclass(frozen=True)
class SolverConfig:
    """What a SolverParameter says, except of its nets; names are Caffe's."""

    type: str
    base_lr: float
    lr_policy: str
    gamma: float
    power: float
    stepsize: int
    stepvalue: tuple[int, ...]
    max_iter: int
    momentum: float
    momentum2: float
    rms_decay: float
    delta: float
    weight_decay: float
    regularization_type: str
    clip_gradients: float
    iter_size: int
    average_loss: int
    display: int
    debug_info: bool
    random_seed: int
    test_iter: tuple[int, ...]
    test_interval: int
    test_initialization: bool
    test_compute_loss: bool
    snapshot: int
    snapshot_prefix: str
    snapshot_hdf5: bool
    snapshot_diff: bool
    snapshot_after_train: bool
    force: ForceConfig
    structure: StructureConfig
    growth: tuple[tuple[int, float], ...] = ()  # (iteration, density) of each connection_growth
    methods: tuple[Any, ...] = ()  # of the methods around the paper that it asks for, see `methods`
