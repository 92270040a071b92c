"""Parts of the campaign as tests run them: in a process of their own, for a fork of pytest's, which has had threads,
may wait for a lock that nobody holds any more.
"""

import subprocess
import sys

from tests.conftest import ROOT

LONGEST = 570  # seconds


def run_apart(part: str, *words: str) -> str:
    """What `python -m tests.faults.PART WORDS` prints; an error where it fails or takes too long."""
    command = [sys.executable, "-m", f"tests.faults.{part}", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
