"""Make the databases that nets read, and mean images."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import extract, imagenet, imageset
from caffe_compat.commands.gflags import translate
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.parser import OneLineParser
from caffe_compat.commands.targets import add_force_overwrite, check_targets, folder_for, new_databases

Published = tuple[str, tuple[str, ...], Mapping[str, str]]  # address, files there, checksums of what they hold


class ToolParser(OneLineParser):
    """The parser of one tool; takes Caffe's spellings of its flags, as the verbs do."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        known, unknown = super().parse_known_args(translate(args or (), self), namespace)
        if unknown and not self.is_between_passes:  # the verb's own parser would send to its help, not to the tool's
            self.refuse(unknown)
        return known, unknown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True, parser_class=ToolParser)
    for name, (add, _, summary) in TOOLS.items():
        tool = tools.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        add(tool)
        tool.add_argument("--no-python", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    return TOOLS[arguments.tool][1](arguments)


def add_backend(parser: argparse.ArgumentParser, default: str | None = "lmdb") -> None:
    shown = f"default {default}" if default else "default what it is"
    parser.add_argument("--backend", choices=("lmdb", "leveldb"), default=default, help=f"kind of database, {shown}")


def _add_cifar10(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", metavar="INPUT_FOLDER", help="as convert_cifar_data: --from")
    parser.add_argument("target", type=Path, nargs="?", metavar="OUTPUT_FOLDER", help="--out")
    parser.add_argument("kind", choices=("lmdb", "leveldb"), nargs="?", metavar="DB_TYPE", help="--backend")
    _add_data_set(parser)


def _add_mnist(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", type=Path, nargs="?", metavar="IMAGE_FILE", help="as convert_mnist_data: one idx file"
    )
    parser.add_argument(
        "labels", type=Path, nargs="?", metavar="LABEL_FILE", help="and that of its labels, of any name"
    )
    parser.add_argument("database", type=Path, nargs="?", metavar="DB_FILE", help="the database to make of these two")
    _add_data_set(parser)


def _add_data_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="folder or archive as published, default: fetched into --out",
    )
    parser.add_argument("--url", metavar="URL", help="where to fetch the files from, default where they are public")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write, default here")
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=True, help="compare the files with their checksums"
    )
    add_backend(parser)
    add_force_overwrite(parser)


def _make(
    make: Callable[..., list[Path]], arguments: argparse.Namespace, published: Published, name: str, mean: bool
) -> int:
    began = time.monotonic()
    databases = [arguments.out / f"{name}_{part}_{arguments.backend}" for part in ("train", "test")]
    means = [arguments.out / "mean.binaryproto"] if mean and arguments.out.is_dir() else []
    check_targets(means, [], arguments.force_overwrite)
    with new_databases(databases, [arguments.source], arguments.force_overwrite):
        made = _made(make, arguments, published)
    print(*made, f"done in {time.monotonic() - began:.1f} s", sep="\n")
    return 0


def _made(make: Callable[..., list[Path]], arguments: argparse.Namespace, published: Published) -> list[Path]:
    """What `make` makes of the files of --from, or of those fetched."""
    url, files, checksums = published
    checksums = checksums if arguments.check else {}
    with folder_for(arguments.out):
        source = arguments.source or cc.download(
            arguments.url or url, files, arguments.out, lambda folder: cc.check_published(folder, checksums)
        )
        return make(source, arguments.out, arguments.backend.upper(), checksums or None)


def _cifar10(arguments: argparse.Namespace) -> int:
    arguments.source = arguments.folder or arguments.source
    arguments.out = arguments.target or arguments.out
    arguments.backend = arguments.kind or arguments.backend
    return _make(cc.make_cifar10, arguments, (cc.CIFAR10_URL, cc.CIFAR10_FILES, cc.CIFAR10_SHA256), "cifar10", True)


def _mnist(arguments: argparse.Namespace) -> int:
    if arguments.images is not None:
        return _convert_mnist(arguments)
    return _make(cc.make_mnist, arguments, (cc.MNIST_URL, cc.MNIST_FILES, cc.MNIST_SHA256), "mnist", False)


