"""Rewrite weights or a solver's state from Caffe's binary form into HDF5, or back; weights into safetensors too.

  caffe-compat convert net.caffemodel net.caffemodel.h5
  caffe-compat convert net.caffemodel.h5 net.caffemodel --net train_val.prototxt
  caffe-compat convert googlenet.caffemodel googlenet.caffemodel.h5 --rename-slash _ --net-out googlenet.prototxt
  caffe-compat convert googlenet.caffemodel.h5 back.caffemodel --rename-slash _ --net train_val.prototxt
  caffe-compat convert lenet_iter_500.solverstate lenet_iter_500.solverstate.h5
  caffe-compat convert half.caffemodel float.caffemodel --plain    # what any Caffe reads, of NVIDIA's half precision

  caffe-compat convert net.caffemodel net.safetensors              # and back: the file keeps the net in its metadata

What IN is shows by its content; OUT is HDF5 where it ends in .h5, safetensors where it ends so. HDF5 has a group for
each layer: names with '/' do not fit, nor do two layers of one name. --rename-slash and --rename-duplicates change
them, and --net-out writes the net that has the names of OUT.
"""

from __future__ import annotations

import argparse
from contextlib import suppress

import caffe_compat as cc
from caffe_compat.commands.targets import add_force_overwrite, check_targets
from caffe_compat.commands.terminal import glog_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="weights (.caffemodel, .h5, .safetensors) or a solver's state")
    parser.add_argument("target", metavar="OUT", help="the file to write; its form by its ending")
    parser.add_argument("--net", metavar="NET", help="the net that the weights belong to: a prototxt or caffemodel")
    parser.add_argument("--net-out", metavar="NET", help="write the net with the layer names of OUT, as prototxt")
    parser.add_argument("--rename-slash", metavar="SIGN", help="what stands for '/' in layer names in HDF5, such as _")
    parser.add_argument("--rename-duplicates", action="store_true", help="call the second layer 'a' 'a_2'")
    parser.add_argument("--plain", action="store_true", help="float32 without diffs, whatever IN has")
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.rename_slash is not None and "/" in arguments.rename_slash:
        raise cc.WeightsError(f"--rename-slash {arguments.rename_slash}: must itself be without '/'; take _")
    read, written = [arguments.source, arguments.net], [arguments.target, arguments.net_out]
    check_targets(written, read, arguments.force_overwrite)
    if is_state(arguments.source, arguments.target):
        cc.convert_state(arguments.source, arguments.target)
        print(f"{arguments.target}: solver's state")
        return 0
    with glog_lines(), cc.all_or_none():
        model = cc.convert_weights(
            arguments.source,
            arguments.target,
            net=arguments.net,
            slash=arguments.rename_slash,
            rename_duplicates=arguments.rename_duplicates,
            plain=arguments.plain,
        )
        if arguments.net_out:
            cc.write_model(model, arguments.net_out)
    print(f"{arguments.target}: weights of {len(model.weights)} layers")
    if arguments.net_out:
        print(f"{arguments.net_out}: net")
    return 0


def is_state(source: str, target: str) -> bool:
    """Whether a solver's state is wanted, or is what there is."""
    if target.endswith((".solverstate", ".solverstate.h5")):
        return True
    with suppress(cc.ParseError):
        return cc.is_binary(source) and cc.outline(source).kind.startswith("solverstate")
    return False
