"""A few hundred damaged files for every reader, those that once broke one, and the command that tries any number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz.readers import KINDS, allowed

DAMAGED = sorted(path for path in Path(__file__).with_name("damaged").rglob("*") if path.is_file())
COUNT = 1400


def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.fuzz.readers", "0", str(COUNT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert ": no faults" in done.stdout
    tallied = {line.split()[0] for line in done.stdout.splitlines() if " read or refused" in line}
    assert set(KINDS) <= tallied


@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_file_that_once_broke_a_reader_is_read_or_refused(path: Path) -> None:
    reader = path.parent.name
    try:
        KINDS[reader].read(path.read_bytes())
    except Exception as error:
        if not allowed(reader, error):
            raise
