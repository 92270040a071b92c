"""Say what is in images: the classes to which a trained net gives the largest scores.

Pixels are prepared as pycaffe's Classifier does it: resized, cropped, channels in the net's order, minus the mean,
times the scale. A net with a data layer says its own mean and scale; for a deploy net, give those it was trained with:

  caffe-compat classify --model deploy.prototxt --weights bvlc_googlenet.caffemodel --labels synset_words.txt \\
      --mean 104,117,123 --size 256 cat.jpg photographs/
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.numbers import finite, real_number, whole, whole_number
from caffe_compat.commands.options import (
    add_backend,
    add_compat,
    add_device,
    add_input,
    add_state,
    add_weights,
    choose_device,
    input_options,
)

MOST_PIXELS = 32767  # of a side, as OpenCV resizes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, and folders of them")
    parser.add_argument("--model", required=True, metavar="NET", help="the net's prototxt, best its deploy form")
    add_weights(parser)
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one in each line")
    parser.add_argument(
        "--mean", metavar="M", help="104,117,123 in the net's channel order, or a .binaryproto or .npy file"
    )
    parser.add_argument(
        "--scale", type=real_number(), metavar="X", help="factor after the mean, of pixels from 0 to 255"
    )
    parser.add_argument("--channel-order", choices=("bgr", "rgb"), default="bgr", help="default bgr, as most nets")
    parser.add_argument(
        "--size",
        type=size,
        metavar="N|H,W",
        help="before the crop: shorter side N, or stretched to H,W; default stretched to the net's input",
    )
    parser.add_argument("--oversample", action="store_true", help="mean of ten crops: corners, centre, mirror images")
    parser.add_argument("--top", type=whole_number(), default=5, metavar="K", help="classes to show, default 5")
    parser.add_argument("--output", metavar="BLOB", help="which output has the scores, where there are several")
    add_backend(parser)
    add_input(parser)
    parser.add_argument("--skip-bad", action="store_true", help="leave out and count images that cannot be read")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    add_state(parser)
    add_device(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.weights:
        raise cc.WeightsError("--weights: none given; a net classifies with trained weights: --weights FILE")
    if arguments.top < 1:
        raise cc.SolverError(f"--top {arguments.top}: must be 1 or more")
    images = cc.list_images(arguments.images)
    classifier = make_classifier(arguments)
    labels = read_labels(arguments.labels, classifier.classes)
    predictions = classifier.predict(images, arguments.skip_bad)
    if sys.stderr.isatty() and (arguments.json or not sys.stdout.isatty()):  # else the table itself shows progress
        from tqdm import tqdm

        predictions = iter(tqdm(predictions, total=len(images), unit="image", file=sys.stderr, leave=False))
    if arguments.json:
        found = [as_json(prediction, labels, arguments.top) for prediction in predictions]
        print(json.dumps(found, indent=1, ensure_ascii=False))
        shown = len(found)
    else:
        shown = print_table(predictions, labels, arguments.top)
    if shown < len(images):
        print(f"{len(images) - shown} of {len(images)} images skipped", file=sys.stderr)
    return 0


def make_classifier(arguments: argparse.Namespace) -> cc.Classifier:
    """The trained net, on its device, with the preprocessing that the options or the net itself say."""
    cc.refuse_exchanged(arguments.model, arguments.weights)
    net = make_net(arguments)
    load_all(net, arguments.weights)
    given: dict[str, Any] = {"size": arguments.size, "oversample": arguments.oversample}
    given["rgb"] = arguments.channel_order == "rgb"
    if arguments.mean is not None:
        given["mean"] = read_mean(arguments.mean)
    if arguments.scale is not None:
        given["scale"] = arguments.scale
    try:
        own = cc.own_preprocessing(net, with_mean=arguments.mean is None)
    except cc.MissingDataError as error:
        raise cc.MissingDataError(f"{error}; or give the mean: --mean FILE, or M,M,M") from None
    preprocessing = dataclasses.replace(own, **given)
    try:
        classifier = cc.Classifier(net.to(choose_device(arguments)), preprocessing, arguments.output, arguments.backend)
    except cc.GraphError as error:
        raise cc.GraphError(str(error).replace("choose one as output", "choose one: --output NAME")) from None
    seen = preprocessing.describe(classifier.channels, classifier.height, classifier.width)
    print(f"images: {seen}", file=sys.stderr)
    if preprocessing.mean is None and classifier.input not in net.pixels:
        print("no mean is subtracted; most nets were trained with one: --mean says which", file=sys.stderr)
    return classifier


def make_net(arguments: argparse.Namespace) -> cc.Net:
    """The net without its weights; where its data is not here, the error says which options stand in for that."""
    model = cc.read_model(arguments.model)
    try:
        return cc.Net(
            model,
            level=arguments.level,
            stages=arguments.stage,
            compat=arguments.compat,
            input_shapes=dict(arguments.input) or None,
            folder=Path(arguments.model).parent,
        )
    except cc.MissingDataError as error:
        mean = "" if arguments.mean is not None else ", and the mean by --mean"
        raise cc.MissingDataError(f"{error}; or tell the shapes: {input_options(model)}{mean}") from None


def load_all(net: cc.Net, paths: Sequence[str]) -> None:
    """Put trained weights into every layer of `net`; WeightsError where one gets none, and so would guess."""
    weights = {name: blobs for path in paths for name, blobs in cc.read_weights(path).items()}
    for name in net.load_weights(weights).missing:
        raise cc.WeightsError(f"{', '.join(paths)}: has no weights for layer '{name}'; are they of this net?")


def size(text: str) -> int | tuple[int, int]:
    """`256` as a number, `256,340` as (height, width)."""
    try:
        sizes = tuple(whole(word) for word in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 2) or min(sizes) < 1 or max(sizes) > MOST_PIXELS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not of the form 256 or 256,340 (height,width), each at most {MOST_PIXELS}"
        )
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


def read_mean(text: str) -> Any:
    """Numbers, one or one a channel, or the mean in a file."""
    import numpy as np

    try:
        return np.array([finite(word) for word in text.split(",")], np.float32)
    except ValueError:
        if not Path(text).exists():
            raise cc.DataError(f"--mean {text}: no such file, and not of the form 104,117,123") from None
        return cc.read_mean_planes(Path(text))


def read_labels(path: Path | None, classes: int) -> list[str]:
    """The names of the classes, numbers where no file is given; DataError for another count than the net's."""
    if path is None:
        return []
    labels = cc.read_labels(path)
    if len(labels) != classes:
        raise cc.DataError(f"{path}: {len(labels)} labels, but the net has {classes} classes; wanted: one in each line")
    return labels


def print_table(predictions: Iterable[cc.Prediction], labels: Sequence[str], count: int) -> int:
    """Print each image and below it its classes; how many images there were."""
    shown = 0
    for prediction in predictions:
        shown += 1
        print(prediction.path)
        for number, score in prediction.top(count):
            print(f"  {score:10.4f}  {number:5d}  {labels[number] if labels else ''}".rstrip())
    return shown


def as_json(prediction: cc.Prediction, labels: Sequence[str], count: int) -> dict[str, Any]:
    top = [
        {"class": number, **({"label": labels[number]} if labels else {}), "score": score}
        for number, score in prediction.top(count)
    ]
    return {"image": str(prediction.path), "top": top}
