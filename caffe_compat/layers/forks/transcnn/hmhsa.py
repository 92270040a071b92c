"""HMHSA, hierarchical multi-head self-attention (Liu et al., arXiv:2106.03180; yun-liu/TransCNN at ca42edf).

For X of (N, C, H, W), h = C / head_dim heads, G = grid_size tokens a side and r = ds_ratio:

    Q, K, V = qkv(norm(X));  A = softmax(Q K^T / sqrt(head_dim)) V within each G x G grid
    X1 = grid_norm(X + A);   Q' = q(X1);  K', V' = kv(ds_norm(mean over r x r of X1))
    top = proj(softmax(Q' K'^T / sqrt(head_dim)) V' + X1)

and for G = 1 top = proj(A) with A over the whole map. All maps are 1 x 1 convolutions. norm BATCH is BatchNorm with
running statistics as PyTorch keeps them (TransCNN), GROUP is GroupNorm of one group (HAT-Net).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.forks.transcnn.group_norm import ONE, ZERO
from caffe_compat.layers.function import need_batch
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter, message_class

_PARAMETER = message_class("HMHSAParameter")
EPS = {_PARAMETER.BATCH: 1e-5, _PARAMETER.GROUP: 1e-6}
_SMALL = FillerParameter(type="gaussian", std=0.02)


@register("HMHSA")
class HMHSA(Layer):
    """blobs: weight and bias of norm, qkv, grid_norm, ds_norm, q, kv and proj, in this order.

    norm, qkv and proj alone for a grid_size of 1; without bias_term no bias of the convolutions. Behind them, for
    BATCH, mean and variance of each norm.
    """

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.hmhsa_param
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': bottom is {shape}; wanted (batch, channels, height, width)")
        self.channels, self.head_dim, self.grid, self.ratio = shape[1], param.head_dim, param.grid_size, param.ds_ratio
        for name in ("head_dim", "grid_size", "ds_ratio"):
            if getattr(param, name) < 1:
                raise UnsupportedParameterError(f"layer '{self.name}': {name} is 0; wanted 1 or more")
        if self.channels % self.head_dim:
            raise ShapeError(
                f"layer '{self.name}': {self.channels} channels are no multiple of head_dim {self.head_dim}"
            )
        self.is_batch = param.norm == param.BATCH
        self.eps = param.eps if param.HasField("eps") else EPS[param.norm]
        self.momentum = param.momentum
        outputs = {"norm": 0, "qkv": 3, "grid_norm": 0, "ds_norm": 0, "q": 1, "kv": 2, "proj": 1}
        names = [name for name in outputs if self.grid > 1 or name in ("norm", "qkv", "proj")]
        filler = param.weight_filler if param.HasField("weight_filler") else _SMALL
        self.places: dict[str, int] = {}
        for name in names:
            self.places[name] = len(self.blobs)
            if not outputs[name]:
                self.add_blob((self.channels,), ONE)
                self.add_blob((self.channels,), ZERO)
                continue
            self.add_blob((outputs[name] * self.channels, self.channels, 1, 1), filler)
            if param.bias_term:
                self.add_blob((outputs[name] * self.channels,), ZERO)
        self.has_bias = bool(param.bias_term)
        self.first_statistic = len(self.blobs)
        for name in names if self.is_batch else ():
            if not outputs[name]:
                self.places[f"{name} statistics"] = len(self.blobs)
                self.add_blob((self.channels,), ZERO)
                self.add_blob((self.channels,), ONE)

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        return tuple(range(self.first_statistic, len(self.blobs)))

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if shape[1] != self.channels:
            raise ShapeError(f"layer '{self.name}': bottom {shape}, wanted {self.channels} channels on axis 1")
        if any(size % self.grid for size in shape[2:]):
            raise ShapeError(f"layer '{self.name}': a map of {shape[2:]} cannot be cut into grids of side {self.grid}")
        if self.grid > 1 and min(shape[2:]) < self.ratio:
            raise ShapeError(f"layer '{self.name}': a map of {shape[2:]} is smaller than ds_ratio {self.ratio}")
        return [shape]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        batch, channels, height, width = x.shape
        qkv = self.convolve("qkv", self.normalize("norm", x))
        if self.grid == 1:
            attended = self.attend(*qkv.flatten(2).chunk(3, dim=1)).view_as(x)
            return self.convolve("proj", attended)
        rows, columns, side = height // self.grid, width // self.grid, self.grid
        grids = qkv.view(batch, 3 * channels, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        tokens = grids.reshape(batch * rows * columns, 3 * channels, side * side)
        local = self.attend(*tokens.chunk(3, dim=1)).view(batch, rows, columns, channels, side, side)
        first = self.normalize("grid_norm", x + local.permute(0, 3, 1, 4, 2, 5).reshape(x.shape))
        pooled = F.avg_pool2d(first, self.ratio) if self.ratio > 1 else first
        key, value = self.convolve("kv", self.normalize("ds_norm", pooled)).flatten(2).chunk(2, dim=1)
        attended = self.attend(self.convolve("q", first).flatten(2), key, value).view_as(x)
        return self.convolve("proj", attended + first)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(n, channels, tokens) each, heads one after another along the channels; the same shape as the query."""
        heads = self.channels // self.head_dim
        q, k, v = (each.reshape(len(each), heads, self.head_dim, each.shape[2]) for each in (query, key, value))
        return (v @ self.attention(q, k).transpose(2, 3)).reshape(query.shape)

    def attention(self, query: Tensor, key: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(head_dim)) for (n, heads, head_dim, tokens) each: (n, heads, queries, keys)."""
        return (query.transpose(2, 3) @ key / math.sqrt(self.head_dim)).softmax(-1)

    def convolve(self, name: str, x: Tensor) -> Tensor:
        place = self.places[name]
        return F.conv2d(x, self.blob(place), self.blob(place + 1) if self.has_bias else None)

    def normalize(self, name: str, x: Tensor) -> Tensor:
        gamma, beta = self.blob(self.places[name]), self.blob(self.places[name] + 1)
        if not self.is_batch:
            return F.group_norm(x, 1, gamma, beta, self.eps)
        place = self.places[f"{name} statistics"]
        mean, var = self.blob(place).detach(), self.blob(place + 1).detach()
        training = self.context.phase == "TRAIN"
        if training:
            need_batch(self)
        return torch.batch_norm(x, gamma, beta, mean, var, training, self.momentum, self.eps, False)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        batch, channels, height, width = bottom_shapes[0]
        places, square = height * width, channels * channels
        if self.grid == 1:
            return int(batch * (4 * square * places + 2 * channels * places * places))
        fewer = (height // self.ratio) * (width // self.ratio)
        maps = 5 * square * places + 2 * square * fewer
        return int(batch * (maps + 2 * channels * places * (self.grid * self.grid + fewer)))
