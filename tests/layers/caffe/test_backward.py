"""Where nothing has been overwritten, each rule is the derivative that autograd finds for the layer."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.layers.base import Context
from caffe_compat.layers.caffe.backward import Pass, backward_of, destroying_backward_of
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text

FIELDS = {
    "BNLL": ("", ""),
    "Clip": ("clip_param { min: -0.5 max: 0.7 }", ""),
    "ELU": ("elu_param { alpha: 0.6 }", ""),
    "Exp": ("exp_param { base: 2 scale: 0.7 shift: 0.1 }", ""),
    "Log": ("log_param { base: 3 scale: 0.5 shift: 4 }", ""),
    "LRN": ("lrn_param { local_size: 3 alpha: 0.7 beta: 0.8 k: 1.2 }", ""),
    "LRN within": ("lrn_param { local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL }", ""),
    "MVN": ("", ""),
    "MVN across": ("mvn_param { across_channels: true }", ""),
    "Power 2": ("power_param { power: 2 scale: 0.5 shift: 0.3 }", ""),
    "Power 3": ("power_param { power: 3 scale: 0.5 }", ""),
    "Power -1": ("power_param { power: -1 shift: 5 }", ""),
    "Power 1": ("power_param { scale: 0.5 shift: 2 }", ""),
    "ReLU": ("relu_param { negative_slope: 0.2 }", ""),
    "Sigmoid": ("", ""),
    "Softmax": ("", ""),
    "Swish": ("swish_param { beta: 1.3 }", ""),
    "TanH": ("", ""),
    "Eltwise PROD": ("eltwise_param { operation: PROD }", 'bottom: "y" bottom: "z"'),
    "Eltwise unstable": ("eltwise_param { operation: PROD stable_prod_grad: false }", 'bottom: "y" bottom: "z"'),
    "Eltwise SUM": ("eltwise_param { coeff: 2 coeff: -1 coeff: 0.5 }", 'bottom: "y" bottom: "z"'),
    "Eltwise MAX": ("eltwise_param { operation: MAX }", 'bottom: "y" bottom: "z"'),
}


def made(case: str):
    fields, more = FIELDS[case]
    text = f'name: "l" type: "{case.split()[0]}" bottom: "x" {more} top: "t" {fields}'
    return create_layer(parse_text(text, LayerParameter, "l"), Context(phase="TRAIN"))


@pytest.mark.parametrize("case", FIELDS)
def test_with_nothing_overwritten_it_is_the_derivative(case):
    layer = made(case)
    count, random = len(layer.param.bottom), torch.Generator().manual_seed(3)
    layer.setup([(2, 3, 4, 5)] * count)
    inputs = [torch.randn(2, 3, 4, 5, generator=random, dtype=torch.float64).requires_grad_(True) for _ in range(count)]
    top = layer(*inputs)
    diff = torch.randn(top.shape, generator=random, dtype=torch.float64)
    wanted = torch.autograd.grad(top, inputs, diff)
    values, tops = tuple(x.detach() for x in inputs), (top.detach(),)
    found = backward_of(layer)(layer, Pass(values, tops, values, tops, (diff,), (True,) * count, False))
    for gradient, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-6, atol=1e-8)


def test_power_in_place_multiplies_its_slope_by_itself():
    layer = made("Power 1")
    x = torch.ones(2, 3)
    (gradient,) = backward_of(layer)(layer, Pass((x,), (x,), (x,), (x,), (7 * x,), (True,), True))
    assert torch.equal(gradient, torch.full((2, 3), 0.25))


def test_only_a_convolution_that_destroys_its_bottom_has_a_rule():
    text = 'name: "l" type: "Convolution" bottom: "x" top: "x" convolution_param { num_output: 3 kernel_size: 1 }'
    layer = create_layer(parse_text(text, LayerParameter, "l"), Context())
    assert backward_of(layer) is None
    assert destroying_backward_of(layer) is not None
