"""Joined layers: the same loss and gradients, and everything as before behind the context."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.modules import module

import caffe_compat as cc
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.kernels.switch import needs_loops

NET = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 6 dim: 3 dim: 5 dim: 4 } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 2
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: BIAS
  filler { type: "uniform" min: 0.5 max: 2 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" }
layer { name: "copy" type: "ReLU" bottom: "scale" top: "copy" }
layer { name: "sum" type: "Eltwise" bottom: "scale" bottom: "copy" top: "sum" }
layer { name: "sigmoid" type: "Sigmoid" bottom: "sum" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("bias", ["true", "false"])
def test_loss_gradients_and_statistics_are_those_of_the_layers_apart(bias):
    torch.manual_seed(3)
    apart = cc.Net(parse_text(NET.replace("BIAS", bias), NetParameter), phase="TRAIN").double()
    joined = cc.Net(parse_text(NET.replace("BIAS", bias), NetParameter), phase="TRAIN")
    joined.load_weights(apart.weights())
    joined.double()
    data, label = torch.randn(6, 3, 5, 4).double(), torch.tensor([0.0, 1, 2, 0, 1, 2]).double()
    _, wanted = apart.forward_with_loss(data=data, label=label)
    wanted.backward()
    with JoinedLayers(joined):
        _, found = joined.forward_with_loss(data=data, label=label)
        found.backward()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-7)  # weights went through float32
    for mine, theirs in zip(joined.learnable_params, apart.learnable_params, strict=True):
        torch.testing.assert_close(mine.tensor.detach(), theirs.tensor.detach(), rtol=1e-6, atol=1e-7)
        if theirs.tensor.grad is not None:
            torch.testing.assert_close(mine.tensor.grad, theirs.tensor.grad, rtol=1e-6, atol=1e-8)


def test_only_tensors_that_nobody_needs_are_overwritten():
    """Not what Sigmoid made, whose gradient reads it, nor where the net keeps the bottom under a name of its own."""
    net = cc.Net(parse_text(NET.replace("BIAS", "true"), NetParameter), phase="TRAIN")
    with JoinedLayers(net):
        assert [net.layers[name].overwrites for name in ("relu", "copy", "relu2")] == [True, False, False]
    assert not any(net.layers[name].overwrites for name in ("relu", "copy", "relu2"))


RESIDUAL = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 6 dim: 4 dim: 5 dim: 4 } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { GLOBAL } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "conv2" type: "Convolution" bottom: "SOURCE" top: "conv2"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "conv2" top: "sum" }
layer { name: "relu3" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def residual(source, statistics=""):
    torch.manual_seed(4)
    text = RESIDUAL.replace("SOURCE", source).replace("GLOBAL", statistics)
    return cc.Net(parse_text(text, NetParameter), phase="TRAIN")


@pytest.fixture
def of_torch(monkeypatch):
    """Without compiled loops, whose numbers differ in rounding; they have their tests in test_chains.py."""
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")


def gradients_of(net):
    data = torch.randn(6, 4, 5, 4, generator=torch.Generator().manual_seed(5))
    net.forward_with_loss(data=data, label=torch.tensor([0.0, 1, 2, 0, 1, 2]))[1].backward()
    return [param.tensor.grad for param in net.learnable_params if param.tensor.grad is not None]


@pytest.mark.usefixtures("of_torch")
@pytest.mark.parametrize("source", ["conv", "data"])
def test_gradients_are_written_over_only_where_nobody_else_holds_them(source):
    """The sum hands one tensor down; what a convolution adds to it is a new one."""
    net = residual(source)
    joined = JoinedLayers(net)
    names = {layer.name for layer in joined.overwriters}
    assert names == ({"relu", "relu3"} if source == "conv" else {"relu3"})
    with joined:
        found = gradients_of(net)
    for mine, theirs in zip(found, gradients_of(residual(source)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_hook_keeps_the_gradient_it_saw():
    net, kept = residual("conv"), []

    def keep(layer, bottoms, top):
        top.register_hook(kept.append)

    net.layers["sum"].register_forward_hook(keep)
    net.layers["ip"].register_forward_pre_hook(lambda layer, bottoms: bottoms[0].register_hook(kept.append) and None)
    with JoinedLayers(net):
        gradients_of(net)
    above, below = kept
    assert torch.equal(below, above * (below != 0)) and not torch.equal(below, above)


@pytest.mark.parametrize("where", ["layers", "all modules"])
def test_hooks_of_backward_passes_keep_the_gradients_they_saw(where):
    net, kept = residual("conv"), []

    def keep(layer, below, above):
        kept.extend((each, each.clone()) for each in (*below, *above) if each is not None)

    if where == "layers":
        handles = [layer.register_full_backward_hook(keep) for _, layer in net.steps]
    else:
        handles = [module.register_module_full_backward_hook(keep)]
    try:
        with JoinedLayers(net):
            found = gradients_of(net)
    finally:
        for handle in handles:
            handle.remove()
    assert len(kept) > 8 and all(torch.equal(gradient, before) for gradient, before in kept)
    for mine, theirs in zip(found, gradients_of(residual("conv")), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("hook", ["behind bn", "before scale", "of all modules", "that converts"])
def test_hooks_between_batch_norm_and_scale_see_what_lies_there(hook):
    net, seen = cc.Net(parse_text(NET.replace("BIAS", "true"), NetParameter), phase="TRAIN"), []

    def see(layer, bottoms, *tops):
        if getattr(layer, "name", "") == ("scale" if hook in ("before scale", "that converts") else "bn"):
            seen.append((tops or bottoms)[0].clone())

    if hook == "behind bn":
        handle = net.layers["bn"].register_forward_hook(see)
    elif hook == "of all modules":
        handle = module.register_module_forward_hook(see)
    else:
        see.converts = hook == "that converts"
        handle = net.layers["scale"].register_forward_pre_hook(see)
    data = torch.randn(6, 3, 5, 4)
    try:
        with JoinedLayers(net), torch.no_grad():
            net(data=data)
    finally:
        handle.remove()
    assert torch.equal(seen[0], net.blobs(data=data)["bn"]) == (hook != "that converts")


def test_a_relu_whose_top_is_a_loss_writes_on_no_gradient():
    relu = 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" loss_weight: 2 }'
    text, found = RESIDUAL[: RESIDUAL.index('layer { name: "bn"')] + relu, []
    for is_joined in (True, False):
        torch.manual_seed(4)
        net = cc.Net(parse_text(text, NetParameter), phase="TRAIN")
        with JoinedLayers(net) if is_joined else nullcontext():
            found.append(gradients_of(net))
    assert all(torch.equal(mine, its) for mine, its in zip(*found, strict=True))


@pytest.mark.usefixtures("of_torch")
def test_a_bias_that_batch_norm_takes_off_gets_no_gradient_where_that_is_wanted():
    net = residual("conv")
    joined = JoinedLayers(net)
    assert [layer.name for layer in joined.biased] == ["conv"] and joined.moot == []
    wanted = gradients_of(net)
    assert wanted[1].abs().max() < 1e-6 * wanted[0].abs().max()  # rounding, and no more
    joined.spares = True
    net.zero_grad()
    with joined:
        gradients_of(net)
        assert joined.moot[0] is net.layers["conv"].blobs[1] and joined.moot[0].grad is None
        torch.testing.assert_close(net.layers["conv"].blobs[0].grad, wanted[0], rtol=1e-6, atol=1e-7)
    net.zero_grad()
    gradients_of(net)
    assert net.layers["conv"].blobs[1].grad is not None


@pytest.mark.parametrize(("source", "statistics"), [("conv", "use_global_stats: true"), ("raw", "")])
def test_a_bias_that_reaches_the_loss_keeps_its_gradient(source, statistics):
    """By stored statistics, and where another layer reads the convolution's top."""
    torch.manual_seed(4)
    text = RESIDUAL.replace("SOURCE", source).replace("GLOBAL", statistics)
    if source == "raw":
        text = text.replace('bottom: "data" top: "conv"', 'bottom: "data" top: "raw"')
        text = text.replace('type: "BatchNorm" bottom: "conv"', 'type: "BatchNorm" bottom: "raw"')
    assert JoinedLayers(cc.Net(parse_text(text, NetParameter), phase="TRAIN")).biased == []


