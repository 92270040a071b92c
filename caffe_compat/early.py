"""Ctrl-C before a command has begun: the process ends without a word, as early as a package can see to that.

Imported first of all, for its effect where this package is the program that runs. Python's own start comes before it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without the enums that take long to make
import sys


def _is_program() -> bool:
    """Whether `caffe-compat`, or Python's -m with a module of this package, is what was started."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":  # until the module is found
        return any(word.removeprefix("-m").partition(".")[0] == "caffe_compat" for word in sys.orig_argv)
    return name.endswith(("caffe-compat", "caffe-compat.exe"))


IS_PROGRAM = _is_program()  # told now, for Python names the module in argv once it has found it
if IS_PROGRAM and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
