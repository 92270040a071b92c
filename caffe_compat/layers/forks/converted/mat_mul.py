"""MatMul (matmul_layer.cpp of synopsys-caffe, troyliu0105/caffe, gnina/gnina and sophgo/caffe), as fields say."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_DIMS = ("dim_1", "dim_2", "dim_3")


@register("MatMul")
class MatMul(Layer):
    """The product of the matrices in the last two axes of A and B, the axes before them being the same.

    B is bottom 1 or, of one bottom, blob 0 of shape blob_shape, which starts as zeros. transpose_a and transpose_b turn
    each matrix first. A B of fewer axes is one matrix, its last two axes, for all rows of A (synopsys-caffe).

    Where shapes do not fit so, and two bottoms have 3 axes or more: gnina's, axis 1 times all that is behind it, to
    (N, M, K). With dim_1, dim_2 or dim_3, sophgo's: bottom 0 read as (dim_1, dim_2) times bottom 1 read as (dim_3,
    dim_2), turned: (dim_1, dim_3). The gradient is the derivative; of these forks gnina and troyliu0105 have one.
    """

    bottoms = Count(1, 2)
    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.matmul_param
        self.turns: tuple[bool, bool] = (field.transpose_a, field.transpose_b)
        self.blob_shape: Shape = tuple(field.blob_shape)
        self.dims = tuple(getattr(field, name) for name in _DIMS) if any(map(field.HasField, _DIMS)) else ()
        if self.dims and (any(self.turns) or self.blob_shape or len(param.bottom) != 2):
            raise UnsupportedParameterError(
                f"layer '{self.name}': matmul_param.dim_1, dim_2 and dim_3 are for two bottoms, without transpose_a, "
                "transpose_b and blob_shape"
            )
        if len(param.bottom) == 1 and len(self.blob_shape) < 2:
            raise UnsupportedParameterError(
                f"layer '{self.name}': matmul_param.blob_shape is {list(self.blob_shape)}; a layer with one bottom "
                "needs a blob of two axes or more"
            )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        if len(bottom_shapes) == 1:
            self.add_blob(self.blob_shape, FillerParameter())

    def operands(self, bottom_shapes: list[Shape]) -> tuple[Shape, Shape]:
        """What A and B are read as: their last two axes are the matrices, before they are turned.

        ShapeError where they cannot be multiplied.
        """
        first, second = (*bottom_shapes, self.blob_shape)[:2]
        if self.dims:
            rows, inner, columns = self.dims
            found: tuple[Shape, Shape] = (rows, inner), (columns, inner)
            if math.prod(first) == rows * inner and math.prod(second) == columns * inner:
                return found
        elif self._fits(first, second):
            return first, second if len(first) == len(second) else second[-2:]
        elif len(bottom_shapes) == 2 and min(len(first), len(second)) > 2:
            found = (*first[:2], math.prod(first[2:])), (*second[:2], math.prod(second[2:]))
            if self._fits(*found):
                return found
        turned = "".join(
            f", {name} turned" for name, turn in zip(("the first", "the second"), self.turns, strict=True) if turn
        )
        read = f" read as {self.dims[:2]} and {(self.dims[2], self.dims[1])}" if self.dims else ""
        raise ShapeError(
            f"layer '{self.name}': matrices of shapes {first} and {second}{turned}{read} cannot be multiplied"
        )

    def _fits(self, first: Shape, second: Shape) -> bool:
        if min(len(first), len(second)) < 2 or len(first) < len(second):
            return False
        if len(first) > len(second):  # transposes are of no use there: synopsys-caffe reads on in the wrong order
            return not any(self.turns) and first[-1] == second[-2] and not any(size > 1 for size in second[:-2])
        inner = first[-2] if self.turns[0] else first[-1], second[-1] if self.turns[1] else second[-2]
        return inner[0] == inner[1] and first[:-2] == second[:-2]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first, second = self.operands(bottom_shapes)
        if self.dims:
            return [(self.dims[0], self.dims[2])]
        rows, columns = first[-1 if self.turns[0] else -2], second[-2 if self.turns[1] else -1]
        return [(*first[:-2], rows, columns)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        pair = bottoms if len(bottoms) == 2 else (bottoms[0], self.blob(0))
        shapes = self.operands([tuple(bottom.shape) for bottom in bottoms])
        first, second = (each.reshape(shape) for each, shape in zip(pair, shapes, strict=True))
        turns = (False, True) if self.dims else self.turns
        first, second = (each.mT if turn else each for each, turn in zip((first, second), turns, strict=True))
        return first @ second

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        first = self.operands(bottom_shapes)[0]
        return math.prod(top_shapes[0]) * first[-2 if self.turns[0] else -1]
