"""A mark for tests of compiled loops, which are nothing to test where they are not used; and what may not matter."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

needs_loops = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None or os.environ.get("CAFFE_COMPAT_KERNELS") == "off",
    reason="the package numba is not installed, or loops are switched off",
)


@contextmanager
def other_defaults(kind: torch.dtype = torch.float64, device: str | None = "meta") -> Iterator[None]:
    """Within this block torch makes tensors of another type, elsewhere, if nobody tells it what is wanted."""
    torch.set_default_dtype(kind)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
