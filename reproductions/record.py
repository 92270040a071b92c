"""Results of ours as files: what was measured, by which command, on what."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def write_result(name: str, command: str, rows: list[dict[str, Any]]) -> Path:
    """Write results/NAME.json: `rows`, the command, the commit, the versions, the device and its threads."""
    facts = {
        "command": command,
        "commit": commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "caffe_compat": cc.__version__},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def read_result(name: str) -> dict[str, Any]:
    """What `write_result` wrote."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def commit() -> str:
    """The commit that the code stands at, "unknown" outside a clone."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
