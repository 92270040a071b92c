"""What watches over the tests: no process of theirs is left running."""

import subprocess
import sys
import time

from tests.conftest import left_running


def test_a_process_that_outlives_its_parent_is_found():
    sleeper = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL).pid, flush=True)"
    started = subprocess.run([sys.executable, "-c", sleeper], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    number = int(started.stdout)
    assert left_running()[number] == "sleep 60"
    subprocess.run(["kill", "-9", str(number)], check=True, timeout=60)
    ends = time.monotonic() + 30  # for the signal is sent, and taken a moment later
    while number in left_running() and time.monotonic() < ends:
        time.sleep(0.01)
    assert number not in left_running()
