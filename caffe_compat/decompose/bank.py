"""Filter banks: the weights of a Convolution or InnerProduct as one array with a row for every filter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.errors import RankError, WeightsError
from caffe_compat.proto.model import Model
from caffe_compat.showing import nearest

KINDS = ("Convolution", "InnerProduct")


@dataclass(frozen=True)
class FilterBank:
    """The filters of one layer.

    weight: [filters, channels / group, *kernel] of a Convolution, [outputs, inputs] of an InnerProduct (one with
    `transpose` is turned round here). bias: [filters], or None. group: how many parts of the filters, each of which
    reads its own part of the channels.
    """

    layer: str
    weight: np.ndarray
    bias: np.ndarray | None
    group: int = 1

    @property
    def largest_rank(self) -> int:
        """The largest rank over all groups: no group's matrix of filters has more than its shorter side."""
        filters, values = len(self.weight), math.prod(self.weight.shape[1:])
        return self.group * min(filters // self.group, values)


def layer_fields(layer: Any) -> Any:
    """The ConvolutionParameter or InnerProductParameter of a layer of one of the KINDS."""
    return layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param


def read_bank(model: Model, layer: Any) -> FilterBank:
    """The filter bank of `layer`, a message of `model.net`.

    Raises RankError for a layer of another type, WeightsError for weights that are missing, that do not fit
    num_output and group, or that are not finite.
    """
    if layer.type not in KINDS:
        raise RankError(f"layer '{layer.name}' is a {layer.type}; only {' and '.join(KINDS)} layers can be decomposed")
    fields = layer_fields(layer)
    blobs = stored_blobs(model, layer)
    wanted = 2 if fields.bias_term else 1
    if len(blobs) < wanted:
        raise WeightsError(
            f"layer '{layer.name}' has {len(blobs)} of {wanted} blobs; read the model with the weights of this net"
        )
    weight = np.asarray(blobs[0])
    group = fields.group if layer.type == "Convolution" else 1
    if layer.type == "InnerProduct":
        weight = weight.reshape(weight.shape[-2:])
        weight = weight.T if fields.transpose else weight
    if len(weight) != fields.num_output or group < 1 or len(weight) % group:
        raise WeightsError(
            f"layer '{layer.name}': blob 0 is {np.shape(blobs[0])}, which does not fit num_output {fields.num_output}"
            f" and group {group}; read the weights that belong to this net"
        )
    bias = np.asarray(blobs[1]).reshape(-1) if fields.bias_term else None
    for index, values in enumerate((weight, bias)):
        if values is not None and not np.isfinite(values).all():
            raise WeightsError(
                f"layer '{layer.name}': blob {index} has values that are not finite; nothing can be kept of it"
            )
    return FilterBank(layer.name, weight, bias, group)


def stored_blobs(model: Model, layer: Any) -> tuple[np.ndarray, ...]:
    """The blobs stored for `layer`; those it shares by name are taken from their owner when only the owner has them."""
    stored = model.weights.get(layer.name, ())
    if stored:
        return stored
    return tuple(blob for index in range(len(layer.param)) for blob in _shared_blob(model, layer.param[index].name))


def _shared_blob(model: Model, name: str) -> tuple[np.ndarray, ...]:
    for other in model.net.layer if name else ():
        for index, spec in enumerate(other.param):
            if spec.name == name and index < len(model.weights.get(other.name, ())):
                return (model.weights[other.name][index],)
    return ()


def has_filters(layer: Any) -> bool:
    """Whether a message is of one of the KINDS; of layers of one name only such a one can be decomposed."""
    return layer.type in KINDS


def find_layer(model: Model, name: str) -> Any:
    """The layer of `name`, of several one that has filters; RankError with the nearest name where there is none."""
    found = [layer for layer in model.net.layer if layer.name == name]
    if not found:
        hint = nearest(name, (layer.name for layer in model.net.layer if has_filters(layer)))
        raise RankError(f"ranks name layer '{name}', which is not in the net; {hint}")
    return next(filter(has_filters, found), found[0])


def banks(model: Model, inner_product: bool = False) -> dict[str, FilterBank]:
    """Every bank that can be decomposed, in the net's order: Convolutions, and with `inner_product` InnerProducts.

    A layer whose groups have one filter each (depthwise, or a single output) has nothing to share and is left out.
    """
    kinds = KINDS if inner_product else KINDS[:1]
    found = {layer.name: read_bank(model, layer) for layer in model.net.layer if layer.type in kinds}
    return {name: bank for name, bank in found.items() if len(bank.weight) > bank.group}
