"""--in-place: whose values hold where layers in place overwrite what others still read."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import caffe_compat as cc


def add_in_place(parser: argparse.ArgumentParser) -> None:
    """--in-place, which holds for every net that the verb builds."""
    parser.add_argument(
        "--in-place",
        choices=("caffe", "right"),
        help="where layers in place overwrite what is still read: Caffe's values (default), or those of the prototxt",
    )


def run_in_place(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """The exit status of a verb, all of whose nets are built as --in-place says."""
    if getattr(arguments, "in_place", None) in (None, "caffe"):
        return run(arguments)
    with cc.default_in_place(arguments.in_place):
        return run(arguments)
