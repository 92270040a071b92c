"""What the figures of filters need of a trained net, as a small results/filters/NAME.json.

    python -m reproductions.filters NAME PROTOTXT WEIGHTS [--layers conv1 conv2] [--basis conv1]

For each layer: the share of energy that its first 1, 2, ... directions keep (the spectrum), its rank, and the first two
discriminants of its unit filters under four clusters of k-means (Fig. 2). `--basis`: the basis filters of a layer of
three channels as colours (Fig. 1); for nets of one's own only, since they are all but its weights.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat as cc
from reproductions.record import commit
from reproductions.runs import RESULTS

FILTERS = RESULTS / "filters"
KEEP = 0.95
CLUSTERS = 4


def spectrum(weight: np.ndarray) -> np.ndarray:
    """Share of energy in the first 1, 2, ... directions of the filters [filters, ...]: rising to 1."""
    energy = np.linalg.svd(weight.reshape(len(weight), -1).astype(np.float64), compute_uv=False) ** 2
    shares: np.ndarray = np.cumsum(energy) / energy.sum()
    return shares


def discriminants(weight: np.ndarray) -> list[list[float]]:
    """[x, y, cluster] of every filter: unit filters, k-means, and the two directions that part the clusters best.

    As the paper's Fig. 2: sklearn's KMeans with four clusters and LinearDiscriminantAnalysis with two components.
    Clusters are numbered by their size, the largest first, so that a relabelling changes nothing.
    """
    from sklearn.cluster import KMeans
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows = weight.reshape(len(weight), -1).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = KMeans(CLUSTERS, n_init=10, random_state=0).fit(rows).labels_
    order = np.argsort(-np.bincount(labels, minlength=CLUSTERS), kind="stable")
    places = np.argsort(order)[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few filters are collinear in so many dimensions
        points = LinearDiscriminantAnalysis(n_components=2).fit(rows, places).transform(rows)
    return [[round(float(x), 3), round(float(y), 3), int(place)] for (x, y), place in zip(points, places, strict=True)]


def basis_colours(weight: np.ndarray) -> list[list[str]]:
    """The basis filters of [filters, 3, height, width], most energy first, each as rows of hexadecimal colours.

    Each filter is scaled by itself: its least value is 00, its largest ff. Channels are blue, green, red.
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    basis = np.linalg.svd(rows, full_matrices=False)[2].reshape(-1, *weight.shape[1:])
    pictures = []
    for each in basis[: len(weight)]:
        each = each * np.sign(each.sum() or 1)
        levels = np.round(255 * (each - each.min()) / (np.ptp(each) or 1)).astype(int)[::-1].transpose(1, 2, 0)
        pictures.append(["".join(f"{level:02x}" for level in line.ravel()) for line in levels])
    return pictures


def describe(model: cc.Model, layers: list[str], basis: str | None) -> dict[str, Any]:
    """The facts of each layer of `layers` (default: every Convolution); discriminants of `basis` or the first."""
    ranks = cc.ranks_by_energy(model, KEEP)
    found: dict[str, Any] = {}
    first = (layers or list(ranks))[0]
    for layer in layers or ranks:
        weight = model.weights[layer][0]
        energy = [round(float(share), 4) for share in spectrum(weight)]
        found[layer] = {"filters": len(weight), "rank": ranks[layer], "energy": energy}
        if layer == (basis or first):
            found[layer]["lda"] = discriminants(weight)
        if layer == basis:
            found[layer]["basis"] = basis_colours(weight)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reproductions.filters", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("prototxt", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--layers", nargs="+", default=[])
    parser.add_argument("--basis", metavar="LAYER")
    parser.add_argument("--title", default="", help="what the figures call this net")
    arguments = parser.parse_args()
    model = cc.read_model(arguments.prototxt, arguments.weights)
    facts = {
        "title": arguments.title or arguments.name,
        "command": f"python -m reproductions.filters {arguments.name} PROTOTXT WEIGHTS",
        "commit": commit(),
        "layers": describe(model, arguments.layers, arguments.basis),
    }
    FILTERS.mkdir(parents=True, exist_ok=True)
    path = FILTERS / f"{arguments.name}.json"
    path.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
