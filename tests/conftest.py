"""What every test may ask for: the golden folder, and the real models and data that are never committed."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(min(2, os.cpu_count() or 1))


def shared(*parts: str) -> Path:
    """A path among the real models and data (`CAFFE_COMPAT_SHARED`, else ../shared); skips where it is absent."""
    root = Path(os.environ.get("CAFFE_COMPAT_SHARED", ROOT.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here; set CAFFE_COMPAT_SHARED to the folder of real models and data")
    return path


def golden(*parts: str) -> Path:
    """A committed golden case of tests/golden."""
    return Path(__file__).resolve().parent.joinpath("golden", *parts)
