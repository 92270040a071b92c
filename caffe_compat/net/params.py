"""The learnable blobs of a net in Caffe's order: who owns and who shares them, and their multipliers (AppendParam)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from caffe_compat.errors import CaffeCompatError, GraphError, ShapeError
from caffe_compat.layers.base import Layer
from caffe_compat.proto.schema import ParamSpec

logger = logging.getLogger(__name__)

MULTIPLIERS = ("lr_mult", "decay_mult", "force_mult")


@dataclass(frozen=True, eq=False)
class LearnableParam:
    """One blob that the solver updates.

    tensor: float32, in its owner's shape; its `grad` is None where no gradient reached it, which counts as zeros.
    users: (layer name, blob index) of every layer that uses it, the owner first.
    lr_mult, decay_mult, force_mult: what the solver multiplies its learning rate, weight decay and force decay with.
    """

    tensor: nn.Parameter
    users: tuple[tuple[str, int], ...]
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    force_mult: float = 0.0

    @property
    def layer(self) -> str:
        """The name of the layer that owns it."""
        return self.users[0][0]


OnFault = Callable[[str, CaffeCompatError], None]


def learnable_params(
    layers: Sequence[Layer], force_backward: bool = False, on_fault: OnFault | None = None
) -> list[LearnableParam]:
    """Every blob of `layers` once, in the order of the layers; blobs whose `param` names agree become one.

    The first layer that gives a name owns the blob, the others keep their own view of its shape. A blob of which every
    user has lr_mult 0 gets no gradient, unless the net says force_backward. GraphError for more param entries than
    blobs and for multipliers that differ; ShapeError for shapes that do not fit. With `on_fault` it gets the layer's
    name and the error instead, and the rest is gone through without that layer's later blobs.
    """
    params: list[LearnableParam] = []
    explicit: list[set[str]] = []
    named: dict[str, int] = {}
    for layer in layers:
        try:
            _add_params(layer, params, explicit, named, force_backward)
        except (GraphError, ShapeError) as error:
            if on_fault is None:
                raise
            on_fault(layer.name, error)
    return params


def _add_params(
    layer: Layer, params: list[LearnableParam], explicit: list[set[str]], named: dict[str, int], force_backward: bool
) -> None:
    for index, spec in enumerate(param_specs(layer)):
        user = (layer.name, index)
        given = {field for field in MULTIPLIERS if spec.HasField(field)}
        owner = named.get(spec.name) if spec.name else None
        if owner is None:
            named.setdefault(spec.name, len(params))
            values = {field: getattr(spec, field) for field in MULTIPLIERS}
            params.append(LearnableParam(layer.blobs[index], (user,), **values))
            explicit.append(given)
            layer.blobs[index].requires_grad_(force_backward or spec.lr_mult != 0)
            continue
        _check_sharing(params[owner], layer, index, spec)
        logger.info("Sharing parameters '%s' owned by layer '%s', param index %d", spec.name, *params[owner].users[0])
        params[owner] = _joined(params[owner], user, spec, explicit[owner])
        explicit[owner] |= given
        layer.blobs[index] = params[owner].tensor
        if spec.lr_mult != 0:
            params[owner].tensor.requires_grad_()


def param_specs(layer: Layer) -> list[Any]:
    """A ParamSpec for every blob of `layer`: as the prototxt gives them, the rest with defaults."""
    given = list(layer.param.param)
    if len(given) > len(layer.blobs):
        raise GraphError(
            f"layer '{layer.name}' has {len(given)} param entries for {len(layer.blobs)} blobs; remove the last ones"
        )
    specs = given + [ParamSpec() for _ in range(len(layer.blobs) - len(given))]
    fixed = layer.fixed_blobs
    return [_with_lr_mult_0(spec) if index in fixed else spec for index, spec in enumerate(specs)]


def share_again(params: Iterable[LearnableParam], layers: dict[str, Layer]) -> None:
    """Let every user of a blob hold the Parameter that its owner holds now."""
    for param in params:
        for name, index in param.users[1:]:
            layers[name].blobs[index] = layers[param.layer].blobs[param.users[0][1]]


def rebound(params: Iterable[LearnableParam], layers: dict[str, Layer]) -> list[LearnableParam]:
    """The same params with the tensors that their owners hold now."""
    return [replace(param, tensor=layers[param.layer].blobs[param.users[0][1]]) for param in params]


def _with_lr_mult_0(spec: Any) -> Any:
    fixed = ParamSpec()
    fixed.CopyFrom(spec)
    fixed.lr_mult = 0
    return fixed


def _check_sharing(owner: LearnableParam, layer: Layer, index: int, spec: Any) -> None:
    wanted, found = tuple(owner.tensor.shape), layer.blob_shapes[index]
    permissive = spec.share_mode == ParamSpec.PERMISSIVE
    if found == wanted or (permissive and math.prod(found) == math.prod(wanted)):
        return
    way_out = "give it as many values" if permissive else "make the shapes equal, or set share_mode: PERMISSIVE"
    raise ShapeError(
        f"layer '{layer.name}': blob {index} of shape {found} cannot share '{spec.name}', "
        f"which layer '{owner.layer}' owns with shape {wanted}; {way_out}"
    )


def _joined(owner: LearnableParam, user: tuple[str, int], spec: Any, explicit: set[str]) -> LearnableParam:
    """`owner` with one more user; a multiplier counts from where it is first given, and must not differ later."""
    values = {}
    for field in MULTIPLIERS:
        value = getattr(spec, field)
        if not spec.HasField(field):
            continue
        if field in explicit and value != getattr(owner, field):
            raise GraphError(
                f"layer '{user[0]}': param '{spec.name}' has {field} {value:g}, but {getattr(owner, field):g} "
                f"in a layer above (owner '{owner.layer}'); give {field} once, or the same everywhere"
            )
        values[field] = value
    return replace(owner, users=(*owner.users, user), **values)
