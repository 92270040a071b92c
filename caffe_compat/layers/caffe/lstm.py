"""LSTM and LSTMUnit (lstm_layer.cpp, lstm_unit_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.caffe.recurrent import RecurrentLayer, State
from caffe_compat.layers.registry import register


def lstm_unit(gates: Tensor, cont: Tensor, cell: Tensor) -> State:
    """h and c after one step: c = cont f c_before + i g, h = o tanh(c), from the gates i, f, o, g, (N, 4 D) in all."""
    i, f, o, g = gates.chunk(4, -1)
    cell = cont * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


@register("LSTM")
class LSTM(RecurrentLayer):
    """The gates i, f, o, g = W_hc (cont_t h_{t-1}) + W_xc x_t + b_c, then `lstm_unit`; the top is h, the state h and c.

    Blobs: W_xc, b_c, [W_xc_static], W_hc.
    """

    gates = 4
    states = 2

    def step(self, drive: Tensor, cont: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, cell = state
        after = lstm_unit(self.hidden_drive(drive, cont * hidden), cont, cell)
        return after[0], after


@register("LSTMUnit")
class LSTMUnit(Layer):
    """One step of an LSTM: bottoms c_before (1, N, D), gates (1, N, 4 D) and cont (1, N); tops c and h, (1, N, D)."""

    bottoms = exactly(3)
    tops = exactly(2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        cell, gates, cont = bottom_shapes
        if len(cell) != 3 or cell[0] != 1 or gates != (1, cell[1], 4 * cell[2]) or cont != cell[:2]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {cell}, {gates}, {cont}, wanted (1, N, D), (1, N, 4 D), (1, "
                "N)"
            )
        return [cell, cell]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, Tensor]:
        cell, gates, cont = bottoms
        hidden, cell = lstm_unit(gates, cont.detach().unsqueeze(2), cell)
        return cell, hidden