def test_behind_the_context_every_blob_is_caffes_again():
    net = cc.Net(parse_text(NET.replace("BIAS", "true"), NetParameter), phase="TRAIN")
    data = torch.randn(6, 3, 5, 4)
    before = net.blobs(data=data)
    with JoinedLayers(net):
        assert not torch.equal(net.blobs(data=data)["bn"], before["bn"])
    after = net.blobs(data=data)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


POOLS = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 3 dim: 20 dim: 17 } shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 20 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 17 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "RELU2" relu_param { negative_slope: SLOPE } }
layer { name: "pool2" type: "Pooling" bottom: "RELU2" top: "pool2"
  pooling_param { pool: POOL kernel_size: 3 stride: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool2" top: "ip" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def pooled(pool="AVE", relu="conv2", more="", slope="0"):
    torch.manual_seed(6)
    text = POOLS.replace("POOL", pool).replace("RELU2", relu).replace("SLOPE", slope) + more
    return cc.Net(parse_text(text, NetParameter), phase="TRAIN")


def passes_of(net):
    data = torch.randn(4, 3, 20, 17, generator=torch.Generator().manual_seed(7))
    outputs, loss = net.forward_with_loss(data=data, label=torch.tensor([0.0, 1, 2, 0]))
    loss.backward()
    return outputs, [param.tensor.grad for param in net.learnable_params]


@needs_loops
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("relu", ["conv2", "relu2"])
def test_pooling_computes_the_relu_beside_it_with_the_same_loss_and_gradients(pool, relu):
    net = pooled(pool, relu)
    joined = JoinedLayers(net)
    assert [(one.name, other.name, place) for one, other, place in joined.pools] == [
        ("pool1", "relu1", "behind"), ("pool2", "relu2", "before"),
    ]  # fmt: skip
    with joined:
        assert net.layers["relu1"].is_done and net.layers["pool2"].rectified == "before"
        outputs, found = passes_of(net)
    assert not net.layers["relu1"].is_done and net.layers["pool2"].rectified == "no"
    others, wanted = passes_of(pooled(pool, relu))
    assert all(torch.equal(outputs[name], others[name]) for name in others)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, wanted, strict=True))


@pytest.mark.parametrize("prevented", ["hook", "float64", "off"])
def test_pooling_leaves_the_relu_alone_where_somebody_looks_or_no_loop_runs(prevented, monkeypatch):
    net = pooled()
    if prevented == "hook":
        net.layers["conv1"].register_forward_hook(lambda *passed: None)
    elif prevented == "float64":
        net.double()
    else:
        monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    with JoinedLayers(net):
        assert not net.layers["relu1"].is_done and net.layers["pool1"].rectified == "no"


@pytest.mark.parametrize(
    "how",
    [
        {"relu": "relu2", "more": 'layer { name: "more" type: "Power" bottom: "relu2" top: "more" }'},
        {"pool": "STOCHASTIC"},
        {"slope": "0.1"},
    ],
    ids=["the top is read twice", "STOCHASTIC", "a negative slope"],
)
def test_pooling_computes_no_relu_that_it_cannot_or_whose_blobs_others_read(how):
    assert [place for _, _, place in JoinedLayers(pooled(**how)).pools] == ["behind"]
