"""A net built layer by layer with the arrays of a case, in float64, as PyTorch's modules become Caffe's layers."""

import numpy as np
import torch

from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text


class Building:
    """`bottom` is the blob that the next layer reads."""

    def __init__(self, shape, name="data"):
        dims = " ".join(f"dim: {size}" for size in shape)
        self.text = [f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}']
        self.bottom, self.weights = name, {}

    def add(self, name, kind, fields="", bottoms=None, blobs=()):
        names = " ".join(f'bottom: "{bottom}"' for bottom in bottoms or [self.bottom])
        self.text.append(f'layer {{ name: "{name}" type: "{kind}" {names} top: "{name}" {fields} }}')
        self.bottom = name
        if blobs:
            self.weights[name] = tuple(np.asarray(blob, np.float64) for blob in blobs)
        return name

    def conv(self, name, weight, bias=None, stride=1, bottom=None, pad=None):
        high, wide = weight.shape[2:] if pad is None else (2 * pad, 2 * pad)
        fields = (
            f"convolution_param {{ num_output: {len(weight)} kernel_h: {weight.shape[2]} kernel_w: {weight.shape[3]} "
            f"pad_h: {high // 2} pad_w: {wide // 2} stride: {stride} bias_term: {str(bias is not None).lower()} }}"
        )
        blobs = [weight] if bias is None else [weight, bias]
        return self.add(name, "Convolution", fields, [bottom or self.bottom], blobs)

    def bn(self, name, gamma, beta, mean, var):
        self.add(f"{name}.bn", "BatchNorm", "batch_norm_param { use_global_stats: true }", None, [mean, var, [1.0]])
        return self.add(name, "Scale", "scale_param { bias_term: true }", None, [gamma, beta])

    def relu(self, name):
        return self.add(f"{name}.relu", "ReLU")

    def pool(self, name, kernel=2, method="MAX"):
        return self.add(name, "Pooling", f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {kernel} }}")

    def mean(self, name="mean"):
        return self.add(name, "Pooling", "pooling_param { pool: AVE global_pooling: true }")

    def ip(self, name, weight, bias):
        fields = f"inner_product_param {{ num_output: {len(weight)} }}"
        return self.add(name, "InnerProduct", fields, None, [weight, bias])

    def sum(self, name, first, second):
        return self.add(name, "Eltwise", "", [first, second])

    def model(self):
        return Model(parse_text("\n".join(self.text), NetParameter), self.weights)


def output(model, x, blob=None, **inputs):
    """The last blob, or `blob`, of the TEST net in double precision."""
    net = Net(model.net, "TEST", input_shapes={"data": x.shape}).double()
    net.load_weights(model.weights)
    with torch.no_grad():
        blobs = net.eval().blobs(data=x, **inputs)
    return blobs[blob or model.net.layer[-1].top[0]].numpy()
