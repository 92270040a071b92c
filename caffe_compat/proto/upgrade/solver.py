"""The solver's type, once an enum, now a string.

Given:   solver_type: ADAGRAD
Result:  type: "AdaGrad"
"""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import SolverParameter

WHAT = "its solver_type to type"

_TYPES = {
    "SGD": "SGD", "NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad", "RMSPROP": "RMSProp", "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}  # fmt: skip
_NAMES = {SolverParameter.SolverType.Value(old): new for old, new in _TYPES.items()}


def needed(solver: Any) -> bool:
    """Whether the old field is set."""
    return bool(solver.HasField("solver_type"))


def upgrade(solver: Any) -> list[str]:
    """Rewrite `solver`. Raises ParseError where both fields stand."""
    if solver.HasField("type"):
        raise ParseError(f'the solver has both solver_type and type: "{solver.type}"; keep type')
    solver.type = _NAMES[solver.solver_type]
    solver.ClearField("solver_type")
    return []
