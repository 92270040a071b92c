"""Every layer type that plain PyTorch has a form for, held against the net blob by blob; names; refusals."""

import runpy

import pytest
import torch

import caffe_compat as cc
from caffe_compat.export.plain_torch.source import WRITERS
from tests.conftest import golden

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 dim: 9 dim: 7 } } }'
OTHER = 'layer { name: "in2" type: "Input" top: "y" input_param { shape { dim: 2 dim: 6 dim: 9 dim: 7 } } }'
LAYERS = {
    "strided": 'type: "Convolution" convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 '
    "pad_h: 1 pad_w: 0 group: 2 bias_term: false }",
    "dilated": 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 dilation: 2 }',
    "deconvolution": 'type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 '
    "group: 2 }",
    "inner product": 'type: "InnerProduct" inner_product_param { num_output: 5 weight_filler { type: "xavier" } }',
    "transposed": 'type: "InnerProduct" inner_product_param { num_output: 5 transpose: true axis: 2 '
    'weight_filler { type: "gaussian" std: 1 } }',
    "pool": 'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }',
    "pool floor": 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 round_mode: FLOOR }',
    "pool uneven": 'type: "Pooling" pooling_param { pool: AVE kernel_h: 4 kernel_w: 3 stride: 3 pad_h: 1 pad_w: 1 }',
    "pool padded": 'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 2 }',
    "global": 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
    "lrn": 'type: "LRN" lrn_param { local_size: 3 alpha: 0.2 beta: 0.6 k: 2 }',
    "lrn within": 'type: "LRN" lrn_param { local_size: 3 alpha: 0.2 beta: 0.6 norm_region: WITHIN_CHANNEL }',
    "relu": 'type: "ReLU"',
    "leaky": 'type: "ReLU" relu_param { negative_slope: 0.1 }',
    "prelu": 'type: "PReLU"',
    "elu": 'type: "ELU" elu_param { alpha: 0.5 }',
    "sigmoid": 'type: "Sigmoid"',
    "tanh": 'type: "TanH"',
    "bnll": 'type: "BNLL"',
    "abs": 'type: "AbsVal"',
    "dropout": 'type: "Dropout"',
    "softmax": 'type: "Softmax" softmax_param { axis: -1 }',
    "power": 'type: "Power" power_param { power: 2 scale: 0.5 shift: 3 }',
    "scaled": 'type: "Power" power_param { scale: -1 shift: -0.25 }',
    "exp": 'type: "Exp" exp_param { base: 2 scale: 0.5 shift: 1 }',
    "log": 'type: "Log" log_param { scale: 0.01 shift: 2 }',
    "clip": 'type: "Clip" clip_param { min: -0.5 max: 0.75 }',
    "threshold": 'type: "Threshold" threshold_param { threshold: 0.3 }',
    "batch norm": 'type: "BatchNorm"',
    "scale": 'type: "Scale" scale_param { bias_term: true filler { type: "gaussian" std: 1 } }',
    "scale all": 'type: "Scale" scale_param { axis: 0 num_axes: -1 filler { type: "gaussian" std: 1 } }',
    "bias": 'type: "Bias" bias_param { axis: 2 num_axes: 1 filler { type: "gaussian" std: 1 } }',
    "flatten": 'type: "Flatten" flatten_param { axis: 2 }',
    "reshape": 'type: "Reshape" reshape_param { shape { dim: 0 dim: 3 dim: -1 } }',
    "permute": 'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }',
    "shuffle": 'type: "ShuffleChannel" shuffle_channel_param { group: 3 }',
    "tile": 'type: "Tile" tile_param { axis: 2 tiles: 3 }',
    "mvn": 'type: "MVN" mvn_param { across_channels: true }',
    "mean": 'type: "MVN" mvn_param { normalize_variance: false }',
    "normalize": 'type: "Normalize" norm_param { across_spatial: false channel_shared: false '
    'scale_filler { type: "gaussian" std: 1 } }',
    "interp": 'type: "Interp" interp_param { height: 13 width: 11 }',
    "relu6": 'type: "Relu6"',
    "hard sigmoid": 'type: "HardSigmoid" hard_sigmoid_param { alpha: 0.5 beta: 0.25 }',
    "hard swish": 'type: "HardSwish"',
    "open hard swish": 'type: "HSwish"',
    "swish": 'type: "Swish" swish_param { beta: 1.5 }',
    "silu": 'type: "Swish"',
    "mish": 'type: "Mish"',
    "softplus": 'type: "Softplus"',
    "negative relu": 'type: "NegReLU" relu_param { negative_slope: 0.3 }',
    "channel means": 'type: "Mean" mean_param { operation: SUBTRACT value: 1 value: 2 mean_scale: 0.5 '
    "output_scale: 3 }",
    "instance norm": 'type: "InstanceNorm"',
    "group norm": 'type: "GroupNorm" group_norm_param { num_groups: 3 }',
    "bn": 'type: "BN"',
    "bn infers": 'type: "BN" bn_param { bn_mode: INFERENCE }',
    "l2 norm": 'type: "L2Norm"',
    "l2 norm, eps": 'type: "L2Norm" l2norm_param { eps: 0.5 }',
    "l2 norm, length": 'type: "L2Norm" l2norm_param { l2_length: 3 }',
    "happynear l2": 'type: "Normalize" normalize_param { normalize_type: "L2" }',
    "channel norm": 'type: "ChannelNorm"',
    "sparsify": 'type: "Sparsify" sparsify_param { thre: 0.4 }',
    "blob product": 'type: "MatMul" matmul_param { blob_shape: 7 blob_shape: 5 }',
    "padding": 'type: "Padding" padding_param { pad_t: 1 pad_b: 2 pad_l: 3 pad_value: -2 }',
    "cut": 'type: "Padding" padding_param { pad_beg: -1 pad_end: -2 }',
    "mirror": 'type: "Padding" padding_param { type: MIRROR pad_up: 4 pad_down: 3 pad_left: 1 pad_right: 6 }',
    "blocks": 'type: "PassThrough" pass_through_param { block_height: 3 block_width: 7 }',
    "reorg back": 'type: "Reorg" reorg_param { stride: 1 reverse: true }',
    "region": 'type: "RegionYolo" region_yolo_param { coords: 4 classes: 1 num: 1 }',
    "region 3": 'type: "RegionYolo" region_yolo_param { classes: 1 num: 9 do_softmax: false mask: 3 }',
    "reverse": 'type: "Reverse" reverse_param { axis: 2 }',
    "transpose": 'type: "Transpose" transpose_param { dim: 1 dim: 0 dim: 3 dim: 2 }',
    "centre": 'type: "CropCenter" crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 1 }',
    "upsample": 'type: "Upsample" upsample_param { scale: 2 }',
    "sum of squares": 'type: "Reduction" reduction_param { operation: SUMSQ axis: 2 coeff: 0.5 }',
    "absolute sum": 'type: "Reduction" reduction_param { operation: ASUM }',
    "mean of all": 'type: "Reduction" reduction_param { operation: MEAN axis: -3 }',
    "largest": 'type: "ArgMax"',
    "largest few": 'type: "ArgMax" argmax_param { top_k: 3 out_max_val: true }',
    "largest channels": 'type: "ArgMax" argmax_param { axis: 1 top_k: 2 out_max_val: true }',
}
PAIRS = {
    "sum": 'type: "Eltwise" eltwise_param { coeff: 1 coeff: -0.5 }',
    "product": 'type: "Eltwise" eltwise_param { operation: PROD }',
    "maximum": 'type: "Eltwise" eltwise_param { operation: MAX }',
    "maximum of three": 'type: "Eltwise" bottom: "x" eltwise_param { operation: MAX }',
    "concat": 'type: "Concat" concat_param { axis: -1 }',
    "scale by another": 'type: "Scale" scale_param { axis: 0 }',
    "crop": 'type: "Crop" crop_param { axis: 2 offset: 0 }',
    "matrices": 'type: "MatMul" matmul_param { transpose_b: true }',
    "clustered": 'type: "PriorBoxClustered" prior_box_param { width: 3 height: 2 }',
    "prior boxes": 'type: "PriorBox" prior_box_param { min_size: 4 aspect_ratio: 2 }',
}
ELSEWHERE = {"Axpy", "BatchReindex", "ContinuationIndicator", "ConvolutionDepthwise", "DepthwiseConvolution", "Embed",
             "Gather", "MaxUnPool", "ReLU6", "ReorgYolo", "Scatter", "Silence", "Slice", "Split", "SyncBN"}  # fmt: skip


