"""Layers that learn, and for which a model has no weights: they start as their fillers say."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterable
from typing import Any

from caffe_compat.errors import UnsupportedLayerError, WeightsError
from caffe_compat.graph.rules import net_state, partition
from caffe_compat.layers.base import Layer
from caffe_compat.layers.registry import layer_class
from caffe_compat.net.weights import LoadReport
from caffe_compat.proto.model import Model

logger = logging.getLogger(__name__)


def missing_weights(
    model: Model, phase: str | None = None, level: int = 0, stages: Iterable[str] = ()
) -> tuple[str, ...]:
    """The layers with blobs for which `model` has no weights, in order; none where it was read without any weights.

    phase: "TRAIN" or "TEST" for the layers that its rules include; by default all. A layer that shares its blobs with
    one that has them lacks nothing.
    """
    return without_weights(model, phase, level, stages) if model.weights or model.files else ()


def without_weights(
    model: Model, phase: str | None = None, level: int = 0, stages: Iterable[str] = ()
) -> tuple[str, ...]:
    """As `missing_weights`; of a model that was read without any weights all layers with blobs."""
    layers = list(model.net.layer)
    if phase is not None:
        layers = partition(layers, net_state(model.net, phase, level, stages))[0]
    shared = {spec.name for layer in model.net.layer if layer.name in model.weights for spec in layer.param}
    found = dict.fromkeys(layer.name for layer in layers if has_blobs(layer) and not _is_shared(layer, shared - {""}))
    return tuple(name for name in found if name not in model.weights)


def refuse_missing(model: Model, allowed: Collection[str] = (), phase: str | None = None) -> None:
    """WeightsError that names the layers, but for those `allowed`, that the given weights lack; see missing_weights."""
    known = {layer.name for layer in model.net.layer}
    for name in allowed:
        if name not in known:
            raise WeightsError(f"--allow-missing {name}: net '{model.net.name}' has no such layer")
    names = [name for name in missing_weights(model, phase) if name not in allowed]
    if names:
        shown = " and ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" * (len(names) > 3))
        raise WeightsError(
            f"{', '.join(model.files) or 'the weights'}: nothing for layer {shown}{only_there(model)}; give the "
            f"weights of this net, or let them start from their fillers: --allow-missing {','.join(names)}"
        )


def log_missing(model: Model) -> None:
    """Log a warning that names the layers for which `model` has no weights, though it has others."""
    names = missing_weights(model)
    if names:
        logger.warning("%s %s%s", no_weights(model), ", ".join(f"'{name}'" for name in names), only_there(model))


def warn_of_missing(net: Any, model: Model, report: LoadReport) -> None:
    """Log a warning that names the layers of a Net that kept their fillers although weights were given."""
    if not (model.weights or model.files):
        return
    filled = {id(blob) for name in report.copied for blob in net.layers[name].blobs}
    names = [name for name in report.missing if any(id(blob) not in filled for blob in net.layers[name].blobs)]
    if names:
        shown = ", ".join(f"'{name}'" for name in names)
        logger.warning("%s %s; kept as initialised%s", no_weights(model), shown, only_there(model))


def no_weights(model: Model) -> str:
    """How a message begins that names the layers which `model` has no weights for."""
    return f"No weights in {', '.join(model.files)} for" if model.files else "No weights for"


def only_there(model: Model) -> str:
    """What the files have that the net lacks, in brackets: the missing layers may be among it by another name."""
    if not model.ignored:
        return ""
    names = ", ".join(f"'{name}'" for name in model.ignored[:3])
    more = f" and {len(model.ignored) - 3} more" if len(model.ignored) > 3 else ""
    return f" (there are weights for {names}{more}, which the net lacks)"


def has_blobs(layer: Any) -> bool:
    """Whether the layer of a message has learnable blobs, as far as its class tells; of a Python layer it does not."""
    if layer.type in ("Scale", "Bias") and len(layer.bottom) > 1:
        return layer.type == "Scale" and bool(layer.scale_param.bias_term)
    try:
        return layer.type != "Python" and _makes_blobs(layer_class(layer))
    except UnsupportedLayerError:
        return False


def _makes_blobs(kind: type[Layer]) -> bool:
    """Whether any method of a layer's class adds blobs."""
    own = [each for each in kind.__mro__ if issubclass(each, Layer) and each is not Layer]
    methods = [value for each in own for value in vars(each).values() if inspect.isfunction(value)]
    return any("add_blob" in method.__code__.co_names for method in methods)


def _is_shared(layer: Any, names: set[str]) -> bool:
    return bool(layer.param) and all(spec.name in names for spec in layer.param)
