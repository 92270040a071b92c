"""Run a Python script that imports caffe: its pycaffe is caffe_compat.pycaffe, nothing in it needs to change.

    caffe-compat python SCRIPT ARGS        caffe-compat python -m MODULE ARGS

With --install, `import caffe` works in every run of this environment from then on; --uninstall takes that back.
"""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress

import caffe_compat as cc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--install", action="store_true", help="make `import caffe` work in this environment")
    chosen.add_argument("--uninstall", action="store_true", help="take that back")
    parser.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT ARGS", help="the script and its arguments")


def run(arguments: argparse.Namespace) -> int:
    if arguments.install:
        print(f"{cc.install_caffe()}: written; `import caffe` is caffe_compat.pycaffe in this environment")
        return 0
    if arguments.uninstall:
        print(f"{cc.uninstall_caffe()}: removed; `import caffe` is as before")
        return 0
    words = arguments.script[1:]  # behind the bare --
    if not words:
        raise cc.CaffeCompatError("python: name a script to run, or --install; see caffe-compat python --help")
    with suppress(ValueError):  # of another thread than the main one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as every script finds it
    return cc.run_as_caffe(words)
