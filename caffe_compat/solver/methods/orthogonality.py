"""OrthoReg and OCNN as the fields of a solver and a net ask for them: which layers, which side, how strongly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import FILTER_BANKS, siblings_of
from caffe_compat.solver.methods.method import Entry, Method, Step, acting, read_config
from caffe_compat.solver.regularizers.ocnn import PADDINGS, ConvTerm, ocnn, ocnn_penalty
from caffe_compat.solver.regularizers.ortho import OrthoTerm, ortho, ortho_penalty
from caffe_compat.solver.words import finite, one_of

TYPES = ("OrthoReg", "OCNN")
RULES = ("vgg", "resnet", "mobilenet")
LAYER_WEIGHTS = ("sqrt", "none")
_SIDES = ("auto", "rows", "columns")


@dataclass(frozen=True)
class OrthoConfig:
    """The fields ortho_decay, ortho_type, ortho_rule, ortho_layer_weight, ortho_squared and ortho_padding."""

    decay: float
    type: str
    rule: str
    layer_weight: str
    squared: bool
    padding: str


def read_ortho(param: Any) -> OrthoConfig | None:
    """The settings of the SolverParameter `param`; None where ortho_decay is 0."""
    config = read_config(OrthoConfig, param, "ortho_")
    finite("ortho_decay", config.decay)
    one_of("ortho_type", config.type, TYPES)
    one_of("ortho_rule", config.rule, RULES)
    one_of("ortho_layer_weight", config.layer_weight, LAYER_WEIGHTS)
    one_of("ortho_padding", config.padding, PADDINGS)
    return config if config.decay else None


class OrthoReg(Method):
    """The penalty of solver/regularizers/ortho.py on every weight with an ortho_mult.

    ortho_rule has the authors' sides and sizes n_l, of which ortho_layer_weight "sqrt" makes
    a_l = sqrt(n_l) / sum sqrt(n); "none" makes every a_l 1. ortho_side of a param comes before the rule.

    vgg        rows, the first layer columns; n is the number of filters
    resnet     rows, the first layer and 1 x 1 convolutions columns; n is the smaller side, of the first layer the
               filters; a shortcut counts with its own n, but takes the a of the convolution that reads the same blob
    mobilenet  columns; n is the number of filters, of a 1 x 1 convolution that of its inputs
    """

    title = "OrthoReg"
    kind = "spreads"

    def __init__(self, config: OrthoConfig, net: Net) -> None:
        self.terms = list(_ortho_terms(config, net))

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(index for term in self.terms for index in (term.weight, term.bias) if index is not None)

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        ortho(step.weights, gradients, self.terms)

    def penalty(self, weights: list[Tensor]) -> float:
        return ortho_penalty(weights, self.terms)


class OrthogonalConvolution(Method):
    """The penalty of solver/regularizers/ocnn.py on every weight with an ortho_mult.

    ortho_side "columns" asks for the input side.
    """

    title = "OCNN"
    kind = "spreads"

    def __init__(self, config: OrthoConfig, net: Net) -> None:
        self._squared = config.squared
        self.terms = [_conv_term(config, net, index, spec) for index, spec in _chosen(config, net).items()]

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(term.index for term in self.terms)

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        ocnn(step.weights, gradients, self.terms, self._squared)

    def penalty(self, weights: list[Tensor]) -> float:
        return ocnn_penalty(weights, self.terms, self._squared)


def _chosen(config: OrthoConfig, net: Net) -> dict[int, Any]:
    """Number of a parameter -> its ParamSpec, of those with an ortho_mult; SolverError where there are none."""
    chosen = {}
    for index, param, spec in acting(net, "ortho_mult", "ortho_decay"):
        where = f"layer '{param.layer}': ortho_mult"
        finite(where, spec.ortho_mult)
        one_of(f"layer '{param.layer}': ortho_side", spec.ortho_side, _SIDES)
        if net.layers[param.layer].param.type not in FILTER_BANKS or param.tensor.dim() < 2:
            raise SolverError(
                f"{where} is {spec.ortho_mult:g}, but blob {param.users[0][1]} is no filter bank: it has the shape "
                f"{tuple(param.tensor.shape)}; give it to the weights of a Convolution or InnerProduct"
            )
        chosen[index] = spec
    return chosen


def _ortho_terms(config: OrthoConfig, net: Net) -> list[OrthoTerm]:
    chosen = _chosen(config, net)
    layers = {index: net.learnable_params[index].layer for index in chosen}
    first = min(chosen)
    shapes = {index: tuple(net.learnable_params[index].tensor.shape) for index in chosen}
    sizes = {index: _size(config.rule, shapes[index], index == first) for index in chosen}
    total = sum(math.sqrt(size) for size in sizes.values())
    siblings = siblings_of(net, layers) if config.rule == "resnet" else {}
    terms = []
    for index, spec in chosen.items():
        counted = siblings.get(index, index)
        share = math.sqrt(sizes[counted]) / total if config.layer_weight == "sqrt" else 1.0
        side = spec.ortho_side if spec.ortho_side != "auto" else _side(config.rule, shapes[index], index == first)
        terms.append(OrthoTerm(index, _bias(net, index), side, config.decay * spec.ortho_mult * share))
    return terms


def _side(rule: str, shape: tuple[int, ...], is_first: bool) -> str:
    columns = is_first or rule == "mobilenet" or (rule == "resnet" and math.prod(shape[2:]) == 1)
    return "columns" if columns else "rows"


def _size(rule: str, shape: tuple[int, ...], is_first: bool) -> int:
    if rule == "vgg" or is_first:
        return shape[0]
    if rule == "mobilenet":
        return shape[1] if math.prod(shape[2:]) == 1 else shape[0]
    return min(shape[0], math.prod(shape[1:]))


def _bias(net: Net, index: int) -> int | None:
    """The number of the bias that is one more column of the filters of parameter `index`; None for none."""
    name = net.learnable_params[index].layer
    if not net.layers[name].param.ortho_bias:
        return None
    for place, param in enumerate(net.learnable_params):
        if (name, 1) in param.users:
            return place
    raise SolverError(f"layer '{name}' has ortho_bias, but no bias; remove it, or set bias_term")


def _conv_term(config: OrthoConfig, net: Net, index: int, spec: Any) -> ConvTerm:
    param = net.learnable_params[index]
    layer: Any = net.layers[param.layer]
    shape = tuple(param.tensor.shape)
    factor = config.decay * spec.ortho_mult
    if layer.param.type == "InnerProduct":
        return ConvTerm(index, factor=factor)
    stride, group = tuple(layer.windows.stride), layer.group
    if spec.ortho_side == "columns":
        if len(shape) != 4 or shape[2] != shape[3] or stride[0] != stride[1] or stride[0] >= shape[2] or group != 1:
            raise SolverError(
                f"layer '{layer.name}': ortho_side is 'columns', which OCNN has for square kernels larger than their "
                f"stride and for group 1; found kernel {shape[2:]}, stride {stride}, group {group}"
            )
        return ConvTerm(index, stride, column=True, factor=factor)
    if math.prod(shape[2:]) == 1 and group == 1:
        return ConvTerm(index, factor=factor)
    if len(shape) != 4:
        raise SolverError(f"layer '{layer.name}': OCNN needs kernels of two axes; found {shape[2:]}")
    return ConvTerm(index, stride, group, config.padding, factor=factor)


FIELDS = (
    "ortho_decay", "ortho_type", "ortho_rule", "ortho_layer_weight", "ortho_squared", "ortho_padding",
    "param { ortho_mult ortho_side }", "ortho_bias",
)  # fmt: skip


def _build(config: OrthoConfig, net: Net) -> Method:
    return OrthoReg(config, net) if config.type == "OrthoReg" else OrthogonalConvolution(config, net)


ENTRIES = (
    Entry(
        "OrthoReg",
        "filters as vectors become orthonormal",
        "EkdeepSLubana/OrthoReg 869f049",
        FIELDS,
        read_ortho,
        OrthoConfig,
        _build,
    ),
    Entry(
        "OCNN",
        "convolutions as whole maps become orthogonal",
        "samaonline/Orthogonal-Convolutional-Neural-Networks aa7f569",
        FIELDS,
        read_ortho,
        OrthoConfig,
        _build,
    ),
)
