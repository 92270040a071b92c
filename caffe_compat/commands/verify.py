"""Check a decomposed net against the net it came from, from the written files alone; prints a certificate in JSON.

Every layer of the original that is gone must be there as a chain. For each the certificate gives its rank and how far
its weights are from the original's; for every blob that both nets have, how far its values are on the same random
inputs; and where OpenCV is installed, for every blob of the decomposed net how far OpenCV's values are from ours.
--with runs the written files in other runtimes too, each in a process of its own. With --certificate the net is one
that `prune` or `surgery` made: its certificate is made anew, and NET and WEIGHTS must be what it says.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.numbers import real_number
from caffe_compat.commands.options import add_input
from caffe_compat.commands.prune_filters import certificate_of
from caffe_compat.commands.runtimes import add_opencv, add_with, check_with_option, run_with
from caffe_compat.commands.targets import add_force_overwrite, check_targets

OPENCV_TOLERANCE = 1e-4  # of a blob's largest value; both sum in float32, in other orders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="prototxt of the decomposed net")
    parser.add_argument("weights", metavar="WEIGHTS", help="its weights")
    parser.add_argument("--original", metavar="NET", required=True, help="prototxt of the net it came from")
    parser.add_argument("--original-weights", metavar="WEIGHTS", required=True, help="its weights")
    parser.add_argument(
        "--max-error", type=real_number(0), metavar="F", help="fail where a layer's relative error is above F"
    )
    parser.add_argument("--out", metavar="PATH", help="write the certificate here instead")
    parser.add_argument(
        "--certificate",
        metavar="PATH",
        help="what `prune` or `surgery` wrote of a net of theirs, made anew and checked",
    )
    add_with(parser, "the decomposed net")
    add_opencv(parser)
    add_input(parser)
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    read = [arguments.net, arguments.weights, arguments.original, arguments.original_weights]
    check_targets([arguments.out], read, arguments.force_overwrite)
    check_with_option(arguments.runtimes, "caffe")
    original = cc.read_model(arguments.original, arguments.original_weights)
    decomposed = cc.read_model(arguments.net, arguments.weights)
    folder = Path(arguments.original).parent
    if arguments.certificate and cc.read_surgery(arguments.certificate):
        again = cc.verify_surgery(original, decomposed, arguments.certificate, dict(arguments.input), folder)
        return given(with_runtimes(again, decomposed, arguments), arguments)
    if arguments.certificate:
        return verify_pruned(arguments, original, decomposed, folder)
    certificate = certify(original, decomposed, dict(arguments.input), asked_opencv(arguments), folder)
    certificate = with_runtimes(certificate, decomposed, arguments)
    given(certificate, arguments)
    for blob, off in certificate.blobs.items():
        if math.isnan(off):
            raise cc.WeightsError(
                f"{arguments.net}: blob '{blob}' has values that are not numbers, so nothing is shown of it; "
                f"caffe-compat check tells which weights are not finite"
            )
    if isinstance(certificate.opencv, dict):
        for blob, error in certificate.opencv.items():
            if not error <= OPENCV_TOLERANCE:
                raise cc.GraphError(
                    f"{arguments.net}: OpenCV's blob '{blob}' is off by {error:.3g} of its largest value"
                )
    worst = max(certificate.layers, key=lambda name: certificate.layers[name].relative_error, default=None)
    if worst is not None and arguments.max_error is not None:
        error = certificate.layers[worst].relative_error
        if error > arguments.max_error:
            raise cc.RankError(f"layer '{worst}': relative error {error:.4g} is above {arguments.max_error:g}")
    return 0


def given(certificate: cc.Certificate, arguments: argparse.Namespace) -> int:
    """Write the certificate where --out says, or print it; 0."""
    if arguments.out:
        certificate.write(arguments.out)
    else:
        print(certificate)
    return 0


def verify_pruned(arguments: argparse.Namespace, original: cc.Model, pruned: cc.Model, folder: Path) -> int:
    """Make the certificate of a pruned net anew from the files; RankError where its weights are not the original's."""
    certificate = certificate_of(original, pruned, arguments.certificate, dict(arguments.input), folder)
    asked, shapes = asked_opencv(arguments), dict(arguments.input)
    certificate = with_opencv(certificate, pruned, shapes, asked, Path(arguments.net).parent)
    certificate = with_runtimes(certificate, pruned, arguments)
    given(certificate, arguments)
    worst = max(certificate.layers, key=lambda name: certificate.layers[name].weights, default=None)
    limit = 1e-5 if arguments.max_error is None else arguments.max_error
    if worst is not None and certificate.layers[worst].weights > limit:
        error = certificate.layers[worst].weights
        raise cc.RankError(f"layer '{worst}': weights are {error:.4g} from what the original's filters leave")
    return 0


def asked_opencv(arguments: argparse.Namespace) -> bool | None:
    """Whether every blob must be compared with OpenCV's, must not, or is where that can be."""
    asked = any(name.partition(":")[0] == "opencv" for name in arguments.runtimes)
    reads_onnx = any(name == "opencv:onnx" for name in arguments.runtimes)
    return False if arguments.no_opencv else None if reads_onnx or not asked else True


def with_runtimes(certificate: cc.Certificate, model: cc.Model, arguments: argparse.Namespace) -> cc.Certificate:
    """The certificate with what the runtimes of --with give for the written files."""
    if not arguments.runtimes:
        return certificate
    reads_files = (
        arguments.weights.endswith(".caffemodel") and not arguments.input and not cc.is_for_training(model.net)
    )
    files = {"caffe": (arguments.net, arguments.weights)} if reads_files else {}
    folder = Path(arguments.net).parent
    found = run_with(model, arguments.runtimes, "caffe", files, dict(arguments.input), arguments.net, folder)
    return replace(certificate, runtimes=found)


def certify(
    original: cc.Model,
    decomposed: cc.Model,
    shapes: Mapping[str, tuple[int, ...]],
    opencv: bool | None,
    folder: Path | None = None,
) -> cc.Certificate:
    """The certificate, with OpenCV's numbers unless `opencv` is False; where it is None, or why there are none."""
    return with_opencv(cc.certify(original, decomposed, shapes or None, folder), decomposed, shapes, opencv, folder)


def with_opencv(
    certificate: cc.Certificate,
    decomposed: cc.Model,
    shapes: Mapping[str, tuple[int, ...]],
    opencv: bool | None,
    folder: Path | None,
) -> cc.Certificate:
    """The certificate with what OpenCV gives, or why it does not; as it is where `opencv` is False."""
    if opencv is False:
        return certificate
    try:
        return replace(certificate, opencv=cc.check_opencv(decomposed, shapes or None, folder))
    except cc.CaffeCompatError as error:
        if opencv:
            raise
        return replace(certificate, opencv=str(error))
