"""Where propagate_down false keeps no gradient back: Backward_cpu of these layers in Caffe 1.0 does not look at it."""

from __future__ import annotations

import pytest
import torch

import caffe_compat as cc

DATA = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } } '
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 '
    'weight_filler { type: "gaussian" std: 1 } } } '
)
HEEDLESS = {
    "BatchNorm": "", "Concat": "", "Flatten": "", "Im2col": "convolution_param { kernel_size: 2 }", "LRN": "",
    "MVN": "", "Reshape": "reshape_param { shape { dim: 0 dim: -1 } }", "Slice": "", "Softmax": "",
}  # fmt: skip
HEEDING = {"LRN": "lrn_param { norm_region: WITHIN_CHANNEL }", "TanH": "", "Dropout": "", "Split": ""}
KEPT_OFF = "propagate_down: false"


def loss(bottom: str, weight: float, operation: str = "ASUM") -> str:
    field = f"reduction_param {{ operation: {operation} }}"
    names = f'name: "of_{bottom}" bottom: "{bottom}" top: "loss_{bottom}"'
    return f'layer {{ {names} type: "Reduction" loss_weight: {weight} {field} }} '


def gradient(text: str, in_place: str = "caffe", conv: str = CONV) -> torch.Tensor:
    """Of the convolution's weights, which are the same for all."""
    torch.manual_seed(2)
    net = cc.Net(cc.parse_text(DATA + conv + text, cc.NetParameter), phase="TRAIN", in_place=in_place).double()
    weight = net.params["c"][0]
    with torch.no_grad():
        weight.copy_(torch.linspace(-1, 1, weight.numel()).view(weight.shape))
    torch.manual_seed(3)
    value = net.forward_with_loss(x=torch.randn(2, 3, 4, 5, dtype=torch.float64))[1]
    if value.requires_grad:
        value.backward()
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def layer(kind: str, fields: str, flag: str = "") -> str:
    return f'layer {{ name: "k" type: "{kind}" bottom: "c" top: "k" {fields} {flag} }} '


@pytest.mark.parametrize("kind", HEEDLESS)
def test_a_gradient_flows_on_where_another_reader_has_the_layer_above_run(kind: str) -> None:
    fields = HEEDLESS[kind]
    rest = loss("k", 2, "SUMSQ" if kind == "Softmax" else "ASUM") + loss("c", 0.5)  # what each kind does not fix
    wanted = gradient(layer(kind, fields) + rest)
    alone = gradient(loss("c", 0.5))
    assert not torch.allclose(wanted, alone)
    torch.testing.assert_close(gradient(layer(kind, fields, KEPT_OFF) + rest), wanted)
    torch.testing.assert_close(gradient(layer(kind, fields, KEPT_OFF) + rest, in_place="right"), alone)


@pytest.mark.parametrize("kind", HEEDING)
def test_other_layers_keep_it_back(kind: str) -> None:
    text = layer(kind, HEEDING[kind], KEPT_OFF) + loss("k", 2) + loss("c", 0.5)
    torch.testing.assert_close(gradient(text), gradient(loss("c", 0.5)))


@pytest.mark.parametrize("kind", HEEDLESS)
def test_no_layer_above_runs_for_such_a_layer_alone(kind: str) -> None:
    assert not gradient(layer(kind, HEEDLESS[kind], KEPT_OFF) + loss("k", 2)).any()


def test_a_loss_weight_has_it_run_and_a_reader_that_leads_to_no_loss_does_not() -> None:
    softmax, free = (layer("Softmax", "", flag) + loss("k", 2, "SUMSQ") for flag in (KEPT_OFF, ""))
    weighted = CONV.replace('top: "c"', 'top: "c" loss_weight: 0.5')
    torch.testing.assert_close(gradient(softmax, conv=weighted), gradient(free, conv=weighted))
    assert gradient(free, conv=weighted).any()
    unread = 'layer { name: "t" type: "TanH" bottom: "c" top: "t" } '
    assert not gradient(softmax + unread).any()
