"""Rewrite a trained net exactly: its dense layers, its classifier, what it takes in; the two nets are compared.

caffe-compat surgery NET WEIGHTS --fully-convolutional
caffe-compat surgery NET WEIGHTS --swap-channels --fold-mean 104,117,123 --fold-scale 0.017
caffe-compat surgery NET WEIGHTS --classifier fc8=20

NET is a deploy net. What is asked for is done in the order of the options below. Both nets are run on inputs that
correspond, and all blobs that both have are compared; nothing is written where one is off. Writes NET.surgery.prototxt
and NET.surgery.caffemodel. With --certificate PATH, `caffe-compat verify NET.surgery.prototxt NET.surgery.caffemodel
--original NET --original-weights WEIGHTS --certificate PATH` does it again and holds the files to it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.advice import deploy_advised
from caffe_compat.commands.numbers import real_number, whole_number
from caffe_compat.commands.options import add_allow_missing, add_input, with_fillers
from caffe_compat.commands.targets import add_force_overwrite, check_targets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="the deploy net's prototxt")
    parser.add_argument("weights", metavar="WEIGHTS", help="its .caffemodel or .caffemodel.h5")
    parser.add_argument("--blob", default="", help="the input that is meant (default: the first)")
    parser.add_argument(
        "--swap-channels",
        nargs="?",
        const=(2, 1, 0),
        type=_numbers(whole_number(0)),
        metavar="ORDER",
        help="take channels in another order, by default 2,1,0: RGB for BGR",
    )
    parser.add_argument(
        "--join-channels", nargs="?", const=3, type=whole_number(1), metavar="N", help="take one grey channel for N (3)"
    )
    parser.add_argument(
        "--fold-mean", type=_numbers(real_number()), metavar="M,M,M", help="take values less this mean no more"
    )
    parser.add_argument("--fold-scale", type=real_number(), metavar="F", help="take values times this scale no more")
    parser.add_argument(
        "--fully-convolutional", action="store_true", help="make fully connected layers convolutions, NAME-conv"
    )
    parser.add_argument(
        "--fully-connected", action="store_true", help="make convolutions over their whole bottom fully connected"
    )
    parser.add_argument(
        "--input-size", type=_numbers(whole_number(1)), metavar="H,W", help="declare another height and width"
    )
    parser.add_argument(
        "--classifier", metavar="LAYER=N", help="give a layer N outputs and no weights, under the name LAYER_N"
    )
    parser.add_argument("--out", metavar="PREFIX", help="write PREFIX.prototxt and PREFIX.caffemodel")
    parser.add_argument("--certificate", metavar="PATH", help="write what was done and compared as JSON")
    add_input(parser)
    add_allow_missing(parser)
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    with deploy_advised(arguments.net, arguments.weights, "rewrite"):
        return operate(arguments)


def operate(arguments: argparse.Namespace) -> int:
    """Do what the options ask for, compare, and write it; the exit status."""
    original = cc.read_model(arguments.net, arguments.weights)
    cc.refuse_missing(original, arguments.allow_missing, "TEST")
    original = with_fillers(original, arguments.allow_missing, input_shapes=dict(arguments.input))
    prefix = (arguments.out or f"{arguments.net.removesuffix('.prototxt')}.surgery").removesuffix(".prototxt")
    net, weights = Path(f"{prefix}.prototxt"), Path(f"{prefix}.caffemodel")
    targets = [net, weights, arguments.certificate]
    check_targets(targets, [arguments.net, arguments.weights], arguments.force_overwrite)
    operations: list[cc.Operation] = []
    for operation_on in asked_for(arguments):
        operations.append(operation_on(operations[-1].model if operations else original))
    if not operations:
        raise cc.GraphError("nothing to do; --help lists what can be done")
    shapes = {} if any(operation.incomparable for operation in operations) else dict(arguments.input)
    certificate = cc.certify_surgery(original, operations, shapes, Path(arguments.net).parent)
    with cc.all_or_none():
        cc.write_model(operations[-1].model, net, weights)
        if arguments.certificate:
            certificate.write(arguments.certificate)
    for operation in operations:
        print(operation.what)
    if certificate.blobs:
        print(f"{len(certificate.blobs)} blobs compared, off by {max(certificate.blobs.values()):.2g} at most")
    for blob, pixels in original.pixels.items():
        if pixels.changes and blob not in operations[-1].model.pixels:
            lost = f"that '{blob}' takes {pixels} holds no more in these terms, and is left out of {net}"
            print(f"{lost}; prepare the images as before, then as the lines above say", file=sys.stderr)
    print(f"Saved as {net}\nSaved as {weights}")
    return 0


def asked_for(arguments: argparse.Namespace) -> list[Callable[[cc.Model], cc.Operation]]:
    """The operations that the options name, in order."""
    blob, shapes = arguments.blob, dict(arguments.input)
    found: list[Callable[[cc.Model], cc.Operation]] = []
    if arguments.swap_channels is not None:
        found.append(lambda model: cc.swap_channels(model, arguments.swap_channels, blob))
    if arguments.join_channels is not None:
        found.append(lambda model: cc.join_channels(model, arguments.join_channels, blob))
    if arguments.fold_mean is not None or arguments.fold_scale is not None:
        scale = 1.0 if arguments.fold_scale is None else arguments.fold_scale
        found.append(lambda model: cc.fold_scaling(model, arguments.fold_mean or (0.0,), scale, blob))
    if arguments.fully_convolutional:
        found.append(lambda model: cc.fully_convolutional(model, shapes))
    if arguments.fully_connected:
        found.append(lambda model: cc.fully_connected(model, shapes))
    if arguments.input_size is not None:
        found.append(lambda model: cc.resize_input(model, arguments.input_size, blob))
    if arguments.classifier is not None:
        layer, _, count = arguments.classifier.rpartition("=")
        if not layer or not (count.isascii() and count.isdigit()):
            raise cc.GraphError(f"--classifier {arguments.classifier}: wanted LAYER=N, for example fc8=20")
        found.append(lambda model: cc.resize_classifier(model, layer, int(count)))
    return found


def _numbers(one: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """A reader of numbers between commas, each of which `one` reads."""

    def read(text: str) -> tuple[float, ...]:
        return tuple(one(part) for part in text.split(","))

    return read
