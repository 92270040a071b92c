"""Layers over channels in ONNX: normalisations of the forks, rectifiers, dense blocks, reductions."""

import numpy as np
import pytest

import caffe_compat as cc
from tests.export.cases import largest_error, one_layer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MAP = (2, 4, 5, 6)
LAYERS = {
    "bn": ("BN", ""),
    "bn_of_the_batch": ("BN", 'top: "mean" top: "var" bn_param { bn_mode: LEARN }'),
    "batch_norm_of_the_batch": ("BatchNorm", "batch_norm_param { use_global_stats: false }"),
    "bn_infers": ("BN", "bn_param { bn_mode: INFERENCE }"),
    "nvidia_batch_norm": ("BatchNorm", "batch_norm_param { scale_bias: true }"),
    "intel_batch_norm": ("BatchNorm", "batch_norm_param { filler { value: 2 } relu: true }"),
    "intel_convolution": ("Convolution", "convolution_param { num_output: 3 kernel_size: 3 relu: true "
                                         "negative_slope: 0.1 }"),
    "intel_product": ("InnerProduct", "inner_product_param { num_output: 3 relu: true }"),
    "intel_average": ("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 avg_include_pad: false }"),
    "normalize_places": ("Normalize", "norm_param { across_spatial: false channel_shared: false }"),
    "normalize_items": ("Normalize", "norm_param { across_spatial: true channel_shared: true }"),
    "happynear_l2": ("Normalize", 'normalize_param { normalize_type: "L2" }'),
    "happynear_l1": ("Normalize", 'top: "length" normalize_param { normalize_type: "L1" }'),
    "channel_norm": ("ChannelNorm", ""),
    "relu6": ("ReLU6", ""),
    "leaky_relu6": ("ReLU6", "relu6_param { negative_slope: 0.2 }"),
    "mish": ("Mish", ""),
    "swish": ("Swish", "swish_param { beta: 1.5 }"),
    "hard_swish": ("HardSwish", ""),
    "negative_relu": ("NegReLU", "relu_param { negative_slope: 0.3 }"),
    "mean": ("Mean", "mean_param { operation: SUBTRACT value: 1 value: 2 mean_scale: 0.5 output_scale: 3 }"),
    "symmetric_rectify": ("SymmetricRectify", ""),
    "sparsify": ("Sparsify", "sparsify_param { thre: 0.4 }"),
    "dense_block": ("DenseBlock", "denseblock_param { numTransition: 3 growthRate: 2 }"),
    "narrow_dense_block": ("DenseBlock", "denseblock_param { numTransition: 2 growthRate: 2 use_BC: true }"),
    "reduction": ("Reduction", "reduction_param { operation: ASUM axis: 2 coeff: 0.5 }"),
    "reduction_to_a_number": ("Reduction", "reduction_param { operation: SUMSQ axis: 0 coeff: 2 }"),
    "arg_max_of_items": ("ArgMax", "argmax_param { top_k: 3 out_max_val: true }"),
    "arg_max_of_channels": ("ArgMax", "argmax_param { axis: 1 top_k: 2 }"),
    "pyramid": ("SPP", "spp_param { pyramid_height: 2 pool: MAX }"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_its_own_top(name, tmp_path):
    kind, settings = LAYERS[name]
    model = one_layer(f'layer {{ name: "l" type: "{kind}" bottom: "a" top: "y" {settings} }}', MAP)
    assert largest_error(model, tmp_path) <= 1e-5


def test_operators_that_a_runtime_computes_otherwise_are_not_written():
    """MNN: ReduceL2, Shrink; OpenCV: reductions over three axes, TopK of one; facts.tsv has what is left."""
    for kind, settings in LAYERS.values():
        made = cc.to_onnx(one_layer(f'layer {{ name: "l" type: "{kind}" bottom: "a" top: "y" {settings} }}', MAP))
        constants = {each.name: onnx.numpy_helper.to_array(each) for each in made.graph.initializer}
        for node in made.graph.node:
            assert node.op_type not in ("ReduceL2", "ReduceSumSquare", "Shrink", "GatherElements")
            if node.op_type.startswith("Reduce"):
                fields = {field.name: field.ints for field in node.attribute}
                assert len(constants[node.input[1]] if len(node.input) > 1 else fields["axes"]) < 3
            if node.op_type == "TopK":
                assert constants[node.input[1]] > 1


def test_axpy_scales_every_channel_of_every_item(tmp_path):
    layer = 'layer { name: "l" type: "Axpy" bottom: "a" bottom: "b" bottom: "c" top: "y" }'
    model = one_layer(layer, (2, 4, 1, 1), MAP, MAP)
    assert largest_error(model, tmp_path) <= 1e-6
    assert largest_error(model, tmp_path, dynamic_batch=True) <= 1e-6


def test_of_equal_values_the_last_place_comes_first(tmp_path):
    model = one_layer('layer { name: "l" type: "ArgMax" bottom: "a" top: "y" argmax_param { axis: 1 } }', (1, 5))
    cc.write_onnx(model, tmp_path / "net.onnx")
    equal = np.array([[1, 3, 3, 2, 3]], np.float32)
    assert cc.check_onnx(tmp_path / "net.onnx", model, {"a": equal}) == {"y": 0}
    assert float(cc.Net(model)(a=equal)["y"]) == 4


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5)])
@pytest.mark.parametrize("across", ["true", "false"])
def test_mvn_of_fewer_axes_has_a_top_of_four(shape, across, tmp_path):
    layer = f'layer {{ name: "l" type: "MVN" bottom: "a" top: "y" mvn_param {{ across_channels: {across} eps: 1 }} }}'
    model = one_layer(layer, shape)
    assert largest_error(model, tmp_path) <= 1e-5
    assert largest_error(model, tmp_path, dynamic_batch=True) <= 1e-5


@pytest.mark.parametrize("write", [cc.to_onnx, cc.to_exported_program, cc.torch_source])
def test_a_dropout_that_draws_in_test_is_refused_by_name(write):
    layer = 'layer { name: "l" type: "Dropout" bottom: "a" top: "y" dropout_param { sample_weights_test: true } }'
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'l' \(Dropout\): sample_weights_test makes it draw"):
        write(one_layer(layer, MAP))
