"""Arrays in and out of the layers of a net, by layer name (net.cpp, CopyTrainedLayersFrom, ShareTrainedLayersWith)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import WeightsError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.params import param_specs
from caffe_compat.proto.schema import NetParameter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, by layer name.

    copied: took the given blobs. ignored: given, but not in the net. missing: in the net with blobs, but not given.
    """

    copied: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]


def copy_weights(layers: Mapping[str, Layer], weights: Mapping[str, Sequence[Any]]) -> LoadReport:
    """Copy `weights` into the layers of the same names, after all of them were found to fit.

    Shapes must be equal; an array of 4 axes also fits a blob whose shape it has after 1s in front, as in files of
    old Caffe, and for some layers of forks axes of size 1 do not count. WeightsError otherwise, and nothing is copied.
    """
    arrays = {name: [np.asarray(blob) for blob in blobs] for name, blobs in weights.items() if name in layers}
    for name, blobs in arrays.items():
        _check(layers[name], blobs)
    ignored = tuple(name for name in weights if name not in layers)
    for name in ignored:
        logger.info("Ignoring source layer %s", name)
    with torch.no_grad():
        for name, blobs in arrays.items():
            for index, blob in enumerate(blobs):
                _copy(layers[name].blob(index), blob)
    return LoadReport(
        copied=tuple(arrays),
        ignored=ignored,
        missing=tuple(name for name, layer in layers.items() if len(layer.blobs) and name not in arrays),
    )


def written_net(name: str, layers: Sequence[Layer]) -> Any:
    """The NetParameter that Caffe writes: every layer as it was instantiated, with phase and Splits, without blobs.

    What Caffe's layers add to their own messages is added: the default loss_weight of a loss (loss_layer.cpp), and in
    Caffe 1.0 the lr_mult 0 of BatchNorm's blobs (batch_norm_layer.cpp).
    """
    net = NetParameter(name=name)
    for layer in layers:
        param = net.layer.add()
        param.CopyFrom(layer.param)
        if layer.default_loss_weight and not param.loss_weight:
            param.loss_weight.append(layer.default_loss_weight)
        if layer.fixed_blobs:
            del param.param[:]
            param.param.extend(param_specs(layer))
    return net


def arrays_of(layer: Layer) -> tuple[np.ndarray, ...]:
    """Copies of the blobs of `layer`, each in the shape in which the layer sees it.

    float32; float64 of a net made .double(), as Caffe's double build stores them.
    """
    blobs = (layer.blob(index).detach() for index in range(len(layer.blobs)))
    rows_first = torch.contiguous_format  # whatever order the values have in memory
    return tuple(blob.to("cpu", stored_type(blob), copy=True, memory_format=rows_first).numpy() for blob in blobs)


def stored_type(blob: Tensor) -> torch.dtype:
    """What files hold of a blob: float32, or float64 where it is that."""
    return torch.float64 if blob.dtype == torch.float64 else torch.float32


def share_blobs(layers: Mapping[str, Layer], others: Mapping[str, Layer]) -> None:
    """Make the layers use the very Parameters of the layers of the same names in `others`; WeightsError on a misfit."""
    common = {name: layer for name, layer in layers.items() if name in others}
    for name, layer in common.items():
        _check_shapes(layer, others[name].blob_shapes)
    for name, layer in common.items():
        for index in range(len(layer.blobs)):
            layer.blobs[index] = others[name].blobs[index]


def misfits(layer: Layer, found: Sequence[Shape]) -> Iterator[str]:
    """Why blobs of the shapes `found` cannot be copied into `layer`, a line each; nothing where they fit."""
    fits = _same_without_ones if layer.ones_are_loose else _legacy_fit
    owners = [tuple(blob.shape) for blob in layer.blobs]  # HDF5 keeps a blob with its owner alone, in its shape
    shapes = [
        wanted if tuple(shape) == owned else fits(shape, wanted)
        for shape, wanted, owned in zip(found, layer.blob_shapes, owners, strict=False)
    ]
    yield from _misfits(layer, [*shapes, *found[len(shapes) :]])


def _check(layer: Layer, arrays: Sequence[np.ndarray]) -> None:
    for misfit in misfits(layer, [array.shape for array in arrays]):
        raise WeightsError(misfit)


def _legacy_fit(found: Shape, wanted: Shape) -> Shape:
    """`wanted` where `found` is its form with num, channels, height and width (blob.cpp, ShapeEquals)."""
    is_legacy = len(found) == 4 and len(wanted) <= 4 and found == (1,) * (4 - len(wanted)) + tuple(wanted)
    return wanted if is_legacy else found


def _same_without_ones(found: Shape, wanted: Shape) -> Shape:
    """`wanted` where `found` differs from it only in axes of size 1."""
    same = [size for size in found if size != 1] == [size for size in wanted if size != 1]
    return wanted if same else found


_OF_ONE_SIZE = (
    "an InnerProduct has weights for one size of the net's input: give that size, make the net fully convolutional "
    "(caffe-compat surgery NET WEIGHTS --fully-convolutional), or rename the layer to learn it from scratch"
)


def _check_shapes(layer: Layer, found: Sequence[Shape]) -> None:
    for misfit in _misfits(layer, found):
        raise WeightsError(misfit)


def _misfits(layer: Layer, found: Sequence[Shape]) -> Iterator[str]:
    wanted = layer.blob_shapes
    way_out = "rename the layer to learn it from scratch"
    if len(found) != len(wanted):
        yield f"cannot copy layer '{layer.name}': source has {len(found)} blobs, target has {len(wanted)}; {way_out}"
    for index, shapes in enumerate(zip(found, wanted, strict=False)):
        source, target = (tuple(shape) for shape in shapes)
        if source != target:
            dense = layer.param.type == "InnerProduct" and not layer.param.inner_product_param.transpose
            is_of_size = dense and index == 0 and len(source) == 2 and source[0] == target[0]
            advice = _OF_ONE_SIZE if is_of_size else way_out
            yield f"cannot copy blob {index} of layer '{layer.name}': source is {source}, target is {target}; {advice}"


def _copy(target: Tensor, source: np.ndarray) -> None:
    values = torch.from_numpy(np.require(source, requirements=["C", "W"]))
    target.copy_(values.reshape(target.shape))
