"""The public GoogLeNet, dense and decomposed at several energies: ranks, accuracy on photographs, costs and time.

    python -m reproductions.googlenet.measure --models MODELS --images IMAGES [--record]

MODELS holds googlenet/bvlc_googlenet.caffemodel; IMAGES photographs, one a class, with labels.txt (file name, class).
Accuracy on so few photographs only says whether the net still works: no error rate of the 50,000 validation images can
be read off it. Layers whose rank is not below break-even stay dense. The time is of a forward pass of one batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from reproductions.record import keep_log, record_run
from reproductions.runs import HERE, Run

FOLDER = HERE / "googlenet"
PAPER_KEEP = 0.95
KEEPS = (0.99, 0.98, 0.95, 0.9, 0.85)
BATCH = 10
SOURCE = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  transform_param { crop_size: 224 mean_value: 104 mean_value: 117 mean_value: 123 }
  image_data_param { source: "%s" root_folder: "%s/" batch_size: 10 } }
"""
TOPS = {"top-1 error of photographs": "loss3/top-1", "top-5 error of photographs": "loss3/top-5"}


def model_on(images: Path, weights: cc.Weights) -> cc.Model:
    """Our net without its side branches, which a test does not need, reading `images`."""
    net = cc.read_net(FOLDER / "train_test.prototxt")
    kept = cc.parse_text(SOURCE % (images / "labels.txt", images), cc.NetParameter)
    kept.name = "GoogLeNet"
    kept.layer.extend(
        layer for layer in net.layer if layer.type != "Data" and not layer.name.startswith(("loss1/", "loss2/"))
    )
    return cc.Model(kept, {layer.name: weights[layer.name] for layer in kept.layer if layer.name in weights})


def decomposed(model: cc.Model, keep: float) -> tuple[cc.Model, dict[str, int]]:
    """The model with every layer whose rank at `keep` makes it cheaper as a chain, and these ranks."""
    ranks = cc.ranks_by_energy(model, keep)
    chosen = {name: rank for name, rank in ranks.items() if rank < cc.break_even_rank(model.weights[name][0].shape)}
    return cc.decompose(model, chosen), chosen


@torch.inference_mode()
def errors(model: cc.Model, count: int) -> dict[tuple[str, str], float]:
    """Percent of `count` photographs that are wrong."""
    net = cc.Net(model, phase="TEST")
    sums = dict.fromkeys(TOPS, 0.0)
    for _ in range(count // BATCH):
        outputs = net()
        for name, top in TOPS.items():
            sums[name] += float(outputs[top])
    return {(name, ""): round(100 * (1 - total / (count // BATCH)), 4) for name, total in sums.items()}


def timed(models: list[cc.Model], rounds: int) -> list[list[float]]:
    """Seconds of forward passes of one batch; the nets, in their deploy form, take turns."""
    nets = [cc.Net(cc.deploy(model, batch=BATCH), phase="TEST").eval() for model in models]
    data = torch.randn(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    return cc.compare_time(nets, {"data": data}, rounds)


def shapes() -> dict[str, tuple[int, ...]]:
    """One image and its label, so that costs are of one image."""
    return {"data": (1, 3, 224, 224), "label": (1,)}


def rows(weights: cc.Weights, images: Path, rounds: int) -> list[Run]:
    """The dense net and every decomposed one."""
    dense = model_on(images, weights)
    count = len((images / "labels.txt").read_text(encoding="utf-8").splitlines())
    found = {0.0: (dense, dict[str, int]())} | {keep: decomposed(dense, keep) for keep in KEEPS}
    times = timed([model for model, _ in found.values()], rounds)
    logged = []
    runs = []
    for (keep, (model, chosen)), seconds in zip(found.items(), times, strict=True):
        started = time.perf_counter()
        measures = errors(model, count)
        measures["layers decomposed", ""] = len(chosen)
        measures["CPU speedup", "whole net"] = statistics.median(times[0]) / statistics.median(seconds)
        ratios = statistics.quantiles([before / after for before, after in zip(times[0], seconds, strict=True)], n=4)
        measures["interquartile range", "whole net"] = ratios[2] - ratios[0]
        cost = cc.layer_costs(model, shapes()).values()
        named = {f"{name} {layer}".strip(): value for (name, layer), value in measures.items()}
        logged.append({"keep": keep, "ranks": chosen, "seconds": seconds, **named})
        runs.append(
            Run(
                network="googlenet",
                experiment="energies",
                method=f"pca at {100 * keep:g} % energy" if keep else "dense",
                multiply_adds=sum(each.multiply_adds for each in cost),
                parameters=sum(each.parameters for each in cost),
                ranks={name: (rank, len(dense.weights[name][0])) for name, rank in chosen.items()},
                measures=measures,
                seconds=round(time.perf_counter() - started + sum(seconds), 1),
                note=f"public model, {count} photographs, batches of {BATCH}",
            )
        )
    log = log_of(logged)
    return [Run(**{**vars(run), "log": log}) for run in runs]


def baseline(weights: cc.Weights) -> Run:
    """Fig. 5's first bars: the rank of every convolution at 5 % error; the public file lacks the side branches'."""
    net = cc.read_net(FOLDER / "train_test.prototxt")
    names = [layer.name for layer in net.layer if layer.type == "Convolution" and layer.name in weights]
    ranks = {name: (cc.rank_by_energy(weights[name][0], PAPER_KEEP), len(weights[name][0])) for name in names}
    return Run(
        network="googlenet",
        experiment="ranks",
        method="baseline",
        ranks=ranks,
        paper=("Figure 5: GoogLeNet none",),
        note="the public model of Caffe's model zoo, which lacks the two side branches",
    )


def log_of(lines: list[dict[str, Any]]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "energies.jsonl")
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return keep_log(path, "googlenet-energies.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reproductions.googlenet.measure", description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="write the rows to results/")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = cc.read_weights(arguments.models / "googlenet" / "bvlc_googlenet.caffemodel")
    command = "python -m reproductions.googlenet.measure --models MODELS --images IMAGES --record"
    for run in [baseline(weights), *rows(weights, arguments.images.resolve(), arguments.rounds)]:
        run = Run(**{**vars(run), "command": command})
        print(run.method, dict(run.measures), run.multiply_adds, flush=True)
        if arguments.record:
            record_run(run)


if __name__ == "__main__":
    main()
