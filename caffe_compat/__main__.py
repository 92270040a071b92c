"""python -m caffe_compat VERB: the same as the command `caffe-compat VERB`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status. Before and after the command, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from caffe_compat.commands import main as run

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