def with_drawn_weights(text):
    torch.manual_seed(0)
    net = cc.Net(cc.Model(cc.parse_text(text, cc.NetParameter), {}), "TEST")
    weights = net.weights()
    for blobs in weights.values():
        for blob in blobs:
            if not blob.any() and blob.flags.writeable:
                blob[...] = 0.5
    return cc.Model(net.param, weights)


def compared(text, tmp_path):
    """Errors of every blob of a net of drawn weights, made PyTorch source and run; GraphError above 1e-5."""
    return cc.write_torch_source(with_drawn_weights(text), tmp_path / "net")


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_gives_what_the_net_gives(kind, tmp_path):
    errors = compared(f'{INPUT} layer {{ name: "a layer" bottom: "x" top: "top" {LAYERS[kind]} }}', tmp_path)
    assert set(errors) == {"x", "top"}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_layer_of_two_bottoms_gives_what_the_net_gives(kind, tmp_path):
    layer = f'layer {{ name: "two" bottom: "x" bottom: "y" top: "top" {PAIRS[kind]} }}'
    assert set(compared(f"{INPUT} {OTHER} {layer}", tmp_path)) == {"x", "y", "top"}


@pytest.mark.parametrize("kind", [*LAYERS, *PAIRS])
def test_gradients_are_the_nets_at_kinks_and_ties_too(kind, tmp_path):
    """Quarters from -2 to 2 hold 0, the ends of the clip, and equal values within windows and between bottoms."""
    bottoms = 'bottom: "x" bottom: "y"' if kind in PAIRS else 'bottom: "x"'
    layer = f'layer {{ name: "l" {bottoms} top: "top" {PAIRS.get(kind) or LAYERS[kind]} }}'
    model = with_drawn_weights(f"{INPUT} {OTHER if kind in PAIRS else ''} {layer}")
    cc.write_torch_source(model, tmp_path / "net", check=False)
    program = runpy.run_path(str(tmp_path / "net" / "model.py"))
    made = program["load"](tmp_path / "net" / "weights.safetensors").eval().double()
    generator = torch.Generator().manual_seed(0)
    given = {
        name: (torch.randint(-8, 9, (2, 6, 9, 7), generator=generator).double() / 4).requires_grad_()
        for name in program["INPUTS"]
    }
    tops = [cc.Net(model, "TEST").eval().double()(**given)["top"], made(*given.values())]
    if not tops[0].requires_grad:
        assert not tops[1].requires_grad
        return
    slopes = torch.randn(tops[0].shape, generator=generator).double()
    expected, found = (
        torch.autograd.grad((top * slopes).sum(), list(given.values()), materialize_grads=True) for top in tops
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_every_type_that_has_a_form_is_held_against_the_net():
    shown = [layer.split('"')[1] for layer in (*LAYERS.values(), *PAIRS.values())]
    assert set(WRITERS) == ELSEWHERE | set(shown)


def test_blocks_become_channels_and_channels_blocks(tmp_path):
    given = INPUT.replace("dim: 6 dim: 9 dim: 7", "dim: 4 dim: 8 dim: 6")
    for kind, fields in (("Reorg", ""), ("Reorg", "reverse: true"), ("ReorgYolo", "")):
        settings = f"reorg{'_yolo' * (kind == 'ReorgYolo')}_param {{ stride: 2 {fields} }}"
        layer = f'layer {{ name: "l" type: "{kind}" bottom: "x" top: "top" {settings} }}'
        assert compared(f"{given} {layer}", tmp_path) == {"x": 0, "top": 0}


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Upsample" upsample_param { upsample_h: 9 upsample_w: 7 }',
        'type: "MaxUnPool" max_unpool_param { dst_h: 9 dst_w: 7 }',
    ],
)
def test_a_mask_says_where_values_go(layer):
    shape = "input_param { shape { dim: 2 dim: 3 dim: 2 dim: 2 } }"
    inputs = "".join(f'layer {{ name: "{name}" type: "Input" top: "{name}" {shape} }}' for name in "pm")
    net = f'{inputs} layer {{ name: "u" bottom: "p" bottom: "m" top: "u" {layer} }}'
    text, _ = cc.torch_source(cc.Model(cc.parse_text(net, cc.NetParameter)))
    scope = {"__file__": "model.py"}
    exec(text, scope)
    values = torch.arange(1.0, 25).reshape(2, 3, 2, 2)
    mask = torch.tensor([0.0, 8, 30, 62]).reshape(1, 1, 2, 2).expand(2, 3, 2, 2).contiguous()
    found = scope["Model"]()(values, mask).flatten(2)
    assert found.shape == (2, 3, 63) and torch.equal(found[..., [0, 8, 30, 62]], values.flatten(2))
    assert found.count_nonzero() == 24


