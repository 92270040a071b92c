"""Write a net as ONNX, as a program of torch.export or as PyTorch source, and check that it gives the same numbers.

caffe-compat export NET WEIGHTS --out net.onnx
caffe-compat export NET WEIGHTS --out net.pt2
caffe-compat export NET WEIGHTS --format torch --out DIR
caffe-compat export NET WEIGHTS --output BLOB,... --out net.onnx

The first is checked with onnxruntime, and with --with by other runtimes; the second is for torch.export.load. The third
makes a folder with a model.py of torch.nn alone, its weights, and a verify.py that compares every blob. NET is a deploy
net; `caffe-compat deploy` makes one of a net for training.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.advice import deploy_advised
from caffe_compat.commands.costs import add_json, print_json
from caffe_compat.commands.numbers import input_shape
from caffe_compat.commands.options import add_allow_missing, add_compat, comma_list, say_pixels, with_fillers
from caffe_compat.commands.runtimes import add_for, add_with, check_with_option, for_road, run_with
from caffe_compat.commands.targets import add_force_overwrite, check_folder, check_targets
from caffe_compat.commands.terminal import glog_lines

FORMATS = {  # suffix, and the names in caffe_compat that write and check
    "onnx": (".onnx", "write_onnx", "check_onnx"),
    "pt2": (".pt2", "write_exported_program", "check_exported_program"),
    "torch": (".torch", "write_torch_source", ""),
}
KEPT = {"onnx": "kept as metadata", "pt2": "kept in its pixels.json", "torch": "which model.py does not do"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", metavar="WEIGHTS", help="its .caffemodel or .caffemodel.h5")
    parser.add_argument("--out", metavar="PATH", help="default: WEIGHTS with .onnx, or .pt2, for its suffix")
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: pt2 for a PATH in .pt2, else onnx")
    parser.add_argument("--dynamic-batch", action="store_true", help="let inputs have any number of items")
    parser.add_argument(
        "--output",
        type=comma_list,
        action="extend",
        default=[],
        metavar="BLOB,...",
        help="end at these blobs, e.g. before a DetectionOutput, in place of the net's outputs",
    )
    parser.add_argument("--no-check", action="store_true", help="do not run the file")
    add_with(parser, "the ONNX file")
    add_for(parser, "write layers in a form that this runtime computes right, or refuse by name")
    add_force_overwrite(parser)
    parser.add_argument(
        "--input",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of an input, e.g. data=1,3,227,227, in place of the net's; may be repeated",
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="put mean and scale into the net, which the prototxt of `deploy` keeps as a comment",
    )
    add_allow_missing(parser)
    add_json(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    form = arguments.format or "onnx"
    if str(arguments.out).endswith(".pt2") and arguments.format in (None, "torch"):
        form = "pt2"
    if form != "onnx" and (arguments.runtimes or arguments.road):
        option = "--with" if arguments.runtimes else "--for"
        raise cc.SolverError(f"{option}: other runtimes read ONNX, not {form}; give --format onnx")
    check_with_option(arguments.runtimes, "onnx")
    suffix, write, check = FORMATS[form]
    path = Path(arguments.out or f"{arguments.weights.removesuffix('.h5').removesuffix('.caffemodel')}{suffix}")
    if form == "torch":
        check_folder(path, arguments.force_overwrite)
    else:
        check_targets([path], [arguments.net, arguments.weights], arguments.force_overwrite)
    with glog_lines(), deploy_advised(arguments.net, arguments.weights, "export", (cc.DataError, cc.GraphError)):
        model = cc.read_model(arguments.net, arguments.weights)
        cc.refuse_missing(model, arguments.allow_missing, "TEST")
        if arguments.with_preprocessing:
            model = cc.with_preprocessing(model, Path(arguments.net).parent)
        say_pixels(model, KEPT[form])
        model = with_fillers(model, arguments.allow_missing, input_shapes=dict(arguments.input))
        if arguments.road:
            model = cc.ending_at(model, arguments.output)
        model = for_road(model, arguments.road, "onnx", dict(arguments.input), Path(arguments.net).parent)
        if form == "torch":
            errors = cc.write_torch_source(
                model, path, dict(arguments.input), compat=arguments.compat, check=not arguments.no_check,
                outputs=arguments.output,
            )  # fmt: skip
            return told(errors, path, arguments)
        with cc.write_atomically(path) as temporary:  # what fails its check must not stay
            options = (dict(arguments.input), arguments.dynamic_batch, arguments.compat, arguments.output)
            getattr(cc, write)(model, temporary, *options)
            errors = {} if arguments.no_check else checked(getattr(cc, check), path, temporary, model, arguments.compat)
            files, shapes = {"onnx": (temporary,)}, dict(arguments.input)
            others = run_with(model, arguments.runtimes, "onnx", files, shapes, str(path), compat=arguments.compat)
    return told(errors, path, arguments, others)


def told(
    errors: Mapping[str, float],
    path: Path,
    arguments: argparse.Namespace,
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> int:
    """Print how far outputs are off, in the `others`, other runtimes, too, and where the file is; the exit status."""
    if arguments.json:
        print_json({"errors": errors, "others": others or {}, "checked": not arguments.no_check, "saved": path})
        return 0
    for name, found in (others or {}).items():
        print(f"{name}: off by {max(found.values(), default=0.0):.2g} of the largest value at most")
    for name, error in errors.items():
        print(f"{name}: off by {error:.2g} of its largest value")
    print(f"Saved as {path}{', not checked' * arguments.no_check}")
    return 0


def checked(check: Any, path: Path, temporary: Path, model: cc.Model, compat: str) -> dict[str, float]:
    """How far the outputs of the file `temporary` are off, which is to become `path`; an error names that."""
    try:
        errors: dict[str, float] = check(temporary, model, compat=compat)
        return errors
    except cc.CaffeCompatError as error:
        message = str(error).replace(str(temporary), str(path))
        raise type(error)(f"{message}; the file is not written, --no-check writes it unchecked") from error
