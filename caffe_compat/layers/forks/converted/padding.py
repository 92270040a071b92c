"""Padding (padding_layer.cpp of sophgo/caffe, ctensmeyer/caffe, DeepLab, drdrpyan/STLD_caffe_module), as fields say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register

Margins = tuple[int, int, int, int]  # above, below, left, right

# What each fork calls its fields; old Caffe's one field, pad, is among ctensmeyer's
_OF_FORK = {
    "sophgo/caffe": ("pad_method", "pad_l", "pad_r", "pad_t", "pad_b", "pad_value"),
    "ctensmeyer/caffe": (
        "pad", "pad_h", "pad_w", "pad_h_top", "pad_h_bottom", "pad_w_left", "pad_w_right", "pad_to_power_of_2"
    ),
    "TheLegendAli/DeepLab-Context": ("pad_beg", "pad_end"),
    "drdrpyan/STLD_caffe_module": ("type", "pad_up", "pad_down", "pad_left", "pad_right"),
}  # fmt: skip


@register("Padding")
class Padding(Layer):
    """Rows and columns around every plane of (N, C, H, W); zeros, unless one of these says otherwise.

    sophgo's pad_t, pad_b, pad_l and pad_r have pad_value. STLD's pad_up, pad_down, pad_left and pad_right need type:
    MIRROR, which repeats what lies inside, the edge first. DeepLab's pad_beg and pad_end are for both axes; negative
    ones cut off. pad goes before pad_h and pad_w, those before pad_h_top and its kin, and pad_to_power_of_2 before all:
    it makes both sides a power of 2, the odd one below and right. The gradient is the derivative; sophgo's and STLD's
    forks have none.
    """

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.padding_param
        forks = {fork: [n for n in names if field.HasField(n)] for fork, names in _OF_FORK.items()}
        given = {fork: names for fork, names in forks.items() if names}
        if len(given) > 1:
            shown = " and ".join(f"{names[0]} of {fork}" for fork, names in given.items())
            raise UnsupportedParameterError(f"layer '{self.name}': padding_param has {shown}; give those of one fork")
        self.value: float = field.pad_value
        self.mirrors = bool(field.type)
        self.to_power_of_2: bool = field.pad_to_power_of_2
        self.given = self._given(field)
        if "drdrpyan/STLD_caffe_module" in given and not self.mirrors:
            raise UnsupportedParameterError(
                f"layer '{self.name}': padding_param.type is ZERO, which its fork does not compute; give MIRROR, or "
                "pad_t, pad_b, pad_l and pad_r for zeros"
            )
        if "TheLegendAli/DeepLab-Context" in given and field.pad_beg * field.pad_end < 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': padding_param.pad_beg is {field.pad_beg} and pad_end {field.pad_end}; both must "
                "be positive or both negative"
            )

    def _given(self, field: Any) -> Margins:
        """The margins that the message gives, of whichever fork."""
        top = bottom = left = right = field.pad
        if not top:
            top = bottom = field.pad_h
            left = right = field.pad_w
        if not top:
            top, bottom = field.pad_h_top, field.pad_h_bottom
        if not left:
            left, right = field.pad_w_left, field.pad_w_right
        return (
            top + field.pad_t + field.pad_up + field.pad_beg,
            bottom + field.pad_b + field.pad_down + field.pad_end,
            left + field.pad_l + field.pad_left + field.pad_beg,
            right + field.pad_r + field.pad_right + field.pad_end,
        )

    def margins(self, shape: Shape) -> Margins:
        """How many rows above and below and columns left and right are added to a bottom of `shape`."""
        if not self.to_power_of_2:
            return self.given
        rows, columns = ((1 << (size - 1).bit_length()) - size for size in shape[2:])
        return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} is not (N, C, H, W)")
        above, below, left, right = self.margins(shape)
        top = (*shape[:2], shape[2] + above + below, shape[3] + left + right)
        if min(top[2:]) < 1:
            raise ShapeError(f"layer '{self.name}': padding makes {top[2]} x {top[3]} of {shape[2]} x {shape[3]}")
        if self.mirrors and (max(above, below) > shape[2] or max(left, right) > shape[3]):
            raise ShapeError(
                f"layer '{self.name}': {shape[2]} x {shape[3]} has too few rows or columns to mirror {above} above, "
                f"{below} below, {left} left and {right} right"
            )
        return [top]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        above, below, left, right = self.margins(tuple(x.shape))
        if not self.mirrors:
            return torch.nn.functional.pad(x, (left, right, above, below), value=self.value)
        return _mirrored(_mirrored(x, 3, left, right), 2, above, below)


def _mirrored(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """x with its first `before` and last `after` slices along `axis` put around it, turned about the edge."""
    size = x.shape[axis]
    return torch.cat((x.narrow(axis, 0, before).flip(axis), x, x.narrow(axis, size - after, after).flip(axis)), axis)
