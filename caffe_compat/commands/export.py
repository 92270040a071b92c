"""Write a net as ONNX, and check with onnxruntime that the file gives the net's own numbers.

caffe-compat export NET WEIGHTS --out net.onnx

NET is a deploy net; `caffe-compat deploy` makes one of a net for training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.options import add_compat, input_shape
from caffe_compat.commands.terminal import glog_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", metavar="WEIGHTS", help="its .caffemodel or .caffemodel.h5")
    parser.add_argument("--out", metavar="PATH", help="default: WEIGHTS with .onnx for its suffix")
    parser.add_argument("--dynamic-batch", action="store_true", help="let inputs have any number of items")
    parser.add_argument("--no-check", action="store_true", help="do not run the file with onnxruntime")
    parser.add_argument("--force-overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument(
        "--input",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of an input, e.g. data=1,3,227,227, in place of the net's; may be repeated",
    )
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.out or f"{arguments.weights.removesuffix('.h5').removesuffix('.caffemodel')}.onnx")
    if path.exists() and not arguments.force_overwrite:
        raise cc.WriteError(f"{path}: exists and is kept; give --force-overwrite to replace it, or another --out")
    with glog_lines():
        model = cc.read_model(arguments.net, arguments.weights)
        cc.write_onnx(model, path, dict(arguments.input), arguments.dynamic_batch, arguments.compat)
        errors = {} if arguments.no_check else cc.check_onnx(path, model, compat=arguments.compat)
    for name, error in errors.items():
        print(f"{name}: off by {error:.2g} of its largest value")
    print(f"Saved as {path}")
    return 0
