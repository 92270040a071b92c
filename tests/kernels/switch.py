"""A mark for tests of compiled loops, which are nothing to test where they are not used."""

from __future__ import annotations

import importlib.util
import os

import pytest

needs_loops = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None or os.environ.get("CAFFE_COMPAT_KERNELS") == "off",
    reason="the package numba is not installed, or loops are switched off",
)
