"""data extract: what a trained net computes as databases, as Caffe's extract_features, or as arrays (.npy)."""

from __future__ import annotations

import argparse
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.targets import add_force_overwrite, check_targets, new_databases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS", help="trained weights: .caffemodel or .caffemodel.h5")
    parser.add_argument("net", metavar="NET", help="the net's prototxt, with the data layer that feeds it")
    parser.add_argument("blobs", metavar="BLOB1,BLOB2", help="the blobs to extract")
    parser.add_argument("databases", metavar="OUT1,OUT2", help="the database or .npy file to make of each")
    parser.add_argument("batches", type=whole_number(), metavar="N", help="batches to run")
    parser.add_argument("backend", choices=("lmdb", "leveldb", "npy"), metavar="DB_TYPE", help="lmdb, leveldb or npy")
    parser.add_argument("mode", nargs="?", choices=("CPU", "GPU"), default="CPU", help="where to compute, default CPU")
    parser.add_argument("device_id", nargs="?", default="0", metavar="DEVICE_ID", help="number of the GPU, default 0")
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    from caffe_compat.commands.options import comma_list, deployed_inputs, gpu_device, load

    device = gpu_device((arguments.device_id,) if arguments.mode == "GPU" else ()) or "cpu"
    cc.refuse_exchanged(arguments.net, comma_list(arguments.weights))
    net = cc.Net(cc.read_model(arguments.net), phase="TEST", folder=Path(arguments.net).parent)
    if inputs := deployed_inputs(net):
        raise cc.GraphError(
            f"{arguments.net}: is a deploy net: its inputs ({', '.join(inputs)}) come from whoever uses it; give "
            "the net with data layers, such as train_val.prototxt, or this one with a Data layer for its Input"
        )
    load(net, comma_list(arguments.weights))
    names, paths = comma_list(arguments.blobs), [Path(word) for word in comma_list(arguments.databases)]
    read = [*comma_list(arguments.weights), arguments.net]
    if arguments.backend == "npy":
        check_targets(paths, read, arguments.force_overwrite)
        counts = cc.extract_arrays(net.to(device), names, paths, arguments.batches)
        for name, path, count in zip(names, paths, counts, strict=True):
            print(f"{path}: {count} items of blob {name}")
        return 0
    with new_databases(paths, read, arguments.force_overwrite):
        counts = cc.extract_features(net.to(device), names, paths, arguments.batches, arguments.backend.upper())
    for name, path, count in zip(names, paths, counts, strict=True):
        print(f"{path}: {count} records of blob {name}")
    return 0
