"""Packages that only some scripts need: what the extra `pycaffe` brings."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, wanted_by: str) -> Any:
    """The module, imported; ImportError that names the extra where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{wanted_by} needs {module} ({error}); install it with: pip install 'caffe_compat[pycaffe]'"
        ) from error
