"""Embed (embed_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import DataError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.looped import shows_values
from caffe_compat.layers.registry import register


@register("Embed")
class Embed(Layer):
    """Row `bottom` of the weight (input_dim, num_output) for every entry, plus the bias (num_output,)."""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.embed_param
        self.rows, self.outputs = param.input_dim, param.num_output
        if self.rows < 1 or self.outputs < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': input_dim is {self.rows} and num_output {self.outputs}; both must be 1 or more"
            )
        self.add_blob((self.rows, self.outputs), param.weight_filler)
        if param.bias_term:
            self.add_blob((self.outputs,), param.bias_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [(*bottom_shapes[0], self.outputs)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        index = bottoms[0].long()
        # elsewhere the look would wait for the device, or break a program being recorded
        if index.device.type == "cpu" and index.numel() and shows_values():
            least, most = index.aminmax()
            if least < 0 or most >= self.rows:
                raise DataError(
                    f"layer '{self.name}': an index of {int(least if least < 0 else most)}; "
                    f"input_dim {self.rows} allows 0 to {self.rows - 1}"
                )
        rows = F.embedding(index, self.blob(0))
        return rows + self.blob(1) if len(self.blobs) > 1 else rows
