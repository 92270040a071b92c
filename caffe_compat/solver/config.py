"""A SolverParameter read once and checked: every number in range, every word among those Caffe knows."""

from __future__ import annotations

import logging
import math
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.solver.methods import read_methods
from caffe_compat.solver.methods.connections import read_growth
from caffe_compat.solver.methods.soft_pruning import HARD
from caffe_compat.solver.regularizers.force import DECAY_TYPES, DIRECTIONS, POWERS, SCALERS
from caffe_compat.solver.regularizers.registry import decays, regularizer
from caffe_compat.solver.schedules import POLICIES
from caffe_compat.solver.settings import ForceConfig, SolverConfig
from caffe_compat.solver.structure import read_structure
from caffe_compat.solver.updates import UPDATES
from caffe_compat.solver.words import one_of

logger = logging.getLogger(__name__)

NOT_NEGATIVE = (
    "base_lr", "weight_decay", "delta", "stepsize", "max_iter", "display", "snapshot", "test_interval",
)  # fmt: skip


def read_config(param: Any, path: str = "the solver") -> SolverConfig:
    """The settings of the upgraded SolverParameter `param`; SolverError names path, field and allowed values."""
    fields = SolverConfig.__dataclass_fields__
    plain = {name: getattr(param, name) for name in fields if name in param.DESCRIPTOR.fields_by_name}
    plain["stepvalue"], plain["test_iter"] = tuple(param.stepvalue), tuple(param.test_iter)
    plain["regularization_type"] = _decay_of(param)
    plain["snapshot_hdf5"] = param.snapshot_format == param.HDF5
    force = ForceConfig(
        param.force_type,
        param.force_decay,
        param.force_iter,
        param.force_decay_type,
        param.force_direction,
        param.force_scaler,
    )
    try:
        config = SolverConfig(
            **plain,
            force=force,
            structure=read_structure(param),
            growth=read_growth(param),
            methods=read_methods(param),
        )
        _check_words(config)
        _check_numbers(config)
        _check_type(config)
        _check_policy(config, param)
        _check_tests(config, param)
    except SolverError as error:
        raise SolverError(f"{path}: {error}") from None
    if config.snapshot_diff:
        logger.warning("%s: snapshot_diff has no effect; snapshots hold the weights without their gradients", path)
    return config


def _decay_of(param: Any) -> str:
    """regularization_type; in IncReg's files it names the method once more, and decay is L2."""
    named = param.regularization_type in HARD and param.regularization_type == param.prune_method
    return "L2" if named else str(param.regularization_type)


def _check_words(config: SolverConfig) -> None:
    one_of("type", config.type, UPDATES)
    one_of("lr_policy", config.lr_policy, POLICIES)
    one_of("regularization_type", config.regularization_type, decays())
    regularizer(config.regularization_type)  # a plugin's is imported now: what is wrong with it comes before any work
    one_of("force_type", config.force.force_type, POWERS)
    one_of("force_decay_type", config.force.decay_type, DECAY_TYPES)
    one_of("force_direction", config.force.direction, DIRECTIONS)
    one_of("force_scaler", config.force.scaler, SCALERS)


def _check_numbers(config: SolverConfig) -> None:
    numbers = {name: value for name, value in vars(config).items() if isinstance(value, float)}
    for name, value in {**numbers, "force_decay": config.force.decay}.items():
        if not math.isfinite(value):
            raise SolverError(f"{name} is {value:g}; wanted a finite number")
    for name in NOT_NEGATIVE:
        if getattr(config, name) < 0:
            raise SolverError(f"{name} is {getattr(config, name):g}; wanted 0 or more")
    for name in ("iter_size", "average_loss"):
        if getattr(config, name) < 1:
            raise SolverError(f"{name} is {getattr(config, name)}; wanted 1 or more")
    if config.force.last_iteration < -1:
        raise SolverError(f"force_iter is {config.force.last_iteration}; wanted an iteration, or -1 for no end")


def _check_type(config: SolverConfig) -> None:
    """What each solver type asks of the momenta (the CHECKs of src/caffe/solvers)."""
    if not 0 <= config.momentum <= 1 or (config.type in ("Adam", "AdaDelta") and config.momentum == 1):
        raise SolverError(f"momentum is {config.momentum:g}; wanted 0 or more and less than 1")
    if config.type in ("AdaGrad", "RMSProp") and config.momentum != 0:
        raise SolverError(f"momentum is {config.momentum:g}; {config.type} takes none, so remove it")
    if config.type == "Adam" and not 0 <= config.momentum2 < 1:
        raise SolverError(f"momentum2 is {config.momentum2:g}; wanted 0 or more and less than 1")
    if config.type == "RMSProp" and not 0 <= config.rms_decay < 1:
        raise SolverError(f"rms_decay is {config.rms_decay:g}; wanted 0 or more and less than 1")


def _check_policy(config: SolverConfig, param: Any) -> None:
    """Fields without which a policy would divide by zero or silently train at a rate of 0."""
    policy = config.lr_policy
    if not param.HasField("base_lr"):
        raise SolverError("base_lr is missing; wanted the learning rate, 0 or more")
    if policy == "step" and config.stepsize < 1:
        raise SolverError(f"stepsize is {config.stepsize}; lr_policy 'step' wants 1 or more")
    if policy in ("step", "exp", "inv", "multistep") and config.gamma < 0:
        raise SolverError(f"gamma is {config.gamma:g}; lr_policy '{policy}' wants 0 or more")
    if policy in ("step", "exp", "multistep") and not param.HasField("gamma"):
        raise SolverError(f"gamma is missing; lr_policy '{policy}' multiplies the learning rate by it")
    if policy == "poly" and config.max_iter < 1:
        raise SolverError(f"max_iter is {config.max_iter}; lr_policy 'poly' wants 1 or more, it ends there")


def _check_tests(config: SolverConfig, param: Any) -> None:
    """One test_iter for each test net, one test_state for each or none, and an interval (Solver::InitTestNets)."""
    own_nets = len(param.test_net_param) + len(param.test_net)
    times = len(config.test_iter)
    shared = param.HasField("net") or param.HasField("net_param")
    if not shared and not own_nets and (times or config.test_interval):
        field = "test_iter is given" if times else f"test_interval is {config.test_interval}"
        raise SolverError(f"{field}, but there is no test net; name it as test_net, or ask for no tests")
    if times < own_nets or (not shared and times != own_nets):
        raise SolverError(f"test_iter is given {times} times; wanted once for each of {own_nets} test nets")
    if any(count < 1 for count in config.test_iter):
        raise SolverError(f"test_iter is {min(config.test_iter)}; wanted 1 or more")
    if param.test_state and len(param.test_state) != times:
        raise SolverError(
            f"test_state is given {len(param.test_state)} times for {times} test nets; wanted none, or one for each"
        )
    if times and config.test_interval == 0:
        raise SolverError("test_interval is missing; test_iter asks for tests, so give the iterations between them")
    if config.test_interval and not times:
        raise SolverError(f"test_interval is {config.test_interval}, but test_iter is missing; give a test's batches")
