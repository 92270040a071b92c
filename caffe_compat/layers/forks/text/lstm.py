"""Lstm (lstm_layer.cpp of junhyukoh/caffe-lstm)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.function import Function, without_derivative
from caffe_compat.layers.registry import register


class _ClippedGradient(Function):
    """The values as they are; their gradient within [-threshold, threshold]."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, threshold: float, name: str) -> Tensor:
        ctx.threshold, ctx.name = threshold, name
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        why = "bounds every gradient by lstm_param.clipping_threshold"
        gradient = without_derivative(ctx, gradients[0], (ctx.name, "Lstm"), why)
        return gradient.clamp(-ctx.threshold, ctx.threshold), None, None


@register("Lstm")
class Lstm(Layer):
    """Long short-term memory of one layer: top (T, N, num_output) for a bottom (T, N, inputs).

    A bottom of two axes has T * N rows, N being lstm_param.batch_size, and so has the top. Gates are input, forget,
    output and candidate: blobs (4 * num_output, inputs), (4 * num_output, num_output), (4 * num_output,). Bottom 1, T *
    N values, is 0 where a sequence begins; with it the states go on from one forward to the next, without it each
    forward starts from zeros. clipping_threshold above 0 bounds the gradient of the gates before their nonlinearity.
    """

    bottoms = Count(1, 2)
    remembers = ("state",)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.lstm_param
        self.outputs: int = field.num_output
        self.threshold: float = field.clipping_threshold
        self.state: tuple[Tensor, ...] = ()
        if self.outputs < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': lstm_param.num_output is 0; it must be positive")

    def setup(self, bottom_shapes: list[Shape]) -> None:
        inputs = self.steps_of(bottom_shapes[0])[2]
        field = self.param.lstm_param
        self.add_blob((4 * self.outputs, inputs), field.weight_filler)
        self.add_blob((4 * self.outputs, self.outputs), field.weight_filler)
        self.add_blob((4 * self.outputs,), field.bias_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        steps, streams, inputs = self.steps_of(bottom_shapes[0])
        if inputs != self.blob_shapes[0][1]:
            raise ShapeError(
                f"layer '{self.name}': bottom {bottom_shapes[0]} has {inputs} inputs a step, the blobs have "
                f"{self.blob_shapes[0][1]}"
            )
        if len(bottom_shapes) > 1 and math.prod(bottom_shapes[1]) != steps * streams:
            raise ShapeError(f"layer '{self.name}': '{self.param.bottom[1]}' must have {steps} x {streams} values")
        rows = (steps, streams) if len(bottom_shapes[0]) == 3 else (steps * streams,)
        return [(*rows, self.outputs)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        steps, streams, inputs = self.steps_of(bottom_shapes[0])
        return steps * streams * 4 * self.outputs * (inputs + self.outputs)

    def forward(self, *bottoms: Tensor) -> Tensor:
        steps, streams, inputs = self.steps_of(tuple(bottoms[0].shape))
        gates_of_x = functional.linear(bottoms[0].reshape(steps, streams, inputs), self.blob(0), self.blob(2))
        cont = torch.ones(steps, streams, 1, device=gates_of_x.device, dtype=gates_of_x.dtype)
        cont[0] = 0
        if len(bottoms) > 1:
            cont = (bottoms[1].detach().reshape(steps, streams, 1) != 0).to(gates_of_x)
        h, c = self._start(gates_of_x.new_zeros(streams, self.outputs), carried=len(bottoms) > 1)
        outputs = []
        for x, go_on in zip(gates_of_x, cont, strict=True):
            gates = x + go_on * functional.linear(h, self.blob(1))
            if self.threshold > 0:
                gates = _ClippedGradient.apply(gates, self.threshold, self.name)  # type: ignore[no-untyped-call]
            i, f, o, g = gates.chunk(4, 1)
            c = go_on * torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        self.state = (h.detach(), c.detach())
        return torch.stack(outputs).reshape(self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0])

    def _start(self, zeros: Tensor, carried: bool) -> tuple[Tensor, Tensor]:
        if carried and self.state and self.state[0].shape == zeros.shape:
            return self.state[0], self.state[1]
        return zeros, zeros

    def steps_of(self, shape: Shape) -> tuple[int, int, int]:
        """Steps, streams and inputs of a bottom."""
        if len(shape) == 3:
            return shape
        streams: int = self.param.lstm_param.batch_size
        if len(shape) < 2 or streams < 1 or shape[0] % streams:
            raise ShapeError(
                f"layer '{self.name}': a bottom of shape {shape} is neither (T, N, inputs) nor (T * {streams}, inputs)"
            )
        return shape[0] // streams, streams, math.prod(shape[1:])
