"""What a method keeps from one iteration to the next, on its way into a side-car and back: JSON, and arrays beside it.

An array stands in the JSON as {"__array__": [dtype, shape, offset]}, where its bytes, little-endian and in C order,
begin in the file of arrays. Nothing is packed, so that no small file can claim to hold a large array.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from caffe_compat.errors import SolverError

logger = logging.getLogger(__name__)

ARRAY = "__array__"
_DTYPE = re.compile(r"[<|][biufc][0-9]{1,2}")


class Stateful(Protocol):
    """A regularizer, mask keeper or the like that goes on where it was; torch's own protocol for this.

    state_dict: names to numbers, words, None, tensors or arrays of numbers, lists and mappings of these.
    load_state_dict: takes such a mapping back, with tensors as arrays, tuples as lists. A ValueError, KeyError or
    TypeError that it raises says that the state is another method's.
    """

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Any) -> Any: ...


class MethodStates:
    """The methods whose state a solver's snapshots keep, by name."""

    def __init__(self) -> None:
        self._methods: dict[str, Stateful] = {}
        self._unclaimed: dict[str, Any] = {}  # of the snapshot that the run went on from

    def add(self, name: str, method: Stateful) -> None:
        """Keep the state of `method` from now on; hand it what the snapshot has under `name`."""
        if name in self._methods:
            raise SolverError(f"two methods keep their state as '{name}'; give one of them another name")
        self.put(name, method)

    def put(self, name: str, method: Stateful) -> None:
        """The same, in place of the method that had this name before: one made anew with the solver's nets."""
        self._methods[name] = method
        if name in self._unclaimed:
            self._hand_over(name, self._unclaimed.pop(name))

    def kept(self) -> dict[str, Any]:
        """Name -> state of now, arrays included; states that no method has asked for stay as they came."""
        own = {name: dict(method.state_dict()) for name, method in self._methods.items()}
        return {**self._unclaimed, **own}

    def restore(self, states: Mapping[str, Any]) -> None:
        """Hand each method its own; a line in the log for one that gets none, and for a state that nobody takes."""
        self._unclaimed = {name: state for name, state in states.items() if name not in self._methods}
        for name in self._methods:
            if name in states:
                self._hand_over(name, states[name])
            else:
                logger.warning("The snapshot has no state of '%s', which starts anew", name)
        for name in self._unclaimed:
            logger.info("The snapshot has a state of '%s', which this run has not asked for yet", name)

    def _hand_over(self, name: str, state: Any) -> None:
        try:
            self._methods[name].load_state_dict(state)
        except (KeyError, TypeError, ValueError) as error:
            raise SolverError(f"the snapshot's state of '{name}' does not fit this run: {error}") from None


def to_json(value: Any, pieces: list[bytes]) -> Any:
    """`value` for JSON; the bytes of its arrays are added to `pieces`. SolverError for what no side-car can hold."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        values = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        place = sum(map(len, pieces))
        pieces.append(values.tobytes())
        return {ARRAY: [values.dtype.str, list(value.shape), place]}
    if isinstance(value, (list, tuple)):
        return [to_json(item, pieces) for item in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) and name != ARRAY for name in value):
        return {name: to_json(item, pieces) for name, item in value.items()}
    raise SolverError(
        f"the state of a method holds {type(value).__name__} {str(value)[:40]!r}; wanted numbers, words, None, arrays "
        "of numbers, and lists and mappings of these by name"
    )


def from_json(value: Any, arrays: memoryview) -> Any:
    """What `to_json` was given, `arrays` being the bytes of all its arrays. ValueError where the two do not fit."""
    if isinstance(value, list):
        return [from_json(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {ARRAY}:
        return {name: from_json(item, arrays) for name, item in value.items()}
    try:
        dtype, shape, start = value[ARRAY]
        if not _DTYPE.fullmatch(dtype):  # numpy reads more, as Python source even
            raise ValueError
        kind = np.dtype(dtype)
        size = kind.itemsize * math.prod(shape)
        if min([start, *shape]) < 0 or start + size > len(arrays):
            raise ValueError
        return np.frombuffer(arrays[start : start + size], kind).reshape(shape).copy()
    except (TypeError, ValueError):
        raise ValueError(f"{str(value[ARRAY])[:80]} is no array in the .arrays file") from None
