"""HMHSA and the blocks of TransCNN and HAT-Net: forward, backward, statistics and files, as its authors' modules."""

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.layers.base import Context
from caffe_compat.layers.forks.transcnn.hmhsa import HMHSA
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text
from tests.solver.methods.golden import Case, cases, runner_of

ATOL = 1e-10
PARTS = ("norm", "qkv", "grid_norm", "ds_norm", "q", "kv", "proj")
STATISTICS = ("norm", "grid_norm", "ds_norm")


def is_group(case):
    """HAT-Net's norm has no running statistics, so that a case of it has no buffer."""
    return not case.names("buffer.")


class Built:
    """A net built of the authors' parameters under `prefix`; `places` says where each of them lies."""

    def __init__(self, case, shape):
        self.case, self.text, self.places, self.statistics = case, [], {}, {}
        dims = " ".join(f"dim: {size}" for size in shape)
        self.add("x", "Input", f"input_param {{ shape {{ {dims} }} }}", ())
        self.bottom = "x"

    def add(self, name, kind, fields="", bottoms=None):
        names = " ".join(f'bottom: "{bottom}"' for bottom in ([self.bottom] if bottoms is None else bottoms))
        self.text.append(f'layer {{ name: "{name}" type: "{kind}" {names} top: "{name}" {fields} }}')
        self.bottom = name
        return name

    def conv(self, name, stride=1, group=1, bottom=None):
        weight = self.case[f"param.{name}.weight"]
        bias = f"param.{name}.bias" in self.case
        fields = (
            f"convolution_param {{ num_output: {len(weight)} kernel_size: {weight.shape[2]} "
            f"pad: {weight.shape[2] // 2} stride: {stride} group: {group} bias_term: {str(bias).lower()} }}"
        )
        self.add(name, "Convolution", fields, [bottom or self.bottom])
        self.places.update({f"{name}.{part}": (name, k) for k, part in enumerate(("weight", "bias")[: 1 + bias])})
        return name

    def norm(self, name, bottom=None):
        if is_group(self.case):
            self.add(name, "GroupNorm", "group_norm_param { eps: 1e-6 }", [bottom or self.bottom])
        else:
            fields = "batch_norm_param { moving_average_fraction: 0.9 }"
            self.add(f"{name}.bn", "BatchNorm", fields, [bottom or self.bottom])
            self.statistics[name] = (f"{name}.bn", 0, 1)
            self.add(name, "Scale", "scale_param { bias_term: true }")
        self.places.update({f"{name}.weight": (name, 0), f"{name}.bias": (name, 1)})
        return name

    def attention(self, name, grid, ratio, head_dim):
        kind = "GROUP" if is_group(self.case) else "BATCH"
        fields = f"hmhsa_param {{ head_dim: {head_dim} grid_size: {grid} ds_ratio: {ratio} norm: {kind} }}"
        layer = name or "attention"
        self.add(layer, "HMHSA", fields)
        start, parts = f"{name}." if name else "", PARTS if grid > 1 else ("norm", "qkv", "proj")
        for k, part in enumerate(parts):
            self.places[f"{start}{part}.weight"] = (layer, 2 * k)
            self.places[f"{start}{part}.bias"] = (layer, 2 * k + 1)
        norms = [part for part in parts if part in STATISTICS] if not is_group(self.case) else []
        for k, part in enumerate(norms):
            self.statistics[f"{start}{part}"] = (layer, 2 * len(parts) + 2 * k, 2 * len(parts) + 2 * k + 1)
        return layer

    def sum(self, name, *bottoms):
        return self.add(name, "Eltwise", "", bottoms)

    def silu(self, name):
        return self.add(f"{name}.silu", "Swish")

    def net(self, phase):
        net = Net(parse_text("\n".join(self.text), cc.NetParameter), phase).double()
        with torch.no_grad():
            for name, (layer, place) in self.places.items():
                blob = net.params[layer][place]
                blob.copy_(torch.as_tensor(self.case[f"param.{name}"]).reshape(blob.shape))
            for name, (layer, mean, var) in self.statistics.items():
                factor = 10.0 if net.layers[layer].param.type == "BatchNorm" else 1.0  # at which 0.9 and 1 make 0.1
                for place, part in ((mean, "mean"), (var, "var")):
                    net.params[layer][place].copy_(torch.as_tensor(self.case[f"buffer.{name}.running_{part}"]) * factor)
                if factor > 1:
                    net.params[layer][2].fill_(factor)
                    net.layers[layer].fraction, net.layers[layer].eps = 0.9, 1e-5  # not their float32s
        return net


