"""Make the databases that nets read, and mean images."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import OneLineParser
from caffe_compat.commands.gflags import translate


class ToolParser(OneLineParser):
    """The parser of one tool; takes Caffe's spellings of its flags, as the verbs do."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        return super().parse_known_args(translate(args or (), self), namespace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True, parser_class=ToolParser)
    for name, (add, _, summary) in TOOLS.items():
        add(tools.add_parser(name, help=summary, description=summary, allow_abbrev=False))


def run(arguments: argparse.Namespace) -> int:
    return TOOLS[arguments.tool][1](arguments)


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("lmdb", "leveldb"), default="lmdb", help="kind of database, default lmdb")


def _add_data_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder or archive as published",
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to write, default here")
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=True, help="compare the files with their checksums"
    )
    add_backend(parser)


def _make(make: Callable[..., list[Path]], arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = {} if arguments.check else {"checksums": None}
    for path in make(arguments.source, arguments.out, arguments.backend.upper(), **options):
        print(path)
    print(f"done in {time.monotonic() - began:.1f} s")
    return 0


def _cifar10(arguments: argparse.Namespace) -> int:
    return _make(cc.make_cifar10, arguments)


def _mnist(arguments: argparse.Namespace) -> int:
    return _make(cc.make_mnist, arguments)


Tool = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int], str]

TOOLS: dict[str, Tool] = {
    "cifar10": (_add_data_set, _cifar10, "CIFAR-10's binary version -> cifar10_train_lmdb, cifar10_test_lmdb, mean"),
    "mnist": (_add_data_set, _mnist, "MNIST's idx files -> mnist_train_lmdb, mnist_test_lmdb"),
}
