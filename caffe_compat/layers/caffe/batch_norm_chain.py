"""A BatchNorm and the layers behind it, computed as one; net/joining.py finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from caffe_compat.layers.caffe.batch_norm_loops import Rule, normalized_by_loop

if TYPE_CHECKING:
    from caffe_compat.layers.caffe.activation import ReLU
    from caffe_compat.layers.caffe.batch_norm import BatchNorm
    from caffe_compat.layers.caffe.eltwise import Eltwise


@dataclass(frozen=True, eq=False)
class Chain:
    """A BatchNorm, with its Scale; the SUM of two that reads its top as bottom number `place`; the ReLU behind.

    With a sum, the BatchNorm hands its bottom on, and the Eltwise computes all; else the BatchNorm does.
    """

    batch_norm: BatchNorm
    eltwise: Eltwise | None
    place: int
    relu: ReLU | None
    rule: Rule

    def join(self) -> None:
        """Have the layers compute so until `part`."""
        vars(self.batch_norm)["chain"] = self  # for to set a Module's attribute takes 20 times as long
        if self.eltwise is not None:
            vars(self.eltwise)["chain"] = self
        if self.relu is not None:
            vars(self.relu)["is_done"] = True

    def part(self) -> None:
        """Have each layer compute its own top."""
        vars(self.batch_norm)["chain"] = None
        if self.eltwise is not None:
            vars(self.eltwise)["chain"] = None
        if self.relu is not None:
            vars(self.relu)["is_done"] = False

    def begun(self, bottom: Tensor) -> Tensor:
        """What the BatchNorm gives."""
        return bottom if self.eltwise is not None else self._computed(bottom)

    def finished(self, *bottoms: Tensor) -> Tensor:
        """What the Eltwise gives."""
        return self._computed(bottoms[self.place], bottoms[1 - self.place])

    def _computed(self, bottom: Tensor, other: Tensor | None = None) -> Tensor:
        top = normalized_by_loop(self.batch_norm, bottom, other, self.rule)
        if top is not None:
            return top
        top = self.batch_norm.alone(bottom)
        if other is not None and self.eltwise is not None:
            top = self.eltwise.sum((other, top) if self.place else (top, other))
        return top if self.relu is None else self.relu.rectified(top)