def near(case, found, wanted, what):
    np.testing.assert_allclose(
        np.asarray(found), wanted, rtol=0, atol=case.relative * max(1, np.abs(wanted).max()), err_msg=what
    )


def check(built, case):
    training = case.hyper["training"]
    net = built.net("TRAIN" if training else "TEST")
    for parameter in net.parameters():
        parameter.requires_grad_()
    x = torch.as_tensor(case["x"]).requires_grad_()
    y = net(x=x)[built.bottom]
    near(case, y.detach().reshape(case["y"].shape), case["y"], "y")
    (y.reshape(case["dy"].shape) * torch.as_tensor(case["dy"])).sum().backward()
    near(case, x.grad, case["dx"], "dx")
    for name, (layer, place) in built.places.items():
        if f"grad.{name}" in case:
            found = net.params[layer][place].grad.reshape(case[f"grad.{name}"].shape)
            near(case, found, case[f"grad.{name}"], name)
    unread = {name for name in case.names("grad.") if name not in built.places}
    assert not unread, unread
    for name, (layer, mean, var) in built.statistics.items():
        factor = float(net.params[layer][2]) if net.layers[layer].param.type == "BatchNorm" else 1.0
        for place, part in ((mean, "mean"), (var, "var")):
            if f"after.{name}.running_{part}" in case:
                found = net.params[layer][place].detach() / factor
                near(case, found, case[f"after.{name}.running_{part}"], name)
    return net


def attention(case, record):
    hyper = case.hyper
    built = Built(case, case["x"].shape)
    built.attention("", hyper["grid_size"], hyper["ds_ratio"], hyper["head_dim"])
    check(built, case)
    for found, wanted in zip(record, [case[key] for key in case.arrays if key.startswith("attention_")], strict=False):
        if wanted.ndim == 3:  # theirs: heads before grids
            batch, tokens = len(case["x"]), found.shape[-1]
            found = found.reshape(batch, -1, found.shape[1], tokens, tokens).swapaxes(1, 2)
        near(case, found.reshape(wanted.shape), wanted, "attention")


def block(built, name, hyper, stage=None):
    def of(key):
        return hyper[key] if stage is None else hyper[f"{key}s"][stage]

    start = built.bottom
    end = built.attention(f"{name}.attn", of("grid_size"), of("ds_ratio"), hyper["head_dim"])
    first = built.sum(f"{name}.first", start, end)
    case, inner = built.case, f"{name}.conv"
    if is_group(case):
        built.norm(f"{inner}.conv1.0")
        built.conv(f"{inner}.conv1.1")
        built.silu(f"{inner}.1")
        built.conv(f"{inner}.conv2.0", group=len(case[f"param.{inner}.conv2.0.weight"]))
        built.silu(f"{inner}.2")
        built.conv(f"{inner}.conv3.0")
        last = built.norm(f"{inner}.conv3.1")
    else:
        for part in ("conv1", "conv2", "conv3"):
            group = len(case[f"param.{inner}.conv2.0.weight"]) if part == "conv2" else 1
            built.conv(f"{inner}.{part}.0", group=group)
            last = built.norm(f"{inner}.{part}.1")
            if part != "conv3":
                last = built.silu(f"{inner}.{part}")
    built.sum(f"{name}.second", first, last)


def downsample(built, name):
    start = built.bottom
    built.conv(f"{name}.conv", stride=2)
    if is_group(built.case):
        built.norm(f"{name}.norm")
        return
    one = built.norm(f"{name}.norm1")
    pool = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
    built.add(f"{name}.pool", "Pooling", pool, [start])
    built.conv(f"{name}.residual")
    two = built.norm(f"{name}.norm2")
    built.sum(f"{name}.sum", one, two)
    built.silu(name)


def stage(case, record):
    built = Built(case, case["x"].shape)
    for number in range(case.hyper["depth"]):
        block(built, f"blocks.{number}", case.hyper)
    downsample(built, "ds")
    for name in ("weight", "bias"):  # of HAT-Net, made and never used by its authors
        for number in range(case.hyper["depth"]):
            built.case.arrays.pop(f"grad.blocks.{number}.attn.proj_norm.{name}", None)
    check(built, case)


