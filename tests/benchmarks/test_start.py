"""How long commands take to begin: --help of every verb; show and check of a net beside the same with torch imported.

User seconds of whole processes, both sides in turns. With torch is as all verbs began before those that only read nets
did without it.

Run: python -m pytest -m benchmark -s tests/benchmarks/test_start.py
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_compat.commands import VERBS
from caffe_compat.commands.beginning import WITH_TORCH
from tests.conftest import shared

pytestmark = pytest.mark.benchmark

ROUNDS = 7
MOST_HELP, MOST_SHARE = 0.1, 0.5  # user seconds; of those with torch


def user_seconds(words: list[str], **environment: str) -> tuple[float, bytes]:
    """User seconds of one Python process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found = subprocess.run(
        [sys.executable, "-m", *words], check=True, stdout=subprocess.PIPE, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, found.stdout


@pytest.mark.parametrize("verb", ["show", "check"])
def test_a_net_is_read_in_half_of_the_time_with_torch(verb: str) -> None:
    folder: Path = shared("models", "googlenet")
    words = ["caffe_compat", verb, str(folder / "deploy.prototxt")]
    ours, torchs, ratios = [], [], []
    for _ in range(ROUNDS):
        light, printed = user_seconds(words)
        heavy, wanted = user_seconds(words, **{WITH_TORCH: "1"})
        assert printed == wanted
        ours.append(light)
        torchs.append(heavy)
        ratios.append(light / heavy)
    print(
        f"\n{verb} of GoogLeNet: {statistics.median(ours):.2f} user s, with torch {statistics.median(torchs):.2f}: "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), wanted {MOST_SHARE}; "
        f"{platform.machine()}, Python {platform.python_version()}"
    )
    assert statistics.median(ratios) <= MOST_SHARE


def test_any_help_is_there_in_a_tenth_of_a_second() -> None:
    commands = [["caffe_compat"], *(["caffe_compat", verb] for verb in VERBS), ["caffe_compat.solve"]]
    medians = {}
    for words in commands:
        medians[" ".join(words)] = statistics.median(user_seconds([*words, "--help"])[0] for _ in range(ROUNDS))
    slowest = max(medians, key=lambda name: medians[name])
    middle = statistics.median(medians.values())
    print(f"\n--help: {middle:.3f} user s, at most {medians[slowest]:.3f} ({slowest}), wanted {MOST_HELP}")
    assert medians[slowest] <= MOST_HELP
