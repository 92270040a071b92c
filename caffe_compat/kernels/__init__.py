"""Loops over values that no library has in one pass, compiled by Numba where it is installed (extra `[fast]`).

Each has a counterpart in torch or numpy where it is used, which runs without Numba, for other types of values, on other
devices, while a program is recorded, and where CAFFE_COMPAT_KERNELS=off. Modules of loops import Numba; they are asked
for by `loops`, so that importing this package costs nothing.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from types import ModuleType

_log = logging.getLogger(__name__)


def loops(name: str) -> ModuleType | None:
    """The module `name` of this package, or None where its loops are not to be used."""
    return _loaded(name) if os.environ.get("CAFFE_COMPAT_KERNELS") != "off" else None


@functools.cache
def _loaded(name: str) -> ModuleType | None:
    try:
        numba = importlib.import_module("numba")
    except ModuleNotFoundError:
        return None
    except Exception as error:  # Numba refuses a numpy that is newer than it knows, by an ImportError or otherwise
        _log.info("loops are not compiled, for Numba cannot be loaded: %s", error)
        return None
    return None if numba.config.DISABLE_JIT else importlib.import_module(f"{__name__}.{name}")
