"""What IncReg knows of each layer, and how snapshots keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.solver.methods.layers import PrunedLayer
from caffe_compat.solver.regularizers.increg import Groups

STANDARD = 0.5  # the share of a net that prune_ratio_step is for
FIRST_STEP = 0.2  # the first stage's share of a net


@dataclass
class LayerState:
    """One layer. groups: see Groups. mask: (filters, columns) bool, True where a weight is left.

    share: of its groups, gone as of the last forward pass. masks: whether anything of it was then. finished: the
    iteration, -1 before. is_counted: whether share and masks are those of the mask of now.
    """

    groups: Groups
    mask: Tensor
    share: float = 0.0
    masks: bool = False
    finished: int = -1
    is_counted: bool = False

    def kept(self) -> dict[str, Any]:
        """What `restored` takes."""
        groups = {"penalty": self.groups.penalty, "rank": self.groups.rank, "gone": self.groups.gone}
        return {**groups, "mask": self.mask, "share": self.share, "masks": self.masks, "finished": self.finished}


def restored(layer: PrunedLayer, kept: Mapping[str, Any]) -> LayerState:
    """The state of `layer` that a snapshot kept; ValueError or KeyError where it is of another one."""
    device = layer.tensor.device
    arrays = {name: torch.as_tensor(kept[name]).to(device) for name in ("penalty", "rank", "gone", "mask")}
    shape = (len(layer.tensor), layer.tensor[0].numel())
    if tuple(arrays["mask"].shape) != shape:
        raise ValueError(f"the mask of layer '{layer.name}' is {tuple(arrays['mask'].shape)}, its matrix {shape}")
    groups = Groups(arrays["penalty"], arrays["rank"], arrays["gone"])
    return LayerState(groups, arrays["mask"], kept["share"], kept["masks"], kept["finished"])


class Goals:
    """What each layer is to lose, by its name.

    given, steps: prune_ratio and prune_ratio_step. settled: the shares pruned in the stages that are over. ratios: what
    is to be pruned by the end of this stage. increment: by how much that is more, of a net whose step is 0.5.
    """

    def __init__(self, given: Mapping[str, float], steps: Mapping[str, float]) -> None:
        self.given, self.steps = given, steps
        self.settled = dict.fromkeys(given, 0.0)
        self.ratios = dict(given)
        self.increment = FIRST_STEP

    def aim(self, increment: float, real: Any) -> None:
        """Let the next stage prune so much more, in the numbers of type `real`."""
        share = real(increment) / real(STANDARD)
        wanted = {name: real(self.settled[name]) + share * real(step) for name, step in self.steps.items()}
        self.ratios = {name: float(min(each, real(self.given[name]))) for name, each in wanted.items()}
        self.increment = increment

    def are_met(self, shares: Mapping[str, float], real: Any) -> bool:
        """Whether every layer has its prune_ratio."""
        return all(shares.get(name, 0.0) >= float(real(goal)) for name, goal in self.given.items())

    def check_steps(self) -> None:
        """SolverError where a layer would never be pruned in stages."""
        for name, goal in self.given.items():
            if goal and not self.steps[name] > 0:
                raise SolverError(
                    f"layer '{name}': acc_borderline asks for stages of pruning, but prune_ratio_step is "
                    f"{self.steps[name]:g}; add one above 0 to its prune_param: what a step of 0.5 prunes"
                )

    def kept(self) -> dict[str, Any]:
        return {"settled": self.settled, "ratios": self.ratios, "increment": self.increment}

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.settled, self.ratios = dict(kept["settled"]), dict(kept["ratios"])
        self.increment = float(kept["increment"])