def test_a_mask_of_a_pooling_layer_is_refused_by_name():
    pool = 'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 } }'
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'p' \(Pooling\): its second top is the mask"):
        cc.torch_source(cc.Model(cc.parse_text(f"{INPUT} {pool}", cc.NetParameter)))


def test_words_are_embedded_and_items_taken_anew(tmp_path):
    index = 'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 4 } } }'
    embed = 'layer { name: "e" type: "Embed" bottom: "i" top: "e" embed_param { input_dim: 2 num_output: 3 } }'
    again = 'layer { name: "r" type: "BatchReindex" bottom: "x" bottom: "i" top: "r" }'
    errors = compared(f"{INPUT} {index} {embed} {again}", tmp_path)
    assert {"e", "r"} <= set(errors) and max(errors.values()) == 0


def test_slices_give_each_top(tmp_path):
    layer = 'layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 2 } }'
    assert set(compared(f"{INPUT} {layer}", tmp_path)) == {"x", "a", "b"}


def test_names_that_python_has_no_room_for_and_names_that_meet_are_told_apart(tmp_path):
    relu = 'layer {{ name: "{}" type: "ReLU" bottom: "{}" top: "{}" }}'
    names = ["3a/relu", "3a_relu", "class", "forward", "torch", "load_state_dict", "π"]
    tops = ["1/x", "1_x", "lambda", "self", "nn", "blobs", "é"]
    layers = [relu.format(name, bottom, top) for name, bottom, top in zip(names, ["x", *tops], tops, strict=False)]
    again = relu.format("class", "é", "last")
    assert set(compared(" ".join([INPUT, *layers, again]), tmp_path)) == {"x", *tops, "last"}


