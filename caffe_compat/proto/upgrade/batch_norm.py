"""BatchNorm's three statistics, once kept still by hand with `param { lr_mult: 0 }` three times.

Caffe 1.0 keeps them still itself, and overrules the multipliers that an old net gives: one with three `param` of other
values trains the same way as one with zeros.
"""

from __future__ import annotations

from typing import Any

WHAT = "the multipliers of its BatchNorm layers to 0"


def needed(net: Any) -> bool:
    """Whether a BatchNorm layer has three `param` that do not all hold still."""
    return any(_moves(layer) for layer in net.layer)


def upgrade(net: Any) -> list[str]:
    """Set lr_mult and decay_mult to 0."""
    for layer in net.layer:
        if _moves(layer):
            for param in layer.param:
                param.lr_mult = 0
                param.decay_mult = 0
    return []


def _moves(layer: Any) -> bool:
    if layer.type != "BatchNorm" or len(layer.param) != 3:
        return False
    return any(param.lr_mult != 0 or param.decay_mult != 0 for param in layer.param)
