"""data imageset: image files that a list names -> a database, as Caffe's convert_imageset, or HDF5."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.targets import add_force_overwrite, new_databases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOTFOLDER/", help="goes before every name of the list")
    parser.add_argument("list", type=Path, metavar="LISTFILE", help="an image and its label in each line")
    parser.add_argument("database", type=Path, metavar="DB_NAME", help="the database to make")
    parser.add_argument("--gray", action="store_true", help="store one channel")
    parser.add_argument("--shuffle", action="store_true", help="store in another order than that of the list")
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of the shuffle, default 0")
    parser.add_argument(
        "--resize-width", type=whole_number(0), default=0, metavar="N", help="new width, default the image's"
    )
    parser.add_argument(
        "--resize-height", type=whole_number(0), default=0, metavar="N", help="new height, default the image's"
    )
    parser.add_argument("--check-size", action="store_true", help="refuse images of several sizes")
    parser.add_argument("--encoded", action="store_true", help="store image files instead of pixels")
    parser.add_argument("--encode-type", default="", metavar="KIND", help="store files of this kind: png, jpg, ...")
    parser.add_argument("--skip-bad", action="store_true", help="leave out and count images that cannot be read")
    parser.add_argument("--resume", action="store_true", help="keep what is written if interrupted, and go on from it")
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N", help="threads that decode, default one a processor"
    )
    parser.add_argument(
        "--float-labels",
        action="store_true",
        help="labels are numbers, one or several an image; they go to DB_NAME_labels as float_data, or into HDF5",
    )
    parser.add_argument(
        "--backend", choices=("lmdb", "leveldb", "hdf5"), default="lmdb", help="default lmdb; hdf5 for HDF5Data"
    )
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    conversion = cc.Conversion(
        arguments.resize_height,
        arguments.resize_width,
        arguments.gray,
        arguments.encoded,
        arguments.encode_type,
        arguments.check_size,
        arguments.skip_bad,
    )
    make = _with_numbers if arguments.float_labels or arguments.backend == "hdf5" else _with_classes
    try:
        written, bad = make(arguments, conversion)
    except cc.DataError as error:
        raise type(error)(f"{error}{_of_numbers(arguments)}{_of_root(arguments, str(error))}") from error
    beside = arguments.float_labels and arguments.backend != "hdf5"
    labels = f", their labels in {cc.labels_path(arguments.database)}" if beside else ""
    took = time.monotonic() - began
    print(f"{arguments.database}: {written} images in {took:.1f} s, {len(bad)} skipped{labels}")
    return 0


def _with_classes(arguments: argparse.Namespace, conversion: cc.Conversion) -> tuple[int, list[str]]:
    entries = cc.read_image_list(arguments.list)
    with new_databases([arguments.database], [arguments.list], arguments.force_overwrite):
        return cc.make_imageset(
            entries,
            arguments.root,
            arguments.database,
            arguments.backend.upper(),
            conversion,
            arguments.shuffle,
            arguments.seed,
            arguments.workers,
            arguments.resume,
        )


def _of_numbers(arguments: argparse.Namespace) -> str:
    """The way out where a list of classes was wanted, and what is there are labels that are numbers."""
    if arguments.float_labels or arguments.backend == "hdf5":
        return ""
    try:
        entries = cc.read_float_list(arguments.list)
    except cc.CaffeCompatError:
        return ""
    others = any(len(labels) > 1 or not float(labels[0]).is_integer() for _, labels in entries)
    return "; labels that are several or no whole numbers go by --float-labels" if others else ""


def _of_root(arguments: argparse.Namespace, error: str) -> str:
    """The way out where images cannot be read because the folder and their names run into one another."""
    root = arguments.root
    joined = not root.endswith(os.sep) and os.path.isdir(root) and "can" in error and "be read" in error
    return f"; {root} goes before every name of the list as it is: give {root}{os.sep}" if joined else ""


def _with_numbers(arguments: argparse.Namespace, conversion: cc.Conversion) -> tuple[int, list[str]]:
    """What goes beyond convert_imageset: labels that are numbers, or HDF5."""
    hdf5 = arguments.backend == "hdf5"
    if arguments.resume or (hdf5 and (arguments.encoded or arguments.encode_type)):
        raise cc.DataError("--float-labels and hdf5 take no --resume; HDF5 holds pixels: no --encoded, --encode-type")
    entries = cc.read_float_list(arguments.list)
    order = arguments.shuffle, arguments.seed, arguments.workers
    targets = [arguments.database] if hdf5 else [arguments.database, cc.labels_path(arguments.database)]
    with new_databases(targets, [arguments.list], arguments.force_overwrite):
        if hdf5:
            return cc.make_labelled_hdf5(entries, arguments.root, arguments.database, conversion, *order)
        return cc.make_labelled_databases(
            entries, arguments.root, arguments.database, arguments.backend.upper(), conversion, *order
        )
