"""Make grouped Convolutions parallel layers X_group0, X_group1, ..., or such layers one Convolution again.

caffe-compat groups split NET WEIGHTS
caffe-compat groups split --original-alexnet NET --split-alexnet NET --caffemodel WEIGHTS   (as group_spitter.py)

Writes NET.split.prototxt and WEIGHTS.split.caffemodel.h5, or .merge. for merge; with --out PREFIX.prototxt and
PREFIX.caffemodel. With both nets given, as the fork's scripts take them, the second is written as it is. What stands
there already is kept unless --force-overwrite is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.decompose import holding
from caffe_compat.commands.numbers import whole
from caffe_compat.commands.options import add_allow_missing, comma_list, one_of
from caffe_compat.commands.targets import add_force_overwrite, check_targets

ACTIONS = ("split", "merge")
NOTHING = {
    "split": "no Convolution has groups; --parts conv1=2 splits one that has none",
    "merge": "no Concat joins Convolutions X_group0, X_group1, ... of one kind",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("net", nargs="?", metavar="NET", help="the net's prototxt")
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS", help="its .caffemodel or .caffemodel.h5")
    parser.add_argument("--original-alexnet", metavar="NET", help="the net with groups, by the fork's name")
    parser.add_argument("--split-alexnet", metavar="NET", help="the net with parallel layers, by the fork's name")
    parser.add_argument("--caffemodel", metavar="WEIGHTS", help="the weights, by the fork's name")
    parser.add_argument("--parts", type=comma_list, metavar="A=2,B=2", help="what to split: layers and into how many")
    parser.add_argument("--out", metavar="PREFIX", help="write PREFIX.prototxt and PREFIX.caffemodel")
    add_allow_missing(parser)
    add_force_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    splitting = arguments.action == "split"
    given, other = arguments.original_alexnet, arguments.split_alexnet
    source, target = (given, other) if splitting else (other, given)
    net = one_of(arguments.net, source, "net", "--original-alexnet" if splitting else "--split-alexnet")
    weights = one_of(arguments.weights, arguments.caffemodel, "weights", "--caffemodel")
    model = cc.read_model(net, weights)
    cc.refuse_missing(model, arguments.allow_missing)
    if target:
        wanted = cc.read_net(target)
        made = cc.Model(wanted, cc.regroup_weights(model.weights, wanted))
    elif splitting:
        made = cc.split_groups(model, parse_parts(arguments.parts))
    else:
        made = cc.merge_groups(model)
    if [layer.name for layer in made.net.layer] == [layer.name for layer in model.net.layer] and not target:
        raise cc.GraphError(f"{net}: {NOTHING[arguments.action]}; nothing is written")
    missing = sorted({layer.name for layer in made.net.layer if layer.type == "Convolution"} - set(made.weights))
    missing = [name for name in missing if name not in arguments.allow_missing]
    if missing:
        raise cc.WeightsError(f"{weights} has nothing for {', '.join(missing)}; the nets must name X and X_group0, ...")
    if arguments.out:
        paths = [Path(f"{arguments.out}.{suffix}") for suffix in ("prototxt", "caffemodel")]
    else:
        paths = [Path(f"{net}.{arguments.action}.prototxt"), Path(f"{weights}.{arguments.action}.caffemodel.h5")]
        paths[1] = holding(paths[1], made)
    check_targets(paths, [net, weights, target], arguments.force_overwrite)
    cc.write_model(made, *paths)
    print("\n".join(f"Saved as {path}" for path in paths))
    return 0


def parse_parts(words: tuple[str, ...] | None) -> dict[str, int] | None:
    """{layer: parts} of `--parts conv1=2,conv2=2`; None, every grouped Convolution, where it is not given."""
    if words is None:
        return None
    try:
        return {name: whole(count) for name, count in (word.split("=") for word in words)}
    except ValueError:
        raise cc.RankError(f"--parts {','.join(words)}: wanted LAYER=PARTS, for example conv1=2,conv2=2") from None
