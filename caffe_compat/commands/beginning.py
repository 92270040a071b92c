"""Verbs that only read nets, run without torch where that does, and else begun anew with it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import NoReturn

from caffe_compat import has_plugins
from caffe_compat.early import IS_PROGRAM
from caffe_compat.without_torch import TorchNeeded, standing_in

Run = Callable[[argparse.Namespace], int]
WITH_TORCH = "CAFFE_COMPAT_WITH_TORCH"  # an environment variable: set, verbs that read nets import torch at once too


def without_torch_if_it_does(run: Run) -> Run:
    """`run` of a verb, without torch; where it needs that after all, the process begins anew with it.

    Nothing is printed before `run` has ended.
    """
    if not can_do_without():
        return run

    def lighter(arguments: argparse.Namespace) -> int:
        out, err = io.StringIO(), io.StringIO()
        try:
            with standing_in(), redirect_stdout(out), redirect_stderr(err):
                return run(arguments)
        except TorchNeeded:
            out, err = io.StringIO(), io.StringIO()
            _begin_anew()
        finally:
            sys.stderr.write(err.getvalue())
            sys.stdout.write(out.getvalue())

    return lighter


def can_do_without() -> bool:
    """Whether this process may do without torch: it is the program, and nothing else is in it."""
    return IS_PROGRAM and "torch" not in sys.modules and not os.environ.get(WITH_TORCH) and not has_plugins()


def _begin_anew() -> NoReturn:
    os.environ[WITH_TORCH] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
