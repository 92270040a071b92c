"""What a check finds in the learnable blobs of a net: in the weights for them, and between its phases and layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caffe_compat.export.pitfalls import odd_values
from caffe_compat.layers.base import Layer
from caffe_compat.net.weights import misfits
from caffe_compat.proto.model import Model

Fault = tuple[str, str, str]
"""The layer, the kind of problem, what is wrong."""


def weight_faults(model: Model, phases: Sequence[Sequence[Layer]], files: Sequence[str]) -> Iterator[Fault]:
    """All that is wrong with blobs. phases: the layers of each that could be set up. files: where weights came from."""
    layers: dict[str, Layer] = {}
    for layer in (layer for each in phases for layer in each):
        if layer.name not in layers or not len(layers[layer.name].blobs):  # of one name, weights go where blobs are
            layers[layer.name] = layer
    for each in phases:
        yield from _named_twice(each)
    yield from _unlike(phases)
    if model.weights:
        unmerged = _unmerged(model, layers, files)
        yield from unmerged
        yield from _misfitting(model, layers, bool(unmerged))
    elif any(len(layer.blobs) for layer in layers.values()):
        for file in files:
            yield "", "weights", f"{file} holds no weights: it is a net alone, or what wrote it was stopped"


def shared_parameters(net: Any) -> dict[str, list[str]]:
    """Parameter name -> 'layer' blob index of every user, of those that have more than one layer."""
    users: dict[str, dict[str, None]] = {}
    for layer in net.layer:
        for index, spec in enumerate(layer.param):
            if spec.name:
                users.setdefault(spec.name, {})[f"blob {index} of '{layer.name}'"] = None
    return {name: list(each) for name, each in users.items() if len(each) > 1}


def _named_twice(layers: Sequence[Layer]) -> Iterator[Fault]:
    seen: set[str] = set()
    for layer in layers:
        if not len(layer.blobs):
            continue
        if layer.name in seen:
            message = f"two layers are named '{layer.name}'; blobs are kept by layer name, so rename one"
            yield layer.name, "name", message
        seen.add(layer.name)


def _unlike(phases: Sequence[Sequence[Layer]]) -> Iterator[Fault]:
    """Layers whose blobs differ between TRAIN and TEST: the test net of a solver takes those of its training net."""
    if len(phases) < 2:
        return
    train, test = ({layer.name: layer for layer in each if len(layer.blobs)} for each in phases[:2])
    for name in train.keys() & test.keys():
        for index, (ours, theirs) in enumerate(zip(train[name].blob_shapes, test[name].blob_shapes, strict=False)):
            if ours != theirs:
                found = f"blob {index} is {ours} in TRAIN and {theirs} in TEST"
                yield name, "shape", f"layer '{name}': {found}, which takes it from there"


def _unmerged(model: Model, layers: Mapping[str, Layer], files: Sequence[str]) -> list[Fault]:
    """Weights with BatchNorms for a net that has none in their place: one in which they were folded away."""
    used = [name for name in model.weights if name in layers]
    norms = [name for name, blobs in model.weights.items() if name not in layers and _is_norm(blobs)]
    known = {layer.name for layer in model.net.layer}
    norms = [name for name in norms if name not in known]
    if not used or not norms:
        return []
    more = f" and {len(norms) - 1} more" if len(norms) > 1 else ""
    file = files[0] if files else "WEIGHTS"
    return [
        (
            "",
            "weights",
            f"the weights are those before BatchNorm was folded into its neighbours: they have '{norms[0]}'{more}, "
            f"the net has not; fold them: caffe-compat deploy TRAINED_NET --weights {file} --merge-bn "
            "--out merged.prototxt --out-weights merged.caffemodel",
        )
    ]


def _is_norm(blobs: Sequence[Any]) -> bool:
    """Whether blobs are those of a BatchNorm: mean, variance, factor, and in forks scale and shift; or four of BN."""
    shapes = [blob.shape for blob in blobs]
    if len(shapes) == 4:
        return len(set(shapes)) == 1 and len(shapes[0]) == 4 and max(shapes[0]) == blobs[0].size
    if len(shapes) not in (3, 5) or blobs[2].size != 1:
        return False
    return len({*shapes[:2], *shapes[3:]}) == 1 and max(shapes[0], default=0) == blobs[0].size


def _misfitting(model: Model, layers: Mapping[str, Layer], unmerged: bool) -> Iterator[Fault]:
    for name, layer in layers.items():
        if len(layer.blobs) and name not in model.weights:
            yield name, "weights", f"layer '{name}': has no weights; its {len(layer.blobs)} blobs keep their fillers"
    for name, blobs in model.weights.items():
        lacks_bias = name in layers and (len(blobs), len(layers[name].blobs)) == (1, 2)
        if name in layers and not (unmerged and lacks_bias):
            for misfit in misfits(layers[name], [blob.shape for blob in blobs]):
                yield name, "weights", misfit
    types = {layer.name: layer for layer in model.net.layer} | {name: each.param for name, each in layers.items()}
    for name, blobs in model.weights.items():
        for message in odd_values(types.get(name) or type(model.net)().layer.add(name=name), blobs):
            yield name, "values", message
