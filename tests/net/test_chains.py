"""Which BatchNorms are computed with what is behind them, and that training is the same with and without."""

from __future__ import annotations

import pytest
import torch

import caffe_compat as cc
from caffe_compat.layers.caffe import batch_norm_chain
from caffe_compat.layers.caffe.batch_norm_chain import Chain
from caffe_compat.layers.caffe.batch_norm_loops import normalized_by_loop
from caffe_compat.layers.caffe.eltwise_loops import RectifiedSum
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.kernels.switch import needs_loops

HEAD = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 8 dim: 3 dim: 6 dim: 4 } shape { dim: 8 } } }
"""
TAIL = """
layer { name: "ip" type: "InnerProduct" bottom: "BLOB" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def convolution(name: str, bottom: str) -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{
      num_output: 16 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}"""


def normalized(name: str, bottom: str, fields: str = "", scaled: bool = True, rectified: bool = True) -> str:
    """A convolution with everything behind it in place."""
    scale = f"""layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}"
      scale_param {{ bias_term: true }} }}"""
    relu = f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'
    return f"""{convolution(name, bottom)}
      layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}" {fields} }}
      {scale if scaled else ""} {relu if rectified else ""}"""


def summed(name: str, first: str, second: str, fields: str = "", rectified: bool = True) -> str:
    relu = f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'
    layer = f'layer {{ name: "{name}" type: "Eltwise" bottom: "{first}" bottom: "{second}" top: "{name}" {fields} }}'
    return layer + (relu if rectified else "")


RESIDUAL = (
    normalized("a", "data")
    + normalized("b", "a")
    + normalized("c", "b", rectified=False)
    + summed("d", "a", "c")
    + normalized("e", "d", scaled=False)
    + normalized("f", "e", rectified=False)
    + summed("g", "f", "d")
    + normalized("h", "g", rectified=False)
    + normalized("i", "g", rectified=False, scaled=False)
    + summed("j", "h", "i", rectified=False)
)


def make(layers: str, last: str = "j") -> cc.Net:
    torch.manual_seed(7)
    return cc.Net(parse_text(HEAD + layers + TAIL.replace("BLOB", last), NetParameter), phase="TRAIN")


def found(layers: str, last: str = "j") -> dict[str, tuple[str, int, str]]:
    """BatchNorm -> the sum, which bottom of it, and the ReLU."""
    chains = [chain for chain in JoinedLayers(make(layers, last)).chains if isinstance(chain, Chain)]
    return {
        chain.batch_norm.name: (
            chain.eltwise.name if chain.eltwise else "",
            chain.place,
            chain.relu.name if chain.relu else "",
        )
        for chain in chains
    }


def passes(net: cc.Net, joined: bool, double: bool = False) -> dict[str, torch.Tensor]:
    """The loss, all gradients, and all blobs of the layers after two passes."""
    random = torch.Generator().manual_seed(3)
    data, label = torch.randn(8, 3, 6, 4, generator=random), torch.arange(8.0) % 3
    if double:
        net, data, label = net.double(), data.double(), label.double()
    join = JoinedLayers(net)
    for _ in range(2):
        net.zero_grad()
        if joined:
            with join:
                loss = net.forward_with_loss(data=data, label=label)[1]
                loss.backward()
        else:
            loss = net.forward_with_loss(data=data, label=label)[1]
            loss.backward()
    values = {"loss": loss.detach()}
    for name, layer in net.layers.items():
        for index, blob in enumerate(layer.blobs):
            values[f"{name} {index}"] = blob.detach()
            if blob.grad is not None:
                values[f"{name} {index} gradient"] = blob.grad
    return values


def check_close(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """To 1e-5 of what is large; a bias that BatchNorm takes off has a gradient of rounding alone."""
    largest = max(value.abs().max().item() for name, value in theirs.items() if name.endswith("gradient"))
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        allowed = 1e-5 * (largest if name.endswith("gradient") else max(value.abs().max().item(), 1))
        torch.testing.assert_close(mine[name].to(value.dtype), value, rtol=0, atol=allowed, msg=name)


def test_a_chain_takes_what_is_behind_a_batch_norm():
    assert found(RESIDUAL) == {
        "a_bn": ("", 0, "a_relu"),
        "b_bn": ("", 0, "b_relu"),
        "c_bn": ("d", 1, "d_relu"),
        "e_bn": ("", 0, "e_relu"),
        "f_bn": ("g", 0, "g_relu"),
        "h_bn": ("", 0, ""),
        "i_bn": ("j", 1, ""),
    }


@pytest.mark.parametrize("way", ["on", "off"])
def test_training_is_that_of_the_layers_apart(monkeypatch, way):
    """Beside the same in float64, where no loop runs."""
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", way)
    mine, theirs = passes(make(RESIDUAL), joined=True), passes(make(RESIDUAL), joined=False, double=True)
    check_close(mine, theirs)


@needs_loops
def test_a_pass_of_chains_runs_loops(monkeypatch):
    tops = []

    def watched(*arguments):
        tops.append(normalized_by_loop(*arguments))
        return tops[-1]

    monkeypatch.setattr(batch_norm_chain, "normalized_by_loop", watched)
    passes(make(RESIDUAL), joined=True)
    assert len(tops) == 14 and all(top is not None for top in tops)
    tops.clear()
    passes(make(RESIDUAL), joined=False)
    assert not tops


@pytest.mark.parametrize(
    ("layers", "last", "wanted"),
    [
        pytest.param(
            normalized("a", "data", "batch_norm_param { use_global_stats: true }"), "a", {}, id="stored statistics"
        ),
        pytest.param(
            normalized("a", "data", rectified=False)
            + 'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }'
            + 'layer { name: "p" type: "Power" bottom: "a" top: "p" }'
            + summed("s", "r", "p"),
            "s",
            {"a_bn": ("", 0, "")},
            id="read twice",
        ),
        pytest.param(
            normalized("a", "data", rectified=False)
            + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" relu_param { negative_slope: 0.1 } }',
            "a",
            {"a_bn": ("", 0, "")},
            id="leaky",
        ),
        pytest.param(
            normalized("a", "data", rectified=False)
            + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" propagate_down: false }',
            "a",
            {"a_bn": ("", 0, "")},
            id="no gradient",
        ),
        pytest.param(
            normalized("a", "data", rectified=False, scaled=False)
            + 'layer { name: "p" type: "Power" bottom: "data" top: "p" }'
            + convolution("q", "p")
            + summed("s", "a", "q", "eltwise_param { coeff: 1 coeff: -1 }"),
            "s",
            {"a_bn": ("", 0, "")},
            id="a difference",
        ),
        pytest.param(
            normalized("a", "data", rectified=False)
            + convolution("q", "data")
            + summed("s", "a", "q", "eltwise_param { operation: MAX }"),
            "s",
            {"a_bn": ("", 0, "")},
            id="a maximum",
        ),
        pytest.param(
            normalized("a", "data", rectified=False).replace('name: "a_scale"', 'name: "a_scale" loss_weight: 0.5')
            + 'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }',
            "r",
            {"a_bn": ("", 0, "")},
            id="a loss",
        ),
        pytest.param(
            normalized("a", "data").replace("batch_norm_param", "").replace(
                'type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { scale_bias: true }'
            ),
            "a",
            {},
            id="a fork's",
        ),
    ],
)  # fmt: skip
def test_a_chain_takes_no_more_than_it_may(layers, last, wanted):
    assert found(layers, last) == wanted
    check_close(passes(make(layers, last), joined=True), passes(make(layers, last), joined=False))


def test_factors_of_a_scale_that_hands_nothing_down_are_learned():
    layers = normalized("a", "data").replace('name: "a_scale"', 'name: "a_scale" propagate_down: false')
    joined = JoinedLayers(make(layers, "a"))
    assert joined.pairs == [] and [chain.relu for chain in joined.chains] == [None]
    values = passes(make(layers, "a"), joined=True)
    assert values["a_scale 0 gradient"].abs().max() > 0 and "a 0 gradient" not in values


def test_a_bias_that_is_taken_off_may_go_without_gradient():
    net = make(RESIDUAL)
    join = JoinedLayers(net)
    join.spares = True
    with join:
        net.forward_with_loss(data=torch.randn(8, 3, 6, 4), label=torch.zeros(8))[1].backward()
        assert [blob.grad for blob in join.moot] == [None] * 7
    assert net.layers["a"].blobs[0].grad is not None


PLAIN_SUMS = (
    convolution("a", "data")
    + convolution("b", "a")
    + summed("c", "a", "b")
    + convolution("d", "c")
    + summed("e", "d", "c")
    + summed("f", "e", "c", "eltwise_param { coeff: 2 coeff: 1 }")
    + summed("g", "f", "e", rectified=False)
    + 'layer { name: "h" type: "ReLU" bottom: "g" top: "h" } layer { name: "i" type: "Power" bottom: "g" top: "i" }'
    + summed("j", "h", "i")
)


@pytest.mark.parametrize("way", ["on", "off"])
def test_a_sum_without_batch_norm_is_rectified_in_its_pass(monkeypatch, way):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", way)
    sums = [chain for chain in JoinedLayers(make(PLAIN_SUMS)).chains if isinstance(chain, RectifiedSum)]
    assert [(each.eltwise.name, each.relu.name) for each in sums] == [("c", "c_relu"), ("e", "e_relu"), ("j", "j_relu")]
    check_close(passes(make(PLAIN_SUMS), joined=True), passes(make(PLAIN_SUMS), joined=False, double=True))


TWO_CONVOLUTIONS = (
    normalized("a", "data")
    + normalized("b", "a")
    + summed("c", "a", "b")
    + normalized("d", "c", rectified=False)
    + normalized("e", "c")
    + normalized("f", "e", rectified=False)
    + summed("g", "d", "f")
    + "".join(normalized(name, "g") for name in "hij")
    + summed("k", "h", "i")
    + summed("l", "k", "j")
)


@pytest.mark.parametrize("way", ["on", "off"])
def test_gradients_of_several_convolutions_are_added_where_they_are_read(monkeypatch, way):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", way)
    net = make(TWO_CONVOLUTIONS, "l")
    joined = JoinedLayers(net)
    assert [(len(split.param.top), sorted(tops)) for split, tops in joined.splits] == [(2, [1]), (3, [1, 2])]
    check_close(passes(net, joined=True), passes(make(TWO_CONVOLUTIONS, "l"), joined=False, double=True))
    assert not any(split.asides for split, _ in joined.splits)


def test_hooks_see_what_each_layer_computes():
    net, seen = make(RESIDUAL), {}

    def see(layer, bottoms, top):
        seen[layer.name] = top.detach().clone()

    for name in ("c", "d", "d_relu"):
        net.layers[name].register_forward_hook(see)
    with JoinedLayers(net):
        net.forward_with_loss(data=torch.randn(8, 3, 6, 4), label=torch.zeros(8))
    assert (seen["d"] < 0).any()
    torch.testing.assert_close(seen["d_relu"], seen["d"].relu())


def test_behind_the_context_layers_are_apart_again():
    net = make(RESIDUAL)
    passes(net, joined=True)
    assert not any(vars(layer).get("chain") or vars(layer).get("is_done") for layer in net.layers.values())
    blobs = net.blobs(data=torch.randn(8, 3, 6, 4))
    assert (blobs["h"] < 0).any() and (blobs["d"] >= 0).all()
