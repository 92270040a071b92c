"""What every Caffe layer has in common: the counts of bottoms and tops, the blobs, the shapes, the forward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from caffe_compat.errors import ShapeError
from caffe_compat.layers.fillers import fill

Shape = tuple[int, ...]
MOST_VALUES = 2**31 - 1  # of a blob (blob.cpp, Reshape)


@dataclass(frozen=True)
class Count:
    """How many bottoms or tops a layer takes; `most` None means any number from `least` up."""

    least: int
    most: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least} or more"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def exactly(number: int) -> Count:
    return Count(number, number)


@dataclass(frozen=True)
class Context:
    """What a layer may know of the net that holds it.

    phase: "TRAIN" or "TEST". compat: "bvlc" (Caffe 1.0) or "wen2017" (the paper's fork, and "scnn", of its age).
    folder: where the net's own file lies; files that it names and the working directory lacks are sought there.
    fork: "faceboxes", "intel" or "nvidia" where the net tells (dialects.disputed) what a layer does not show itself.
    fills: False where given weights will replace every blob at once, which are then left as the memory was.
    """

    phase: str = "TEST"
    compat: str = "bvlc"
    folder: Path | None = None
    fills: bool = True
    fork: str = ""

    def __post_init__(self) -> None:
        if self.compat == "scnn":  # differs in the solver alone
            object.__setattr__(self, "compat", "wen2017")


class Layer(nn.Module):
    """One Caffe layer: `param` is its LayerParameter, its fields are read once, in `__init__`.

    A subclass gives `top_shapes` and `forward`; one with learnable blobs calls `add_blob` in `setup`.
    """

    bottoms: ClassVar[Count] = exactly(1)
    tops: ClassVar[Count] = exactly(1)
    default_loss_weight: ClassVar[float] = 0.0  # of the first top, when the prototxt gives none; 1 for losses
    works_in_place: ClassVar[bool] = True  # whether the top may have the name of the bottom
    gradient: ClassVar[str] = "derivative"  # or "own", as its fork's Backward says, or "none": nothing flows back
    fork_fields: ClassVar[frozenset[str]] = frozenset()  # "pooling_param.ceil_mode", obeyed; "*": all
    remembers: ClassVar[tuple[str, ...]] = ()  # attributes that the next pass takes up; copies have them
    ones_are_loose: ClassVar[bool] = False  # forks disagree on the axes of size 1 in its blobs: weights fit without

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__()
        self.param = param
        self.name: str = param.name
        self.context = context
        self.blobs = nn.ParameterList()
        self.blob_shapes: list[Shape] = []  # as this layer sees them; a PERMISSIVE owner may keep another shape

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        """The blobs that Caffe keeps the solver off, whatever lr_mult the prototxt gives: statistics."""
        return ()

    @classmethod
    def choose(cls, param: Any, folder: Path | None) -> type[Layer]:
        """The class for a layer of this message, beside whose net lies `folder`."""
        return cls

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        """Why a layer of this message is built but does not run, or not as in its fork; empty where it does."""
        return ""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        """Make the learnable blobs; called once, before `top_shapes`. Caffe's LayerSetUp."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """The shape of every top for these bottoms; ShapeError where a bottom cannot be taken. Caffe's Reshape."""
        raise NotImplementedError

    def forward(self, *bottoms: Tensor) -> Any:
        """The top, or a tuple of tops when the layer has more (or fewer) than one. Caffe's Forward."""
        raise NotImplementedError

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        """Multiply-adds of one forward pass; 0 for layers that only move or rescale values."""
        return 0

    def add_blob(self, shape: Shape, filler: Any, layout: torch.memory_format = torch.contiguous_format) -> None:
        """Append a float32 learnable blob of `shape`, filled as the FillerParameter `filler` says."""
        index = len(self.blobs)
        if any(size < 0 for size in shape):
            raise ShapeError(f"layer '{self.name}': blob {index} would have shape {shape}; no axis may be negative")
        if math.prod(shape) > MOST_VALUES:
            raise ShapeError(
                f"layer '{self.name}': blob {index} would be {shape}, more than Caffe's {MOST_VALUES} values"
            )
        try:
            values = torch.empty(shape, memory_format=torch.contiguous_format if self.context.fills else layout)
        except RuntimeError as error:
            gigabytes = math.prod(shape) * 4 / 1e9
            raise ShapeError(
                f"layer '{self.name}': blob {index} of shape {shape} needs {gigabytes:.1f} GB, more than there is"
            ) from error
        if self.context.fills:
            fill(values, filler, self.context.compat, f"layer '{self.name}': blob {index}")
        self.blobs.append(nn.Parameter(values.contiguous(memory_format=layout)))
        self.blob_shapes.append(tuple(shape))

    def blob(self, index: int) -> Tensor:
        """Blob `index` in this layer's own shape (a PERMISSIVE shared blob is stored in its owner's)."""
        blob: Tensor = self.blobs[index]
        return blob if blob.shape == self.blob_shapes[index] else blob.view(self.blob_shapes[index])

    def need_items(self, bottom_shapes: list[Shape], place: int = 0) -> None:
        """ShapeError where an axis of bottom `place` is 0, of which this layer can tell nothing."""
        if 0 in bottom_shapes[place]:
            raise ShapeError(
                f"layer '{self.name}': bottom {place} '{self.param.bottom[place]}' has shape {bottom_shapes[place]}, "
                f"of no items; {self.param.type} needs one at least"
            )

    def canonical_axis(self, axis: int, shape: Shape, field: str = "axis") -> int:
        """`axis` counted from the front; a negative one counts from the end. Caffe's CanonicalAxisIndex."""
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"layer '{self.name}': {field} {axis} is out of range for a bottom of shape {shape}")
        return axis % len(shape)


class Elementwise(Layer):
    """A layer whose top has the shape of its bottom."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]
