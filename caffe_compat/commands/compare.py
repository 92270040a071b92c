"""Compare two nets blob by blob on the same inputs, or a net with a dump; say where they begin to differ.

  caffe-compat compare a.prototxt b.prototxt --weights a.caffemodel --other-weights b.caffemodel
  caffe-compat compare a.caffemodel b.caffemodel           # the weights, blob by blob; states, means and dumps likewise
  caffe-compat compare deploy.prototxt --weights net.caffemodel --dump blobs.npz          # make a dump
  caffe-compat compare deploy.prototxt blobs.npz --weights net.caffemodel                 # compare with it

A dump is an .npz file of arrays by blob name, such as `np.savez(f, **{k: b.data for k, b in net.blobs.items()})` of
pycaffe. Inputs come from --inputs, from the dump, or are drawn from --seed. The exit status is 0 where all blobs are
within the tolerance, and 1 where one is not.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import compare_weights
from caffe_compat.commands.numbers import input_shape, real_number, whole_number
from caffe_compat.commands.options import add_compat, add_weights, comma_list
from caffe_compat.commands.targets import add_force_overwrite, check_targets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="A", help="prototxt of a net, or a file of weights or arrays")
    parser.add_argument("other", nargs="?", metavar="B", help="another such, or a dump of a net's blobs (.npz)")
    add_weights(parser)
    parser.add_argument("--other-weights", type=comma_list, default=(), metavar="A,B", help="of B; default those of A")
    parser.add_argument("--inputs", metavar="NPZ", help="arrays by input name; else from the dump, else random")
    parser.add_argument(
        "--tolerance", type=real_number(0), default=1e-4, metavar="F", help="of a blob's largest value; 1e-4"
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="for random inputs and dropout, default 0",
    )
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="default TEST")
    parser.add_argument(
        "--input", type=input_shape, action="append", default=[], metavar="BLOB=SHAPE", help="shape of an input"
    )
    parser.add_argument("--dump", metavar="NPZ", help="write all blobs of A here")
    add_force_overwrite(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.other and not arguments.dump:
        raise cc.SolverError("compare: name a second net or a dump, or write one with --dump FILE")
    read = [arguments.net, arguments.other, arguments.inputs, *arguments.weights, *arguments.other_weights]
    check_targets([arguments.dump], read, arguments.force_overwrite)
    if are_weights(arguments):
        return compare_weights.compare(arguments.net, arguments.other, arguments.tolerance, arguments.json)
    is_dump = bool(arguments.other) and arguments.other.endswith(".npz")
    try:
        models, nets = build(arguments, is_dump)
    except cc.CaffeCompatError as error:
        if way := net_beside_weights(arguments):
            raise cc.SolverError(f"{error}{way}") from error
        raise
    if len(nets) == 2:
        share_untrained(nets[0], nets[1], bool(models[1].weights))
    inputs = read_arrays(arguments.inputs) if arguments.inputs else {}
    if arguments.dump:
        write_dump(nets[0], inputs, arguments)
    if not arguments.other:
        return 0
    other = read_arrays(arguments.other) if is_dump else nets[1]
    found = cc.compare_blobs(nets[0], other, inputs, arguments.tolerance, arguments.seed)
    print(found.to_json() if arguments.json else found)
    return 0 if found.first_divergence is None else 1


def build(arguments: argparse.Namespace, is_dump: bool) -> tuple[list[cc.Model], list[cc.Net]]:
    """The models of A, and of B where it is no dump, and their nets."""
    models = [cc.read_model(arguments.net, arguments.weights or None)]
    if arguments.other and not is_dump:
        models.append(cc.read_model(arguments.other, arguments.other_weights or arguments.weights or None))
    folders = [Path(path).parent for path in (arguments.net, arguments.other)[: len(models)]]
    shapes = cc.common_shapes(models, arguments.phase, dict(arguments.input), folders=folders)
    nets = [
        cc.Net(model, arguments.phase, compat=arguments.compat, input_shapes=each, folder=folder)
        for model, each, folder in zip(models, shapes, folders, strict=True)
    ]
    return models, nets


def net_beside_weights(arguments: argparse.Namespace) -> str:
    """What to say where one of the two is a prototxt and the other a file of weights, and no weights are named."""
    pair = (arguments.net, arguments.other)
    if not arguments.other or arguments.weights or arguments.other_weights or arguments.other.endswith(".npz"):
        return ""
    if cc.is_binary(pair[0]) == cc.is_binary(pair[1]):
        return ""
    return "; compare takes two nets (--weights and --other-weights are theirs), or two files of weights"


def share_untrained(net: cc.Net, other: cc.Net, has_weights: bool) -> None:
    """Give `other` the blobs of `net` where it has no weights of its own: random ones must not make them differ."""
    weights = net.weights()
    if has_weights:
        names = {*net.load_report.missing} & {*other.load_report.missing}
        shapes = {name: [blob.shape for blob in blobs] for name, blobs in other.params.items()}
        weights = {name: weights[name] for name in names if [blob.shape for blob in weights[name]] == shapes[name]}
    other.load_weights(weights)  # without any weights: random ones, or those in the first net itself


def are_weights(arguments: argparse.Namespace) -> bool:
    """Whether two files of weights or arrays are given, and nothing that asks for nets in them to run."""
    running = (arguments.weights, arguments.other_weights, arguments.inputs, arguments.input, arguments.dump)
    return (
        bool(arguments.other)
        and not any(running)
        and all(cc.is_binary(path) for path in (arguments.net, arguments.other))
    )


def read_arrays(path: str) -> dict[str, Any]:
    """The arrays of an .npz file; DataError where it is none."""
    return cc.read_npz(path)


def write_dump(net: cc.Net, inputs: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Write all blobs of `net` as arrays by name, its inputs too."""
    import numpy as np

    blobs = cc.run_blobs(net, cc.complete_inputs(net, inputs, arguments.seed), arguments.seed)
    with cc.write_atomically(arguments.dump) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, blob in blobs.items():  # np.savez takes no blob of the name 'file'
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, blob, allow_pickle=False)
