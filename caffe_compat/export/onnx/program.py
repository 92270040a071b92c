"""An ONNX graph while it is written: operators, constants, and what each Caffe layer becomes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe_compat.errors import DataError
from caffe_compat.export.writers import Inexpressible, Writers
from caffe_compat.layers.base import Layer, Shape


@dataclass
class Program:
    """The nodes and constants so far; `onnx` is the package.

    counted: the axes of a value whose size the values decide, such as the number of boxes.
    """

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    counted: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Store an array as `name`, a number as one of a single axis; the name."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name


@dataclass
class Call:
    """One layer that is being written.

    inputs, outputs: names of its bottoms and tops in the ONNX graph. bottoms, tops: their shapes. open_bottoms,
    open_tops: the axes of each whose size follows that of the batch; none where the batch is fixed.
    """

    program: Program
    layer: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]
    open_bottoms: tuple[frozenset[int], ...] = ()
    open_tops: tuple[frozenset[int], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether any size here follows that of the batch."""
        return any(self.open_bottoms) or any(self.open_tops)

    def open_shape(self, index: int) -> list[int]:
        """The shape of top `index` with -1 for an axis that follows the batch; Inexpressible where several do."""
        axes = self.open_tops[index] if self.open_tops else frozenset()
        if len(axes) > 1:
            raise Inexpressible("several axes of its top follow the size of the batch")
        return [-1 if axis in axes else size for axis, size in enumerate(self.tops[index])]

    def op(self, kind: str, inputs: Sequence[str], outputs: str | Sequence[str] | None = None, **options: Any) -> str:
        """Append a node of operator `kind`; its first output, by default a new value."""
        index = len(self.program.nodes)
        names = [outputs] if isinstance(outputs, str) else list(outputs or [f"{self.layer.name}:{kind}:{index}"])
        given = {name: value for name, value in options.items() if value is not None}
        node = self.program.onnx.helper.make_node(kind, list(inputs), names, f"{self.layer.name}:{index}", **given)
        self.program.nodes.append(node)
        return names[0]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A new constant; its name."""
        name = f"{self.layer.name}:constant:{len(self.program.constants)}"
        return self.program.constant(name, values, dtype)

    def scalar(self, value: float, dtype: Any = np.float32) -> str:
        """A new constant without axes; its name."""
        name = f"{self.layer.name}:constant:{len(self.program.constants)}"
        self.program.constants.append(self.program.onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def blob(self, index: int) -> np.ndarray:
        """A learned blob, float32."""
        values: np.ndarray = self.layer.blob(index).detach().cpu().contiguous().numpy()
        return values

    def learned(self, index: int, shape: Sequence[int] | None = None) -> str:
        """A learned blob as a constant named layer:blobN; its name."""
        values = self.blob(index)
        return self.program.constant(
            f"{self.layer.name}:blob{index}", values if shape is None else values.reshape(shape)
        )

    def zeros(self, shape: str) -> str:
        """Zeros in the shape that the value `shape` says; its value is written out, which OpenCV 5 wants."""
        none = self.program.onnx.numpy_helper.from_array(np.zeros(1, np.float32))
        return self.op("ConstantOfShape", [shape], value=none)

    def reshape(self, value: str, shape: Sequence[int], outputs: str | None = None) -> str:
        """`value` in `shape`, of which a 0 keeps the size of that axis."""
        return self.op("Reshape", [value, self.constant(shape, np.int64)], outputs)

    def scaled(self, value: str, factor: float) -> str:
        """`value` times a number; itself for 1."""
        return value if factor == 1 else self.op("Mul", [value, self.constant(factor)])

    def shifted(self, value: str, term: float) -> str:
        """`value` plus a number; itself for 0."""
        return value if term == 0 else self.op("Add", [value, self.constant(term)])


WRITERS: Writers[Call] = Writers()
writes = WRITERS.of


def axis_of(layer: Layer, axis: int, shape: Shape) -> int:
    """`axis` counted from the front."""
    return layer.canonical_axis(axis, shape)


def package(name: str) -> Any:
    """The package `name`; DataError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(f"ONNX needs the package {name}: pip install caffe_compat[export]") from None
