"""Packages that only some scripts need: what the extra `pycaffe` brings."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, wanted_by: str) -> Any:
    """The module, imported; where it is missing the error of its import, which names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        kind = ModuleNotFoundError if isinstance(error, ModuleNotFoundError) else ImportError
        raise kind(
            f"{wanted_by} needs {module} ({error}); install it with: pip install 'caffe_compat[pycaffe]'",
            name=error.name,
            path=error.path,
        ) from error
