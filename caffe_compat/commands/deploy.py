"""Make the net that is deployed from the one that is trained: inputs for data layers, scores for losses.

  caffe-compat deploy train_val.prototxt > deploy.prototxt
  caffe-compat deploy train_val.prototxt --weights net.caffemodel --out deploy.prototxt --out-weights deploy.caffemodel

What the TEST phase computes from the data alone stays. Losses become their Softmax or Sigmoid; auxiliary heads,
Accuracy, Silence and labels go; rules, fillers and learning rates are cleared. Each decision is logged.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import caffe_compat as cc
from caffe_compat.commands.numbers import input_shape, whole_number
from caffe_compat.commands.options import add_allow_missing, add_state, add_weights, say_pixels
from caffe_compat.commands.runtimes import add_for, for_road
from caffe_compat.commands.targets import add_force_overwrite, check_targets
from caffe_compat.commands.terminal import glog_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("net", metavar="TRAIN_VAL", help="prototxt of the net that is trained, or a caffemodel")
    add_weights(parser)
    parser.add_argument("--out", metavar="PATH", help="write the prototxt here instead of to standard output")
    parser.add_argument("--out-weights", metavar="PATH", help="write the weights that it needs here")
    parser.add_argument(
        "--batch", type=whole_number(), metavar="N", help="batch of the inputs (default 1; of an Input its own)"
    )
    parser.add_argument(
        "--shape",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of an input whose data is not here, e.g. data=1,3,32,32; may be repeated",
    )
    parser.add_argument(
        "--merge-bn",
        action="store_true",
        help="fold BatchNorm, Scale, Bias, Power and Dropout into the layers beside them; needs --out-weights",
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="put mean and scale of the data layer into the net, as Bias and Scale; needs --out-weights",
    )
    add_for(parser, "write layers in a form that this runtime computes right, or refuse by name; needs --out-weights")
    parser.add_argument("--keep-training", action="store_true", help="keep fillers and learning rates")
    parser.add_argument(
        "--phase",
        choices=("TRAIN", "TEST"),
        help="whose layers to take (default: TEST's, or TRAIN's where only TRAIN has data)",
    )
    add_allow_missing(parser)
    add_force_overwrite(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.batch is not None and arguments.batch < 1:
        raise cc.SolverError(f"--batch {arguments.batch}: must be 1 or more")
    written = [arguments.out, arguments.out_weights]
    check_targets(written, [arguments.net, *arguments.weights], arguments.force_overwrite)
    with glog_lines():
        model = cc.deploy(
            cc.read_model(arguments.net, arguments.weights or None),
            batch=arguments.batch,
            shapes=dict(arguments.shape),
            level=arguments.level,
            stages=arguments.stage,
            keep_training=arguments.keep_training,
            folder=Path(arguments.net).parent,
            allow_missing=arguments.allow_missing,
            phase=arguments.phase,
        )
        if arguments.merge_bn:
            model = merged(model, arguments)
    if arguments.with_preprocessing:
        if not arguments.out_weights:
            raise cc.WeightsError("--with-preprocessing: mean and scale become weights; give --out-weights FILE")
        model = cc.with_preprocessing(model, Path(arguments.net).parent)
    with glog_lines():
        model = for_road(model, arguments.road, "caffe", {}, Path(arguments.net).parent)
    say_pixels(model, "kept as a comment")
    if arguments.out_weights and not model.weights:
        raise cc.WeightsError(f"--out-weights {arguments.out_weights}: there are no weights; give --weights FILE")
    if arguments.out:
        cc.write_model(model, arguments.out, arguments.out_weights)
    else:
        sys.stdout.write(cc.model_text(model))
        if arguments.out_weights:
            cc.write_net(arguments.out_weights, model.net, model.weights)
    return 0


def merged(model: cc.Model, arguments: argparse.Namespace) -> cc.Model:
    """The deployed net with what --merge-bn folds away."""
    if not arguments.weights or not arguments.out_weights:
        raise cc.WeightsError("--merge-bn: it changes weights; give --weights FILE and --out-weights FILE")
    return cc.fold_batch_norm(model, folder=Path(arguments.net).parent)
