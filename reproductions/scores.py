"""Public trained models, scored on their real test sets: what their own authors' Caffe gave, and what we give.

    python -m reproductions.scores --models MODELS --cifar10 CIFAR10 --mnist MNIST --images IMAGES [--record]

MODELS holds the public files, one folder a model; CIFAR10 and MNIST the data sets as published; IMAGES photographs with
labels.txt (file name, class). What is not given is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from reproductions.record import write_result
from reproductions.runs import HERE

COMMAND = "python -m reproductions.scores --models MODELS --cifar10 CIFAR10 --mnist MNIST --images IMAGES --record"
TEST_BATCHES = 100  # of 100 images each, in both data sets


@dataclass(frozen=True)
class Trained:
    """A public model: its net (beside the weights, or ours of the same layers), and the accuracy its source reports."""

    title: str
    data: str
    net: str
    weights: str
    output: str
    published: float  # percent


MODELS = (
    Trained(
        "cifar10_full (V1 binary)",
        "cifar10",
        "convnet",
        "cifar10_full_v1/cifar10_full_iter_70000.caffemodel",
        "accuracy",
        82.11,
    ),
    Trained(
        "cifar10_full (HDF5)",
        "cifar10",
        "convnet",
        "cifar10_full_h5/cifar10_full_iter_100000.caffemodel.h5",
        "accuracy",
        82.18,
    ),
    Trained(
        "cifar10_quick (V1 binary)",
        "cifar10",
        "cifar10_quick_train_test.prototxt",
        "cifar10_quick_v1/cifar10_quick_iter_5000.caffemodel",
        "accuracy",
        74.91,
    ),
    Trained(
        "ResNet-20",
        "cifar10",
        "res20_cifar_train_test.prototxt",
        "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel",
        "Accuracy1",
        91.81,
    ),
    Trained("LeNet", "mnist", "lenet", "lenet/lenet_iter_10000.caffemodel", "accuracy", 99.14),
    Trained("LeNet (V1 binary)", "mnist", "lenet", "lenet_v1/lenet.caffemodel", "accuracy", 99.04),
)

IMAGES = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  transform_param { crop_size: 224 mean_value: 104 mean_value: 117 mean_value: 123 }
  image_data_param { source: "%s" root_folder: "%s/" batch_size: 10 } }
"""
ACCURACIES = """
layer { name: "top1" type: "Accuracy" bottom: "loss3/classifier" bottom: "label" top: "top1" }
layer { name: "top5" type: "Accuracy" bottom: "loss3/classifier" bottom: "label" top: "top5"
  accuracy_param { top_k: 5 } }
"""


@torch.inference_mode()
def mean_outputs(net: cc.Net, batches: int) -> dict[str, float]:
    """The mean of every scalar output of `net` over its next batches."""
    sums: dict[str, float] = {}
    for _ in range(batches):
        for name, value in net().items():
            if value.numel() == 1:
                sums[name] = sums.get(name, 0.0) + float(value)
    return {name: total / batches for name, total in sums.items()}


def score(trained: Trained, models: Path, folder: Path) -> float:
    """The accuracy of one model in percent, on the databases in `folder`."""
    weights = models / trained.weights
    ours = HERE / trained.net / "train_test.prototxt"
    model = cc.read_model(ours if ours.exists() else weights.parent / trained.net, weights)
    for layer in model.net.layer:  # the files name the places of their authors' machines
        if layer.type == "Data":
            split = "test" if any(rule.phase == 1 for rule in layer.include) else "train"
            layer.data_param.source = str(folder / f"{trained.data}_{split}_lmdb")
            layer.data_param.backend = layer.data_param.LMDB
            if layer.transform_param.HasField("mean_file"):
                layer.transform_param.mean_file = str(folder / "mean.binaryproto")
    return 100 * mean_outputs(cc.Net(model, phase="TEST"), TEST_BATCHES)[trained.output]


def score_googlenet(models: Path, images: Path) -> tuple[int, dict[str, float]]:
    """How many photographs there are, and GoogLeNet's top1 and top5 accuracy on their middles, in percent."""
    model = cc.read_model(models / "googlenet" / "deploy.prototxt", models / "googlenet" / "bvlc_googlenet.caffemodel")
    labels = images / "labels.txt"
    net = cc.parse_text(IMAGES % (labels, images), cc.NetParameter)
    net.layer.extend(layer for layer in model.net.layer if layer.type != "Input")
    net.layer.extend(cc.parse_text(ACCURACIES, cc.NetParameter).layer)
    count = len(labels.read_text(encoding="utf-8").splitlines())
    scores = mean_outputs(cc.Net(cc.Model(net, model.weights), phase="TEST"), count // 10)
    return count, {name: 100 * scores[name] for name in ("top1", "top5")}


def rows(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One row a model whose data was given."""
    for name, make in (("cifar10", cc.make_cifar10), ("mnist", cc.make_mnist)):
        source = getattr(arguments, name)
        if source:
            make(source, folder)
            for trained in (each for each in MODELS if each.data == name):
                ours = round(score(trained, arguments.models, folder), 4)
                yield {"model": trained.title, "images": 10000, "published": trained.published, "ours": ours}
    if arguments.images:
        count, scores = score_googlenet(arguments.models, arguments.images)
        for name, ours in scores.items():
            yield {"model": f"GoogLeNet, {name}", "images": count, "published": None, "ours": round(ours, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reproductions.scores", description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    for name in ("cifar10", "mnist", "images"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--record", action="store_true", help="write the result for the README's table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for row in rows(arguments, Path(os.path.realpath(folder))):
            print(row, flush=True)
            found.append(row)
    if arguments.record:
        write_result("scores", COMMAND, found)


if __name__ == "__main__":
    main()
