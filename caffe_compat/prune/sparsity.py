"""Filters that training left without effect (Mehta et al., CVPR 2019): what the authors count, and how they cut it out.

    by scale        |gamma| of the Scale behind BatchNorm is at most 1e-3
    by activation   the largest |activation| over the map is below 1e-12 on every image
    universality    the share of the images whose largest |activation| is more than 1e-3 of the filter's largest;
                    selectivity is 1 - universality

The cut is that of prune_and_fuse in models/selecsls.py of mehtadushy/SelecSLS-Pytorch at 3852734: filters with |gamma|
above the threshold stay, through concatenations, and BatchNorm goes into the weights and a bias. It drops relu(beta) of
the others, which changes the output where beta is above 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caffe_compat.errors import DataError, WeightsError
from caffe_compat.layers.base import Shape
from caffe_compat.net.comparison import common_shapes
from caffe_compat.net.missing import only_there, without_weights
from caffe_compat.net.net import Net
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.prune.narrow import couple, narrow_classes

SCALE = 1e-3
ACTIVATION = 1e-12
RELATIVE = 1e-3

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerSparsity:
    """One convolution. filters: how many. by_scale, by_activation: how many are inactive, None where not measured.

    universality: of each filter, (filters,), None without data.
    """

    filters: int
    by_scale: int | None = None
    by_activation: int | None = None
    universality: Array | None = None


def active_by_scale(gamma: Array, threshold: float = SCALE) -> Array:
    """Which filters have |gamma| above the threshold: (filters,) bool."""
    active: Array = np.abs(gamma) > threshold
    return active


def pooled(activation: Array) -> Array:
    """The largest |activation| over the map: (images, filters) of (images, filters, ...)."""
    found: Array = np.abs(activation).reshape(*activation.shape[:2], -1).max(2)
    return found


def active_by_activation(largest: Array, threshold: float = ACTIVATION) -> Array:
    """Which filters are not below the threshold on any of the images, for `pooled` values: (filters,) bool."""
    active: Array = largest.max(0) >= threshold
    return active


def universality(largest: Array) -> Array:
    """The share of images on which each filter is active, for `pooled` values; 0 for one that never is: (filters,)."""
    most = largest.max(0)
    relative = np.divide(largest, most, out=np.zeros_like(largest), where=most > 0)
    share: Array = (relative > RELATIVE).mean(0)
    return share


def measure_sparsity(
    model: Model,
    batches: Iterable[Mapping[str, Any]] = (),
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> dict[str, LayerSparsity]:
    """Every Convolution with a Scale behind it, or a ReLU where there is data; by name.

    batches: {blob: values} each; the activations are those behind the ReLU, in TEST.
    """
    net = _net(model, input_shapes, folder)
    ends = {node.name: _ends(net, node) for node in net.graph.nodes if node.param.type == "Convolution"}
    seen: dict[str, list[Array]] = {name: [] for name in ends}
    for batch in in_steps("running batches", batches, lambda _: ""):
        with torch.no_grad():
            blobs = net.eval().blobs(**batch)
        for name, (_, blob) in ends.items():
            if blob is not None:
                seen[name].append(pooled(blobs[blob].numpy()))
    found = {}
    for name, (scale, _) in ends.items():
        filters = len(model.weights[name][0])
        gamma = None if scale is None else np.asarray(model.weights[scale][0])
        largest = np.concatenate(seen[name]) if seen[name] else None
        found[name] = LayerSparsity(
            filters,
            None if gamma is None else int((~active_by_scale(gamma)).sum()),
            None if largest is None else int((~active_by_activation(largest)).sum()),
            None if largest is None else universality(largest),
        )
    return found


def prune_and_fuse(
    model: Model,
    threshold: float = SCALE,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> Model:
    """`model` without the filters whose |gamma| is at most `threshold`, BatchNorm and Scale in the convolutions.

    DataError where no convolution has a BatchNorm and a Scale behind it.
    """
    net = _net(model, input_shapes, folder)
    ends = {node.name: _ends(net, node)[0] for node in net.graph.nodes if node.param.type == "Convolution"}
    scales = {name: scale for name, scale in ends.items() if scale is not None}
    if not scales:
        raise DataError(f"net '{model.net.name}': no Convolution has a Scale behind it, by which to tell its filters")
    coupled = couple(model, input_shapes, folder)
    removed = {}
    for number, each in enumerate(coupled.channels.classes):
        followers = [a for a in each.followers if a.layer in scales.values() and a.blob == 0]
        if not each.narrowable or not followers:
            continue
        active = np.zeros(each.size, bool)
        for axis in followers:
            gamma = np.asarray(model.weights[axis.layer][0])
            active |= [bool(active_by_scale(gamma[list(axis.indices(k))], threshold).any()) for k in range(each.size)]
        if not active.all() and active.any():
            removed[number] = np.flatnonzero(~active).tolist()
    small = narrow_classes(model, coupled, removed, input_shapes, fold=False, folder=folder).model
    return fuse_normalization(small, scales)


def fuse_normalization(model: Model, scales: Mapping[str, str]) -> Model:
    """`model` with the BatchNorm and Scale behind each convolution, {convolution: Scale}, in its weights and bias."""
    net = NetParameter()
    net.CopyFrom(model.net)
    weights = dict(model.weights)
    layers = {layer.name: layer for layer in net.layer}
    gone: dict[str, str] = {}  # a top that no layer makes any more -> what stands for it
    for name, scale in scales.items():
        conv, last = layers[name], layers[scale]
        norm = next((each for each in net.layer if each.type == "BatchNorm" and each.top[0] == last.bottom[0]), None)
        blobs = [np.asarray(blob, np.float64) for blob in weights[name]]
        filters = len(blobs[0])
        gamma, *shift = (np.asarray(blob, np.float64) for blob in weights[scale])
        beta = shift[0] if shift else np.zeros(filters)
        mean, spread = np.zeros(filters), np.ones(filters)
        if norm is not None:
            stored = [np.asarray(blob, np.float64) for blob in weights[norm.name]]
            factor = stored[2][0] if stored[2][0] else 1.0
            mean, spread = stored[0] / factor, np.sqrt(stored[1] / factor + norm.batch_norm_param.eps)
        bias = blobs[1] if len(blobs) > 1 else np.zeros(filters)
        factor_of = gamma / spread
        fused = blobs[0] * factor_of.reshape(-1, *[1] * (blobs[0].ndim - 1))
        conv.convolution_param.bias_term = True
        dtype = np.asarray(weights[name][0]).dtype
        weights[name] = (fused.astype(dtype), ((bias - mean) * factor_of + beta).astype(dtype))
        for each in filter(None, (norm, last)):
            if each.top[0] != each.bottom[0]:
                gone[each.top[0]] = each.bottom[0]
            net.layer.remove(each)
            weights.pop(each.name)
    for layer in net.layer:
        for place, bottom in enumerate(layer.bottom):
            while bottom in gone:
                bottom = gone[bottom]
            layer.bottom[place] = bottom
    return Model(net, weights)


def _net(model: Model, input_shapes: Mapping[str, Shape] | None, folder: Path | None) -> Net:
    """The TEST net with the model's weights, of shapes as the message tells them where its data is not here.

    WeightsError where a layer has none.
    """
    missing = [name for name in without_weights(model, "TEST") if name not in model.weights]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise WeightsError(f"net '{model.net.name}' has no weights for {shown}{only_there(model)}; give their file")
    (shapes,) = common_shapes([model], "TEST", input_shapes or {}, folders=[folder])
    return Net(model, "TEST", input_shapes=shapes or None, folder=folder)


def _ends(net: Net, node: Any) -> tuple[str | None, str | None]:
    """The Scale behind a convolution, with BatchNorm alone between, and the blob behind the ReLU after that."""
    readers: dict[Any, list[Any]] = {}
    for each in net.graph.nodes:
        for bottom in each.bottoms:
            readers.setdefault(bottom, []).append(each)
    blob, scale = node.tops[0], None
    while True:
        behind = readers.get(blob, [])
        if len(behind) != 1 or behind[0].param.type not in ("BatchNorm", "Scale", "ReLU"):
            return scale, None
        if behind[0].param.type == "ReLU":
            return scale, behind[0].tops[0].name
        if behind[0].param.type == "Scale":
            scale = behind[0].name
        blob = behind[0].tops[0]
