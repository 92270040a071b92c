"""Print a net as a table: layer, type, tops, shape, parameters, multiply-adds; or as the PyTorch program it became."""

from __future__ import annotations

import argparse

import caffe_compat as cc
from caffe_compat.commands.options import add_compat, add_net, add_state, input_shape, one_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="default TEST")
    add_state(parser)
    add_compat(parser)
    parser.add_argument("--code", action="store_true", help="print the PyTorch program instead of the table")
    parser.add_argument(
        "--input",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of a blob whose data is not here, e.g. data=1,3,32,32; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    model = cc.read_model(one_of(arguments.net, arguments.model, "net", "--model"))
    net = cc.Net(
        model,
        phase=arguments.phase,
        level=arguments.level,
        stages=arguments.stage,
        compat=arguments.compat,
        input_shapes=dict(arguments.input) or None,
    )
    print(net.graph_module.code if arguments.code else net)
    return 0
