"""RNN (rnn_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.caffe.recurrent import RecurrentLayer, State
from caffe_compat.layers.registry import register


@register("RNN")
class RNN(RecurrentLayer):
    """h_t = tanh(W_hh (cont_t h_{t-1}) + W_xh x_t + b_h), o_t = tanh(W_ho h_t + b_o); the top is o, the state h.

    Blobs: W_xh, b_h, [W_xh_static], W_hh, W_ho, b_o.
    """

    gates = 1
    states = 1

    def add_output_blobs(self) -> None:
        self.add_blob((self.num_output, self.num_output), self.param.recurrent_param.weight_filler)
        self.add_blob((self.num_output,), self.param.recurrent_param.bias_filler)

    def step(self, drive: Tensor, cont: Tensor, state: State) -> tuple[Tensor, State]:
        hidden = torch.tanh(self.hidden_drive(drive, cont * state[0]))
        number = len(self.blobs)
        return torch.tanh(functional.linear(hidden, self.blob(number - 2), self.blob(number - 1))), (hidden,)
