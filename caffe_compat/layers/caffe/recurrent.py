"""What RNN and LSTM have in common (recurrent_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape

State = tuple[Tensor, ...]  # h, and for an LSTM c: each (N, D)


class RecurrentLayer(Layer):
    """What RNN and LSTM share.

    Bottoms: x (T, N, ...), cont (T, N; 0 starts a new sequence, 1 goes on), a static input (N, ...) if there is one
    more, and with expose_hidden the first state, (1, N, D) each. Tops: the output (T, N, D), and with expose_hidden the
    last state. Without expose_hidden the last state of one forward pass is the first of the next (zeros at the very
    first, and after a change of N). No gradient flows into a first state or out of an exposed last one.
    Blobs: W_x (gates, inputs), b, [W_static (gates, inputs)], W_h (gates, D), and what `add_output_blobs` adds.
    """

    remembers: ClassVar[tuple[str, ...]] = ("state",)
    gates: ClassVar[int]  # rows of W_x for each of D outputs
    states: ClassVar[int]

    bottoms = Count(2)
    tops = Count(1)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.num_output: int = param.recurrent_param.num_output
        self.expose_hidden: bool = param.recurrent_param.expose_hidden
        self.state: State = ()
        if self.num_output < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': recurrent_param.num_output is {self.num_output}; it must be given, and be "
                "positive"
            )
        exposed = self.states if self.expose_hidden else 0
        if len(param.bottom) - 2 - exposed not in (0, 1) or len(param.top) != 1 + exposed:
            raise ShapeError(
                f"layer '{self.name}': {len(param.bottom)} bottoms and {len(param.top)} tops, wanted {2 + exposed} "
                f"bottoms (x, cont{', the states' if exposed else ''}), one more for a static input, and {1 + exposed} "
                "tops"
            )
        self.static_input = len(param.bottom) > 2 + exposed

    def setup(self, bottom_shapes: list[Shape]) -> None:
        field = self.param.recurrent_param
        rows = self.gates * self.num_output
        self.add_blob((rows, math.prod(bottom_shapes[0][2:])), field.weight_filler)
        self.add_blob((rows,), field.bias_filler)
        if self.static_input:
            self.add_blob((rows, math.prod(bottom_shapes[2][1:])), field.weight_filler)
        self.add_blob((rows, self.num_output), field.weight_filler)
        self.add_output_blobs()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        x, cont = bottom_shapes[:2]
        if len(x) < 3 or cont != x[:2]:
            raise ShapeError(
                f"layer '{self.name}': bottoms '{self.param.bottom[0]}' {x} and '{self.param.bottom[1]}' {cont} must "
                "be (T, N, C, ...) and (T, N)"
            )
        if self.static_input and (len(bottom_shapes[2]) < 2 or bottom_shapes[2][0] != x[1]):
            raise ShapeError(
                f"layer '{self.name}': the static input '{self.param.bottom[2]}' has shape {bottom_shapes[2]}, wanted "
                f"({x[1]}, ...), one row a stream"
            )
        state = (1, x[1], self.num_output)
        if self.expose_hidden:
            for name, shape in list(zip(self.param.bottom, bottom_shapes, strict=True))[-self.states :]:
                if math.prod(shape) != math.prod(state):
                    raise ShapeError(f"layer '{self.name}': the first state '{name}' has shape {shape}, wanted {state}")
        return [(x[0], x[1], self.num_output), *[state] * (self.states if self.expose_hidden else 0)]

    def forward(self, *bottoms: Tensor) -> Any:
        x, cont = bottoms[0].flatten(2), bottoms[1].detach()
        drive = functional.linear(x, self.blob(0), self.blob(1))
        if self.static_input:
            drive = drive + functional.linear(bottoms[2].flatten(1), self.blob(2))
        state = self._first_state(bottoms, drive)
        outputs = []
        for step_drive, step_cont in zip(drive, cont.unsqueeze(2), strict=True):
            output, state = self.step(step_drive, step_cont, state)
            outputs.append(output)
        last = tuple(part.detach() for part in state)
        top = torch.stack(outputs)
        if self.expose_hidden:
            return (top, *(part.unsqueeze(0) for part in last))
        self.state = last
        return top

    def _first_state(self, bottoms: tuple[Tensor, ...], drive: Tensor) -> State:
        """The state before the first step, each part (N, D)."""
        shape = (drive.shape[1], self.num_output)
        if self.expose_hidden:
            return tuple(part.detach().reshape(shape) for part in bottoms[-self.states :])
        if not self.state or self.state[0].shape != shape:
            return (drive.new_zeros(shape),) * self.states
        return tuple(part.to(drive) for part in self.state)

    def hidden_drive(self, drive: Tensor, hidden: Tensor) -> Tensor:
        """What enters the gates: the part from the inputs, (N, gates * D), and W_h times the state before."""
        return drive + functional.linear(hidden, self.blob(3 if self.static_input else 2))

    @abstractmethod
    def step(self, drive: Tensor, cont: Tensor, state: State) -> tuple[Tensor, State]:
        """The output (N, D) and state of one time step; drive (N, gates * D), cont (N, 1)."""

    def add_output_blobs(self) -> None:
        """Append blobs that the output needs, behind those of the hidden state."""

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        steps, streams = bottom_shapes[0][:2]
        weights = [math.prod(shape) for shape in self.blob_shapes if len(shape) == 2]
        static = weights.pop(1) if self.static_input else 0
        return streams * (steps * sum(weights) + static)
