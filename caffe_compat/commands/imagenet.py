"""data imagenet: ILSVRC2012 as published -> the databases that Caffe's create_imagenet.sh makes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.targets import add_force_overwrite, new_databases

PARTS = ("train", "val")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, metavar="DIR", help="tar files or folders train and val"
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write, default here")
    parser.add_argument("--part", choices=PARTS, help="make this one only, default those there")
    parser.add_argument("--synsets", type=Path, metavar="FILE", help="a synset a line, default DIR/synsets.txt")
    parser.add_argument("--resize-width", type=whole_number(0), default=256, metavar="N", help="new width, default 256")
    parser.add_argument(
        "--resize-height", type=whole_number(0), default=256, metavar="N", help="new height, default 256"
    )
    parser.add_argument("--encode-type", default="", metavar="KIND", help="store files of this kind: png, jpg, ...")
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of the shuffle, default 0")
    parser.add_argument("--skip-bad", action="store_true", help="leave out and count images that cannot be read")
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N", help="threads that decode, default one a processor"
    )
    parser.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="go on from an interrupted run"
    )
    parser.add_argument("--backend", choices=("lmdb", "leveldb"), default="lmdb", help="default lmdb")
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    parts = [arguments.part] if arguments.part else list(PARTS)
    paths = [arguments.out / f"ilsvrc12_{part}_{arguments.backend}" for part in parts]
    kept = arguments.resume and not arguments.force_overwrite  # then those that are there stay, and are told of
    with new_databases([] if kept else paths, [arguments.source], arguments.force_overwrite):
        made = cc.make_imagenet(
            arguments.source,
            arguments.out,
            cc.Conversion(
                arguments.resize_height,
                arguments.resize_width,
                encode_type=arguments.encode_type,
                skip_bad=arguments.skip_bad,
            ),
            parts if arguments.part else None,
            arguments.synsets,
            arguments.seed,
            arguments.workers,
            arguments.resume,
            arguments.backend.upper(),
        )
    for path, count, bad in made:
        print(f"{path}: {f'{count} images, {len(bad)} skipped' if count else 'there already, kept'}")
    print(f"done in {time.monotonic() - began:.1f} s")
    return 0