def test_layers_that_share_a_blob_share_a_parameter(tmp_path):
    fields = 'inner_product_param { num_output: 7 axis: 3 bias_term: false weight_filler { type: "xavier" } }'
    shared = f'type: "InnerProduct" param {{ name: "w" }} {fields}'
    layers = f'layer {{ name: "a" bottom: "x" top: "a" {shared} }} layer {{ name: "b" bottom: "a" top: "b" {shared} }}'
    text, _ = cc.torch_source(cc.Model(cc.parse_text(f"{INPUT} {layers}", cc.NetParameter), {}))
    assert "self.b.weight = self.a.weight" in text
    assert compared(f"{INPUT} {layers}", tmp_path)["b"] <= 1e-5


@pytest.mark.parametrize(
    "layer, reason",
    [
        ('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', "pool is STOCHASTIC"),
        ('type: "SPP" spp_param { pyramid_height: 2 }', r"layer 'l' \(SPP\)"),
        ('type: "SoftmaxWithLoss" bottom: "y"', "which belongs to training; export the deploy net"),
    ],
)
def test_what_plain_pytorch_has_no_form_for_is_refused_by_name(layer, reason, tmp_path):
    label = 'layer { name: "in2" type: "Input" top: "y" input_param { shape { dim: 2 dim: 1 dim: 9 dim: 7 } } }'
    text = f'{INPUT} {label} layer {{ name: "l" bottom: "x" top: "top" {layer} }}'
    with pytest.raises(cc.UnsupportedLayerError, match=reason):
        cc.write_torch_source(cc.Model(cc.parse_text(text, cc.NetParameter), {}), tmp_path / "net")
    assert not (tmp_path / "net").exists()


GOLDEN = {  # of types without a form a small net each
    "Accuracy": "accuracy", "ContrastiveLoss": "contrastive", "EuclideanLoss": "euclid", "Filter": "filter",
    "HingeLoss": "hinge_l1", "Im2col": "im2col", "InfogainLoss": "infogain_bottom", "LSTM": "lstm",
    "LSTMUnit": "lstmunit", "MultinomialLogisticLoss": "multinomial", "RNN": "rnn", "SPP": "spp_ave2",
    "SigmoidCrossEntropyLoss": "sigce_binary", "SoftmaxWithLoss": "swl_all_ignored", "SymmetricRectify": "symrect",
}  # fmt: skip


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_type_without_a_form_is_refused_by_name(kind):
    with pytest.raises(cc.UnsupportedLayerError, match=rf"plain PyTorch has no form for layer 'lay' \({kind}\)"):
        cc.torch_source(cc.read_model(golden("layers", f"{GOLDEN[kind]}.prototxt")))


def test_a_layer_that_overwrites_what_it_reads_is_refused_and_written_with_the_prototxts_values(tmp_path):
    net = cc.parse_text(f'{INPUT} layer {{ name: "l" type: "LRN" bottom: "x" top: "x" }}', cc.NetParameter)
    with pytest.raises(
        cc.UnsupportedLayerError, match=r"layer 'l' \(LRN\): what it reads is overwritten in place; --in"
    ):
        cc.write_torch_source(cc.Model(net, {}), tmp_path / "net")


def test_dropout_drops_where_the_model_trains(tmp_path):
    compared(f'{INPUT} layer {{ name: "d" type: "Dropout" bottom: "x" top: "d" }}', tmp_path)
    program = runpy.run_path(str(tmp_path / "net" / "model.py"))
    model, data = program["load"](tmp_path / "net" / "weights.safetensors"), torch.ones(2, 6, 9, 7)
    assert set(model.train()(data).unique().tolist()) == {0, 2} and set(model.eval()(data).unique().tolist()) == {1}
