"""Words and numbers of a solver's fields, checked: one line that says what was found and what is wanted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

from caffe_compat.errors import SolverError


def one_of(field: str, value: str, allowed: Iterable[str]) -> None:
    """SolverError, with the nearest word, where `value` is none of those allowed."""
    allowed = list(allowed)
    if value in allowed:
        return
    near = difflib.get_close_matches(value.lower(), [word.lower() for word in allowed], n=1)
    hint = next((f"; did you mean '{word}'?" for word in allowed if [word.lower()] == near), ";")
    found = f"{field} is '{value}'" if value else f"{field} is missing"
    raise SolverError(f"{found}{hint} allowed: {', '.join(allowed)}")


def finite(field: str, value: float) -> None:
    """SolverError where `value` is no finite number."""
    if not math.isfinite(value):
        raise SolverError(f"{field} is {value:g}; wanted a finite number")


def at_least(field: str, value: float, least: float) -> None:
    """SolverError where `value` is less than `least`, or no finite number."""
    finite(field, value)
    if value < least:
        raise SolverError(f"{field} is {value:g}; wanted {least:g} or more")


def ratio(field: str, value: float) -> None:
    """SolverError where `value` is no share of filters to remove: outside [0, 1)."""
    if not 0 <= value < 1:
        raise SolverError(f"{field} is {value:g}; wanted 0 or more and less than 1: nothing would be left of 1")
