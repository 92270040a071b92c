"""Ctrl-C before a command has begun: the process ends without a word, as early as a package can see to that.

And `python -m caffe_compat.VERB`: which module is a program can be told before Python looks for the others.

Imported first of all, for its effect where this package is the program that runs. Python's own start comes before it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without the enums that take long to make
import sys

PROGRAMS = ("", "__main__", "solve", "pycaffe", "pycaffe.__main__")  # what Python's -m runs below this package


def _module() -> str:
    """What Python's -m was given, while it looks for it; "" for what is not of this package."""
    if getattr(sys, "argv", [""])[:1] != ["-m"]:
        return ""
    words = (word.removeprefix("-m") for word in sys.orig_argv[1:])
    return next((word for word in words if word.partition(".")[0] == "caffe_compat"), "")


def _is_program() -> bool:
    """Whether `caffe-compat`, or Python's -m with a module of this package, is what was started."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":  # until the module is found
        return bool(_module())
    return name.endswith(("caffe-compat", "caffe-compat.exe"))


IS_PROGRAM = _is_program()  # told now, for Python names the module in argv once it has found it
if IS_PROGRAM and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

if (part := _module().partition(".")[2]) not in PROGRAMS:
    verb = part.rpartition(".")[2]
    print(f"caffe-compat: caffe_compat.{part} is no program; give python -m caffe_compat {verb} ...", file=sys.stderr)
    sys.exit(2)
