"""`caffe-compat prune NET WEIGHTS`: a net with fewer filters, and the certificate that proves it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.advice import reason_of
from caffe_compat.commands.costs import add_json, costs_of, print_json
from caffe_compat.commands.numbers import finite, input_shape, real_number, whole_number
from caffe_compat.commands.options import CRITERIA, comma_list, input_options, with_fillers
from caffe_compat.commands.targets import add_force_overwrite, check_targets


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with NET and WEIGHTS: remove filters")
    add_json(parser)
    group.add_argument(
        "--criterion",
        metavar="NAME",
        help=f"which filters go: {', '.join(CRITERIA)}; zeros: those that a run with masks left (default l2)",
    )
    group.add_argument(
        "--remove",
        type=real_number(),
        metavar="F",
        help="share of the filters of each layer to remove (default 0.5; with --ratios 0)",
    )
    group.add_argument(
        "--ratios", type=comma_list, default=(), metavar="L=F,...", help="shares of single layers; of the rest --remove"
    )
    group.add_argument("--multiply-adds", type=real_number(), metavar="F", help="keep this share of the multiply-adds")
    group.add_argument("--latency", type=real_number(), metavar="F", help="keep this share of the measured time")
    group.add_argument(
        "--batches", type=whole_number(0), default=0, metavar="N", help="of NET's own TRAIN data, for fisher, tfo"
    )
    group.add_argument(
        "--rounds", type=whole_number(), default=1, metavar="N", help="remove in N rounds, scores anew in each"
    )
    group.add_argument("--across-layers", action="store_true", help="shares are of the filters of all layers together")
    group.add_argument(
        "--protect", type=real_number(0), default=0.0, metavar="F", help="the last filters of a layer stay"
    )
    group.add_argument("--min-filters", type=whole_number(), default=1, metavar="N", help="leave as many (default 1)")
    group.add_argument("--except-layers", type=comma_list, default=(), metavar="A,B", help="layers that keep all")
    group.add_argument("--strict", action="store_true", help="refuse coupled layers with different ratios")
    group.add_argument(
        "--preference-beta", type=real_number(0), default=0.75, metavar="F", help="of eprune; more: fewer"
    )
    group.add_argument(
        "--preference-betas", type=comma_list, default=(), metavar="L=F,...", help="of eprune in single layers"
    )
    group.add_argument(
        "--init",
        choices=("kept", "random", "random_project"),
        default="kept",
        help="random: weights of cut layers by their fillers; random_project: those of their readers projected",
    )
    group.add_argument("--bn", choices=("copy", "reset"), default="copy", help="BatchNorm of the layers that are cut")
    group.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of random, random_project")
    group.add_argument("--drop-constants", action="store_true", help="do not fold the constants of filters of zeros")
    group.add_argument("--out", metavar="PREFIX", help="write PREFIX.prototxt, .caffemodel and .certificate.json")
    group.add_argument(
        "--input", type=input_shape, action="append", default=[], metavar="BLOB=SHAPE", help="shape of an input"
    )
    add_force_overwrite(group)  # type: ignore[arg-type]


def run_filters(arguments: argparse.Namespace, net: str, weights: str) -> int:
    prefix = arguments.out or f"{Path(net).with_suffix('')}.pruned"
    written = [f"{prefix}.{kind}" for kind in ("prototxt", "caffemodel", "certificate.json")]
    check_targets(written, [net, weights], arguments.force_overwrite)
    model = cc.read_model(net, weights)
    cc.refuse_missing(model, arguments.allow_missing, "TEST")
    folder = Path(net).parent
    model = with_fillers(model, arguments.allow_missing, input_shapes=dict(arguments.input), folder=folder)
    made = cc.prune_filters(
        model,
        cc.Selection(
            arguments.criterion or "l2",
            (0.0 if arguments.ratios else 0.5) if arguments.remove is None else arguments.remove,
            _by_layer("--ratios", arguments.ratios),
            arguments.min_filters,
            arguments.except_layers,
            arguments.strict,
            arguments.preference_beta,
            _by_layer("--preference-betas", arguments.preference_betas),
            arguments.seed,
            arguments.across_layers,
            arguments.protect,
        ),
        arguments.multiply_adds,
        dict(arguments.input) or None,
        not arguments.drop_constants,
        folder,
        batches=cc.own_batches(model.net, arguments.batches, folder=folder) if arguments.batches else (),
        latency=arguments.latency,
        rounds=arguments.rounds,
    )
    small = cc.reset_normalization(made.model, made.certificate.layers) if arguments.bn == "reset" else made.model
    if arguments.init == "random":
        cut = [name for name, layer in made.certificate.layers.items() if layer.filters < layer.largest]
        rest = {name: blobs for name, blobs in small.weights.items() if name not in cut}
        import torch

        torch.manual_seed(arguments.seed)
        small = with_fillers(cc.Model(small.net, rest), cut, input_shapes=dict(arguments.input), folder=folder)
    if arguments.init == "random_project":
        kept = {name: layer.kept for name, layer in made.certificate.layers.items()}
        small = cc.project_inputs(model, small, kept, arguments.seed)
    with cc.all_or_none():
        cc.write_model(small, written[0], written[1])
        made.certificate.write(written[2])
    costs: cc.Comparison | str
    try:
        costs = cc.compare_cost(model, small, made.input_shapes or None)
    except cc.DataError as error:
        costs = f"Costs are not counted: {reason_of(error)}; or tell the shapes: {input_options(model)}"
    if arguments.json:
        counted = costs_of(costs) if isinstance(costs, cc.Comparison) else None
        print_json(
            {"filters": _left(made.certificate), "costs": counted, "blobs": made.certificate.blobs, "saved": written}
        )
    else:
        _report(made.certificate, costs, written)
    return 0


def _left(certificate: cc.Certificate) -> dict[str, dict[str, Any]]:
    """{layer: how many filters there were and are, and whether its constants are exact at borders}."""
    return {
        name: {"before": layer.largest, "after": layer.filters, "exact": layer.exact}
        for name, layer in certificate.layers.items()
    }


def _report(certificate: cc.Certificate, costs: cc.Comparison | str, written: list[str]) -> None:
    for name, layer in certificate.layers.items():
        if layer.filters < layer.largest:
            print(f"{name}\t{layer.largest} -> {layer.filters}")
    print(costs)
    worst = max(certificate.blobs.values(), default=0.0)
    print(f"Largest difference from the masked net: {worst:.3g} of a blob's largest value")
    inexact = [name for name, layer in certificate.layers.items() if not layer.exact]
    if inexact:
        print(f"At the borders of {', '.join(inexact)} constants of removed filters are only approximated")
    print(f"Saved as {written[0]} and {written[1]}; proved by {written[2]}")


def _by_layer(option: str, words: tuple[str, ...]) -> dict[str, float]:
    """What LAYER=NUMBER words say."""
    ratios = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        try:
            ratios[name] = finite(value)
        except ValueError:
            equals = ""
        if not equals:
            raise cc.RankError(f"{option} has '{word}'; wanted LAYER=NUMBER, such as conv1=0.5")
    return ratios


def certificate_of(
    original: cc.Model, pruned: cc.Model, path: str, shapes: dict[str, tuple[int, ...]], folder: Path
) -> cc.Certificate:
    """The certificate at `path`, made anew from the models; DataError where the file is none of a pruned net."""
    kept, constants = cc.read_kept(path)
    return cc.certify_pruned(original, pruned, kept, shapes or None, constants, folder)
