"""One layer -> its chain, in message and weights.

Given:                                              Result (pca, svd, kmeans at rank 13):
    layer {                                             layer {
      name: "conv1"                                       name: "conv1_lowrank"
      type: "Convolution"                                 type: "Convolution"
      bottom: "data"                                      bottom: "data"
      top: "conv1"                                        top: "conv1_lowrank"
      convolution_param {                                 convolution_param {
        num_output: 32                                      num_output: 13
        pad: 2                                              bias_term: false
        kernel_size: 5                                      pad: 2
      }                                                     kernel_size: 5
    }                                                     }
                                                        }
                                                        layer {
                                                          name: "conv1_linear"
                                                          type: "Convolution"
                                                          bottom: "conv1_lowrank"
                                                          top: "conv1"
                                                          convolution_param {
                                                            num_output: 32
                                                            pad: 0
                                                            kernel_size: 1
                                                          }
                                                        }
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.decompose.bank import find_layer, has_filters, layer_fields, read_bank
from caffe_compat.decompose.directions import Rank
from caffe_compat.decompose.factorize import METHODS, Factorization, factorize
from caffe_compat.decompose.ranks import as_rank
from caffe_compat.decompose.window import clear_window, keep_axis, read_window, spell_out, spell_out_layers
from caffe_compat.errors import GraphError, RankError
from caffe_compat.net.missing import log_missing
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, Weights, as_model
from caffe_compat.proto.schema import NetParameter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Link:
    """One layer of a chain: what its name ends in, and the axes of the window that it keeps (both, one, or none)."""

    suffix: str
    axes: tuple[int, ...] = ()
    zero_bias: bool = False  # a bias that stays zero, as the fork's lowrank_approx gives its vertical layers


BOTH = (0, 1)
LOWRANK = (Link("lowrank", BOTH), Link("linear"))
CHAINS: dict[str, tuple[Link, ...]] = {
    "pca": LOWRANK,
    "svd": LOWRANK,
    "kmeans": LOWRANK,
    "separable": (Link("v", (0,), zero_bias=True), Link("h", (1,))),
    "tucker": (Link("in"), Link("core", BOTH), Link("out")),
    "cp": (Link("in"), Link("v", (0,)), Link("h", (1,)), Link("out")),
}


def decompose(model: ModelLike, ranks: Mapping[str, Rank], method: str | Mapping[str, str] = "pca") -> Model:
    """The model with every layer that `ranks` names replaced by its chain; `model` is left as it is.

    ranks: {layer: rank over all groups}, for "tucker" {layer: (inputs, outputs)}; a rank is rounded down to a multiple
    of the groups. method: one of METHODS for all layers, or {layer: method}, "pca" where a layer is not named.
    Raises RankError for a layer that is not there, cannot be decomposed, or does not take its rank; WeightsError for
    weights that are missing or not finite; GraphError for names that are taken.
    """
    model = as_model(model)
    methods = {name: method if isinstance(method, str) else method.get(name, "pca") for name in ranks}
    for name in method if not isinstance(method, str) else ():
        find_layer(model, name)
    names = in_steps("factorizing", ranks)
    chains = {name: _factorize_layer(model, name, ranks[name], methods[name]) for name in names}
    log_missing(model)
    return replace_layers(model, chains, {name: CHAINS[method] for name, method in methods.items()})


def replace_layers(
    model: Model,
    chains: Mapping[str, Factorization],
    links: Mapping[str, Sequence[Link]],
    biases: Mapping[str, np.ndarray] | None = None,
) -> Model:
    """The model with the layers of `chains` made of the given factors, links and, where other than their own, biases.

    Raises RankError where a weight that layers share would differ, GraphError for names that are taken.
    """
    _check_shared(model, chains)
    net = NetParameter()
    net.CopyFrom(model.net)
    net.ClearField("layer")
    weights = {name: blobs for name, blobs in model.weights.items() if name not in chains}
    taken = {layer.name for layer in model.net.layer}, {top for layer in model.net.layer for top in layer.top}
    for layer in model.net.layer:
        parts = [layer]
        if layer.name in chains and has_filters(layer):
            parts = chain_layers(layer, chains[layer.name], links[layer.name])
            _check_names(layer, parts, *taken)
            own = read_bank(model, layer).bias
            bias = own if own is None or biases is None else biases.get(layer.name, own)
            weights.update(_chain_blobs(parts, bias, chains[layer.name]))
        net.layer.extend(parts)
    spell_out_layers(net)
    return Model(net, weights, files=model.files, ignored=model.ignored, pixels=model.pixels, folder=model.folder)


def _factorize_layer(model: Model, name: str, rank: Rank, method: str) -> Factorization:
    layer = find_layer(model, name)
    bank = read_bank(model, layer)
    if method not in METHODS:
        raise RankError(f"layer '{name}': method is '{method}'; known: {', '.join(METHODS)}")
    if layer.type == "InnerProduct" and CHAINS[method] is not LOWRANK:
        raise RankError(f"layer '{name}' is an InnerProduct, which method '{method}' cannot decompose; take pca or svd")
    if len(bank.weight) == bank.group:
        raise RankError(f"layer '{name}' has one filter in each of its {bank.group} groups; it has nothing to share")
    rank = as_rank(rank, f"layer '{name}'")
    shares = rank if isinstance(rank, tuple) else (rank,)
    if any(share % bank.group for share in shares):
        log.warning("layer '%s': rank %s is rounded down to a multiple of its %d groups", name, rank, bank.group)
    try:
        made = factorize(bank.weight, rank, method, bank.group)
    except RankError as error:
        raise RankError(f"layer '{name}': {error}") from error
    if sum(factor.size for factor in made.factors) >= bank.weight.size:
        told = "layer '%s': its chain at rank %s costs at least as much as the layer itself; without a rank, "
        log.warning(told + "or among --except-layers, it stays as it is", name, rank)
    return made


def chain_layers(layer: Any, factorization: Factorization, links: Sequence[Link]) -> list[Any]:
    """The messages of the chain that stands for `layer`: links one after the other, the bias with the last.

    The last link keeps the tops and all param specs; the others keep the spec of the weight, and so its multipliers.
    Names of shared parameters end in the link's suffix.
    """
    parts: list[Any] = []
    for position, (link, factor) in enumerate(zip(links, factorization.factors, strict=True)):
        part = type(layer)()
        part.CopyFrom(layer)
        part.name = f"{layer.name}_{link.suffix}"
        if position > 0:
            part.ClearField("propagate_down")
            part.ClearField("bottom")
            part.bottom.extend(parts[-1].top)
        if position < len(links) - 1:
            part.ClearField("loss_weight")
            part.ClearField("top")
            part.top.extend(f"{top}_{link.suffix}" for top in layer.top)
            _drop_bias(part, link.zero_bias)
        _resize(part, factor, link, factorization.factors[position - 1] if position else None)
        if part.param and part.param[0].name:
            part.param[0].name = f"{part.param[0].name}_{link.suffix}"
        parts.append(part)
    return parts


def _drop_bias(part: Any, zero_bias: bool) -> None:
    fields = layer_fields(part)
    if zero_bias and fields.bias_term:
        while len(part.param) < 2:
            part.param.add()
        part.param[1].Clear()
        part.param[1].lr_mult = part.param[1].decay_mult = 0
        return
    fields.bias_term = False
    fields.ClearField("bias_filler")
    del part.param[1:]


def _resize(part: Any, factor: np.ndarray, link: Link, before: np.ndarray | None) -> None:
    """Give `part`, a copy of the whole layer, the size of its factor and its share of the window."""
    fields = layer_fields(part)
    fields.num_output = len(factor)
    if part.type == "InnerProduct":
        if before is not None and fields.axis < 0:
            fields.axis = -1  # the link before has made one axis of all from `axis` on
        return
    if not link.axes:
        clear_window(fields)
    elif link.axes == BOTH and factor.ndim == 4:
        spell_out(fields, read_window(fields, 2, part.name))
    elif link.axes != BOTH:
        keep_axis(fields, read_window(fields, 2, part.name), link.axes[0])
    if before is not None and len(before) // factor.shape[1] != fields.group:
        fields.group = len(before) // factor.shape[1]


def _chain_blobs(parts: Sequence[Any], bias: np.ndarray | None, factorization: Factorization) -> Weights:
    blobs: Weights = {}
    for part, factor in zip(parts, factorization.factors, strict=True):
        fields = layer_fields(part)
        turned = part.type == "InnerProduct" and fields.transpose
        weight = np.ascontiguousarray(factor.T if turned else factor)
        added = bias if part is parts[-1] else np.zeros(len(factor), factor.dtype)
        blobs[part.name] = (weight, added) if fields.bias_term and added is not None else (weight,)
    return blobs


def _check_shared(model: Model, chains: Mapping[str, Factorization]) -> None:
    """A shared weight must be decomposed in all its layers at one rank, or in none."""
    owners: dict[str, Any] = {}
    for layer in model.net.layer:
        name = layer.param[0].name if layer.param else ""
        owner = owners.setdefault(name, layer) if name else layer
        shapes = [
            [f.shape for f in chains[each].factors] if each in chains else None for each in (owner.name, layer.name)
        ]
        if shapes[0] != shapes[1]:
            raise RankError(
                f"layers '{owner.name}' and '{layer.name}' share weight '{name}'; give both one rank, or none"
            )


def _check_names(layer: Any, parts: Sequence[Any], layers: set[str], blobs: set[str]) -> None:
    """GraphError where a name that the chain needs is already that of one of the net's `layers` or `blobs`."""
    in_place = set(layer.bottom) & set(layer.top)
    if in_place:
        raise GraphError(
            f"layer '{layer.name}' has top '{in_place.pop()}' for its bottom too; give the top another name"
        )
    for part in parts:
        made = set(part.top) - set(layer.top)
        for what, taken in (("layer", layers & {part.name}), ("blob", blobs & made)):
            if taken:
                name = taken.pop()
                raise GraphError(
                    f"layer '{layer.name}': its chain needs the {what} name '{name}', which is taken; "
                    f"rename that {what}"
                )
