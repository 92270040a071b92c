"""A layer where it stands, and the words of facts.tsv's column `when`, each with its predicate."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from caffe_compat.layers.base import Shape


@dataclass(frozen=True)
class Place:
    """A layer where it stands. param: its LayerParameter. bottoms, tops: their shapes.

    read: numbers of the tops that other layers read, but for Silence. outputs: blobs that are outputs of the net.
    banks: (top, name) of every Convolution and Deconvolution. names: of all other layers but Inputs, each as often as
    it is given. overwritten: whether Caffe computes here with what a layer in place has left. twin: whether an earlier
    layer makes the same value of the same, and one of the two is an output.
    """

    param: Any
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]
    read: Collection[int] = ()
    outputs: Collection[str] = ()
    banks: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    overwritten: bool = False
    twin: bool = False


Condition = Callable[[Place], bool]
CONDITIONS: dict[str, Condition] = {"always": lambda place: True, "-": lambda place: True}


def condition(name: str) -> Callable[[Condition], Condition]:
    """Register the function below under the word `name` of the table."""

    def add(function: Condition) -> Condition:
        CONDITIONS[name] = function
        return function

    return add


def axis_of(axis: int, shape: Shape) -> int:
    """`axis` counted from the front."""
    return axis % len(shape) if shape else 0


def covered(place: Place) -> range:
    """The axes of the bottom that the operand of a Scale or Bias covers (scale_layer.cpp, LayerSetUp)."""
    fields = place.param.scale_param if place.param.type == "Scale" else place.param.bias_param
    bottom = place.bottoms[0]
    axis = axis_of(fields.axis, bottom)
    count = len(place.bottoms[1]) if len(place.bottoms) > 1 else fields.num_axes
    return range(axis, len(bottom) if count < 0 else axis + count)


def sizes_above_one(shape: Shape) -> list[int]:
    """What tells two shapes apart for a user who squeezes."""
    return [size for size in shape if size != 1]


def is_bank(param: Any) -> bool:
    """Whether a layer is one that OpenCV calls by its top."""
    return param.type in ("Convolution", "Deconvolution", "ConvolutionDepthwise")
