"""Check a decomposed net against the net it came from, from the written files alone; prints a certificate in JSON.

Every layer that is gone must be there as a chain. For each the certificate gives its rank and how far its weights are
from the original's; and for every blob that both nets have, how far its values are on the same random inputs.
"""

from __future__ import annotations

import argparse

import caffe_compat as cc
from caffe_compat.commands.options import add_input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="NET", help="prototxt of the decomposed net")
    parser.add_argument("weights", metavar="WEIGHTS", help="its weights")
    parser.add_argument("--original", metavar="NET", required=True, help="prototxt of the net it came from")
    parser.add_argument("--original-weights", metavar="WEIGHTS", required=True, help="its weights")
    parser.add_argument("--max-error", type=float, metavar="F", help="fail where a layer's relative error is above F")
    parser.add_argument("--out", metavar="PATH", help="write the certificate here instead")
    add_input(parser)


def run(arguments: argparse.Namespace) -> int:
    original = cc.read_model(arguments.original, arguments.original_weights)
    decomposed = cc.read_model(arguments.net, arguments.weights)
    certificate = cc.certify(original, decomposed, dict(arguments.input) or None)
    if arguments.out:
        certificate.write(arguments.out)
    else:
        print(certificate)
    worst = max(certificate.layers, key=lambda name: certificate.layers[name].relative_error, default=None)
    if worst is not None and arguments.max_error is not None:
        error = certificate.layers[worst].relative_error
        if error > arguments.max_error:
            raise cc.RankError(f"layer '{worst}': relative error {error:.4g} is above {arguments.max_error:g}")
    return 0
