"""Where the fuzz puts its files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """A folder for this process's files, in memory where the system has a place for that."""
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    made = Path(tempfile.mkdtemp(prefix="caffe_compat_fuzz_", dir=root))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def file_of(data: bytes, suffix: str = "") -> Path:
    """A file with this content; the next one takes its place."""
    path = folder() / f"case_{os.getpid()}{suffix}"
    path.write_bytes(data)
    return path


def own_folder(name: str) -> Path:
    """An empty folder of this process for cases of `name`."""
    path = folder() / f"{name}_{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path
