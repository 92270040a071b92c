"""Options of `decompose` that fit chains to data: which fit, and where the images come from."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.numbers import whole_number

log = logging.getLogger(__name__)

FITS = {  # asymmetric, nonlinear; see decompose_by_responses
    "symmetric": (False, False),
    "asymmetric": (True, False),
    "nonlinear": (True, True),
}


def add_fit(parser: argparse.ArgumentParser) -> None:
    """--fit, --recalibrate and the data for both."""
    parser.add_argument(
        "--fit",
        choices=("weights", *FITS),
        default="weights",
        help="what chains keep: the weights (default), or the responses to images: of each layer alone (symmetric), "
        "behind the chains before it (asymmetric), and after its ReLU (nonlinear)",
    )
    parser.add_argument("--recalibrate", action="store_true", help="measure every BatchNorm anew on images")
    parser.add_argument(
        "--data-net", metavar="NET", help="net whose data layers give the images (default: that which is decomposed)"
    )
    parser.add_argument("--data-phase", choices=("TRAIN", "TEST"), default="TRAIN", help="default TRAIN")
    parser.add_argument(
        "--batches", type=whole_number(1), default=10, metavar="N", help="batches of images (default 10)"
    )


def decompose(
    model: cc.Model, ranks: Mapping[str, Any], methods: str | Mapping[str, str], net: str, arguments: argparse.Namespace
) -> cc.Model:
    """The decomposed model, as --fit and --recalibrate want it. RankError for a fit of other than _lowrank chains."""
    fitted, recalibrated = arguments.fit != "weights", arguments.recalibrate
    batches = _batches(model, net, arguments) if fitted or recalibrated else []
    if not fitted:
        small = cc.decompose(model, ranks, methods)
    else:
        for name in ranks:
            method = methods if isinstance(methods, str) else methods.get(name, "pca")
            if method != "pca":
                raise cc.RankError(f"layer '{name}': --fit {arguments.fit} makes chains of method pca, not {method}")
        asymmetric, nonlinear = FITS[arguments.fit]
        small = cc.decompose_by_responses(model, ranks, batches, asymmetric, nonlinear)
    return cc.recalibrate(small, batches) if recalibrated else small


def _batches(model: cc.Model, net: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    path = Path(arguments.data_net or net)
    source = cc.read_net(path) if arguments.data_net else model.net
    batches = cc.own_batches(source, arguments.batches, arguments.data_phase, folder=path.parent)
    log.info("Fitted to %d batches of %s in phase %s", len(batches), path, arguments.data_phase)
    return batches
