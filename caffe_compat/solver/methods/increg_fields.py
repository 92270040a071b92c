"""What the fields of a solver ask of IncReg: its penalties, and what comes after pruning."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.solver.methods.soft_pruning import HARD
from caffe_compat.solver.regularizers.increg import IncRegConfig
from caffe_compat.solver.words import at_least, finite

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetrainConfig:
    """The fields losseval_interval, retrain_test_interval, acc_borderline, baseline_acc, IF_eswpf, IF_use_acc1.

    passes: iter_size_* by the state it is for.
    """

    losseval_interval: int
    test_interval: int
    borderline: float
    baseline: float
    passes: tuple[tuple[str, int], ...]
    stops_early: bool
    takes_least: bool

    @property
    def in_stages(self) -> bool:
        return self.borderline > 0


@dataclass(frozen=True)
class IncRegRun:
    """penalties: see IncRegConfig. counts_dense: whether `speedup` counts InnerProducts too, IF_speedup_count_fc."""

    penalties: IncRegConfig
    counts_dense: bool
    retrain: RetrainConfig


def read_increg(param: Any) -> IncRegRun | None:
    """The settings of the SolverParameter `param`; None where prune_method is neither Reg_Col nor Reg_Row."""
    if param.prune_method not in HARD:
        return None
    for name in ("AA", "target_reg"):
        at_least(name, getattr(param, name), 0)
        if not getattr(param, name):
            raise SolverError(f"{name} is missing; prune_method '{param.prune_method}' needs it, above 0")
    at_least("speedup", param.speedup, 1)
    for name in ("compRatio", "IF_compr_count_conv"):
        if param.HasField(name):
            logger.warning("%s has no effect: its authors' code counts weights where single ones are pruned only", name)
    penalties = IncRegConfig(
        param.prune_method,
        param.AA,
        param.target_reg,
        param.target_reg_scaled,
        param.speedup,
        param.IF_update_row_col,
        param.IF_scheme1_when_Reg_rank,
    )
    return IncRegRun(penalties, param.IF_speedup_count_fc, read_retraining(param))


def read_retraining(param: Any) -> RetrainConfig:
    """The settings of the SolverParameter `param`; SolverError names what cannot be."""
    for name in ("losseval_interval", "retrain_test_interval"):
        at_least(name, getattr(param, name), 0)
    for name in ("acc_borderline", "baseline_acc"):
        finite(name, getattr(param, name))
    names = ("prune", "losseval", "retrain", "final_retrain")
    for name in names:
        at_least(f"iter_size_{name}", getattr(param, f"iter_size_{name}"), 1)
    if param.acc_borderline > 0:
        if param.baseline_acc < param.acc_borderline:
            raise SolverError(
                f"acc_borderline is {param.acc_borderline:g}, baseline_acc {param.baseline_acc:g}; wanted "
                "baseline_acc, the accuracy before pruning, at least as high"
            )
        if not param.retrain_test_interval:
            raise SolverError("acc_borderline asks for stages of pruning; set retrain_test_interval, which judges them")
    return RetrainConfig(
        param.losseval_interval,
        param.retrain_test_interval,
        param.acc_borderline,
        param.baseline_acc,
        tuple((name, getattr(param, f"iter_size_{name}")) for name in names),
        param.IF_eswpf,
        param.IF_use_acc1,
    )