def _convert_mnist(arguments: argparse.Namespace) -> int:
    images, labels, database = arguments.images, arguments.labels, arguments.database
    if database is None or arguments.source is not None:
        wanted = "IMAGE_FILE LABEL_FILE DB_FILE, as convert_mnist_data, or --from DIR with the published files"
        raise cc.DataError(f"data mnist: wanted {wanted}")
    with new_databases([database], [images, labels], arguments.force_overwrite):
        count = cc.convert_mnist(images, labels, database, arguments.backend.upper())
    print(f"{database}: {count} images")
    return 0


def _add_mean(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("database", type=Path, metavar="INPUT_DB")
    parser.add_argument("output", type=Path, nargs="?", metavar="OUTPUT_FILE", help="a .binaryproto; default: none")
    add_backend(parser, None)
    add_force_overwrite(parser)


def _mean(arguments: argparse.Namespace) -> int:
    check_targets([arguments.output], [arguments.database], arguments.force_overwrite)
    mean = cc.compute_mean(arguments.database, _backend(arguments))
    for channel, value in enumerate(mean.mean(axis=(1, 2))):
        print(f"mean_value channel [{channel}]: {value:g}")
    if arguments.output:
        cc.write_mean(arguments.output, mean)
        print(arguments.output)
    return 0


def _add_pad(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="INPUT_DB")
    parser.add_argument("database", type=Path, metavar="DB_NAME", help="the database to make")
    parser.add_argument("--pad", type=whole_number(0), default=4, metavar="N", help="pixels on each side, default 4")
    parser.add_argument(
        "--value", type=whole_number(0, 255), default=0, metavar="N", help="of the border, 0 to 255, default 0"
    )
    add_backend(parser)
    add_force_overwrite(parser)


def _pad(arguments: argparse.Namespace) -> int:
    sizes = arguments.pad, arguments.value
    with new_databases([arguments.database], [arguments.source], arguments.force_overwrite):
        written = cc.pad_database(arguments.source, arguments.database, *sizes, arguments.backend.upper())
    mean = f"caffe-compat data mean {quote(str(arguments.database))}"
    print(f"{arguments.database}: {written} images; make their mean with: {mean}")
    return 0


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("database", type=Path, metavar="DB")
    parser.add_argument("--most", type=whole_number(1), metavar="N", help="look at the first N records only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_backend(parser, None)


def _info(arguments: argparse.Namespace) -> int:
    found = cc.survey(arguments.database, _backend(arguments), arguments.most)
    shapes = {"x".join(map(str, shape)): count for shape, count in found.shapes.items()}
    rows: dict[str, Any] = {
        "path": str(found.path),
        "kind": found.kind,
        "records": found.records,
        "seen": found.seen,
        "keys": [found.first_key, found.last_key],
        "forms": found.forms,
        "shapes (channels x height x width)": shapes,
        "labels": found.labels,
    }
    if arguments.json:
        print(json.dumps(rows))
        return 0
    rows["keys"] = f"{found.first_key} to {found.last_key}"
    for name, row in rows.items():
        print(f"{name}: {_brief(row) if isinstance(row, dict) else row}")
    return 0


def _brief(counts: dict[Any, int], most: int = 20) -> str:
    shown = ", ".join(f"{value} ({count})" for value, count in list(counts.items())[:most])
    return shown if len(counts) <= most else f"{shown} and {len(counts) - most} more"


def _backend(arguments: argparse.Namespace) -> str | None:
    return arguments.backend.upper() if arguments.backend else None


Tool = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int], str]

TOOLS: dict[str, Tool] = {
    "cifar10": (_add_cifar10, _cifar10, "CIFAR-10's binary version -> cifar10_train_lmdb, cifar10_test_lmdb, mean"),
    "extract": (extract.add_arguments, extract.run, "what a net computes -> databases (Caffe's extract_features)"),
    "imagenet": (imagenet.add_arguments, imagenet.run, "ILSVRC2012's tar files or folders -> ilsvrc12_*_lmdb"),
    "imageset": (imageset.add_arguments, imageset.run, "images of a list -> a database or HDF5 (convert_imageset)"),
    "info": (_add_info, _info, "what is in a database"),
    "mean": (_add_mean, _mean, "the mean image of a database (Caffe's compute_image_mean)"),
    "mnist": (_add_mnist, _mnist, "MNIST's idx files -> mnist_train_lmdb, mnist_test_lmdb"),
    "pad": (_add_pad, _pad, "a database with a border round every image"),
}