def whole(case, record):
    built = Built(case, case["x"].shape)
    built.conv("patch_embed.0", stride=2)
    built.norm("patch_embed.1")
    built.silu("stem")
    built.conv("patch_embed.3", stride=2)
    for number, depth in enumerate(case.hyper["depths"]):
        if number:
            downsample(built, f"ds{number + 1}")
        for k in range(depth):
            block(built, f"blocks.{number}.{k}", case.hyper, number)
    built.add("mean", "Pooling", "pooling_param { pool: AVE global_pooling: true }")
    classes = case.hyper["num_classes"]
    built.add("classifier.1", "InnerProduct", f"inner_product_param {{ num_output: {classes} }}")
    built.places.update({"classifier.1.weight": ("classifier.1", 0), "classifier.1.bias": ("classifier.1", 1)})
    check(built, case)


RUNNERS = {"attention": attention, "stage": stage, "net": whole}


@pytest.mark.parametrize("name", cases("hmhsa"))
def test_it_is_its_authors(name, monkeypatch):
    record, attend = [], HMHSA.attention

    def recorded(self, query, key):
        weights = attend(self, query, key)
        record.append(weights.detach().numpy())
        return weights

    monkeypatch.setattr(HMHSA, "attention", recorded)
    case = Case("hmhsa", name)
    case.relative = 1e-5 if case["x"].dtype == np.float32 else ATOL
    case.arrays = {key: array.astype(np.float64) for key, array in case.arrays.items()}
    runner_of(RUNNERS, name)(case, record)


TEXT = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 8 dim: {high} dim: {wide} }} }} }}
layer {{ name: "a" type: "HMHSA" bottom: "data" top: "a" hmhsa_param {{ {fields} }} }}
layer {{ name: "g" type: "GroupNorm" bottom: "a" top: "g" group_norm_param {{ num_groups: 2 }} }}
"""


def model(fields, high=4, wide=6):
    fields = fields if "head_dim" in fields else f"head_dim: 4 {fields}"
    net = parse_text(TEXT.format(fields=fields, high=high, wide=wide), cc.NetParameter)
    made = Net(net, "TEST")
    rng = np.random.default_rng(0)
    weights = {
        name: tuple(np.abs(rng.normal(size=tuple(b.shape))).astype(np.float32) + 0.1 for b in blobs)
        for name, blobs in made.params.items()
    }
    return cc.Model(net, weights)


@pytest.mark.parametrize(
    "fields", ["grid_size: 2 ds_ratio: 2", "grid_size: 1", "grid_size: 2 norm: GROUP", "grid_size: 2 bias_term: false"]
)
def test_it_goes_through_a_caffemodel_and_onnx(fields, tmp_path):
    pytest.importorskip("onnxruntime")
    made = model(fields)
    cc.write_model(made, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    again = cc.read_model(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    for name, blobs in made.weights.items():
        for one, other in zip(blobs, again.weights[name], strict=True):
            np.testing.assert_array_equal(one, other)
    cc.write_onnx(again, tmp_path / "n.onnx")
    assert max(cc.check_onnx(tmp_path / "n.onnx", again).values()) < 1e-5


@pytest.mark.parametrize(
    ("fields", "high", "message"),
    [
        ("grid_size: 3", 4, "layer 'a': a map of \\(4, 6\\) cannot be cut into grids of side 3"),
        ("head_dim: 3", 4, "layer 'a': 8 channels are no multiple of head_dim 3"),
        ("grid_size: 2 ds_ratio: 9", 4, "layer 'a': a map of \\(4, 6\\) is smaller than ds_ratio 9"),
        ("grid_size: 0", 4, "layer 'a': grid_size is 0; wanted 1 or more"),
    ],
)
def test_what_cannot_be_is_named(fields, high, message):
    with pytest.raises(cc.CaffeCompatError, match=message):
        model(fields, high)


def test_statistics_do_not_learn():
    param = parse_text('name: "a" type: "HMHSA" hmhsa_param { head_dim: 2 }', LayerParameter)
    layer = HMHSA(param, Context("TRAIN"))
    layer.setup([(1, 4, 2, 2)])
    assert layer.fixed_blobs == (6, 7)
