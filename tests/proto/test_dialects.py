"""Fields that mean different things in different forks: told apart by layer type and wire type, and written back."""

import struct

import pytest

from caffe_compat.proto import schema
from caffe_compat.proto.binary import read_net, write_net
from caffe_compat.proto.collisions import undecided
from caffe_compat.proto.dialects import Dialect, detect, disputed, fork_fields, unknown_fields
from caffe_compat.proto.text import parse_text
from caffe_compat.proto.wire import delimited, tag, varint
from tests.conftest import shared


def number(field, value):
    return tag(field, 0) + varint(value)


def single(field, value):
    return tag(field, 5) + struct.pack("<f", value)


def layer(layer_type, *fields):
    return delimited(100, delimited(1, b"a") + delimited(2, layer_type.encode()) + b"".join(fields))


def read(data, tmp_path):
    """The net in `data`, which must come back byte for byte when it is written."""
    (tmp_path / "in.caffemodel").write_bytes(data)
    net, weights = read_net(tmp_path / "in.caffemodel")
    write_net(tmp_path / "out.caffemodel", net, weights)
    again, _ = read_net(tmp_path / "out.caffemodel")
    assert again == net
    assert len((tmp_path / "out.caffemodel").read_bytes()) == len(data)
    return net


# What stands at a contested number -> the field it is, by the layer's type. Sources: the forks' caffe.proto files
CONTESTED = [
    ("Swish", delimited(147, single(1, 0.5)), "swish_param { beta: 0.5 }", "bvlc"),
    ("Sparsify", delimited(147, single(1, 0.5)), "sparsify_param { thre: 0.5 }", "wen2017"),
    (  # IncReg's file
        "Convolution",
        delimited(148, single(1, 0.5) + number(2, 0) + single(3, 0.25)),
        "prune_param { prune_ratio: 0.5 IF_update_row_col: false prune_ratio_step: 0.25 }",
        "bvlc",
    ),
    ("InnerProduct", delimited(148, single(1, 0.5)), "prune_param { prune_ratio: 0.5 }", "bvlc"),
    ("ROIPooling", delimited(147, number(1, 6)), "roi_pooling_param { pooled_h: 6 }", None),
    ("Clip", delimited(148, single(1, -1) + single(2, 1)), "clip_param { min: -1 max: 1 }", "bvlc"),
    ("SymmetricRectify", delimited(148, number(2, 1)), "symmetric_rectify_param { channel_shared: true }", "wen2017"),
    ("Permute", delimited(202, number(1, 2)), "permute_param { order: 2 }", "ssd"),
    ("Upsample", delimited(137, number(1, 2)), "upsample_param { scale: 2 }", None),
    ("Embed", delimited(137, number(1, 2)), "embed_param { num_output: 2 }", "bvlc"),
    ("Sparsify", number(147, 1), "forward_math: FLOAT", "nvidia"),
    ("Convolution", number(145, 2), "forward_type: FLOAT16", "nvidia"),
    (
        "PriorBoxClustered",
        delimited(203, single(14, 9.5) + single(15, 3)),
        "prior_box_param { width: 9.5 height: 3 }",
        None,
    ),
    ("RegionYolo", delimited(214, number(2, 3)), "region_yolo_param { classes: 3 }", "openvino"),
    ("ReLU6", delimited(216, single(1, 0.5)), "relu6_param { negative_slope: 0.5 }", None),
    ("MatMul", delimited(154, number(1, 1)), "matmul_param { transpose_a: true }", None),
    ("Padding", delimited(166, number(2, 1)), "padding_param { pad_l: 1 }", "sophgo"),
    ("PassThrough", delimited(157, number(2, 2)), "pass_through_param { block_height: 2 }", "winggan"),
    ("ContinuationIndicator", delimited(201, number(1, 80)), "continuation_indicator_param { time_step: 80 }", None),
    ("HardSigmoid", delimited(501, single(1, 0.5)), "hardsigmoid_param { alpha: 0.5 }", "inisis"),
    ("Parameter", delimited(145, delimited(1, delimited(1, b"\3"))), "parameter_param { shape { dim: 3 } }", "bvlc"),
]


@pytest.mark.parametrize(("layer_type", "field", "text", "dialect"), CONTESTED)
def test_layer_type_and_wire_type_tell_what_a_contested_number_is(layer_type, field, text, dialect, tmp_path):
    net = read(layer(layer_type, field), tmp_path)
    assert net == parse_text(f'layer {{ name: "a" type: "{layer_type}" {text} }}', schema.NetParameter)
    if dialect:
        assert detect(net).name == dialect


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (b"", "round_mode: FLOOR"),
        (delimited(100, delimited(2, b"SpatialDropout") + delimited(155, number(1, 1))), "avg_include_pad: true"),
        (delimited(100, delimited(2, b"DeformSample") + delimited(151, number(1, 1))), "ceil_mode: true"),
    ],
    ids=["caffe", "intel", "dsod"],
)
def test_field_13_of_pooling_is_what_the_rest_of_the_net_says(evidence, text, tmp_path):
    net = read(evidence + layer("Pooling", delimited(121, number(13, 1))), tmp_path)
    assert net.layer[-1].pooling_param == parse_text(text, schema.message_class("PoolingParameter"))


def test_field_that_nothing_explains_is_listed_and_comes_back_byte_for_byte(tmp_path):
    data = layer("Mystery", delimited(153, b"\x08\x01"), number(4000, 7), delimited(121, number(99, 1)))
    net = read(data, tmp_path)
    assert net.layer[0].ListFields()[-1][0].name == "pooling_param"
    assert sorted(unknown_fields(net)) == [
        "layer 'a': field 153", "layer 'a': field 4000", "layer 'a': field pooling_param.99"
    ]  # fmt: skip
    parts = sorted((tmp_path / "out.caffemodel").read_bytes())
    assert parts == sorted(data)


def test_multipliers_of_structured_sparsity_are_not_taken_for_force(tmp_path):
    net = read(layer("Convolution", delimited(6, single(5, 2) + single(6, 3))), tmp_path)
    assert net.layer[0].param[0] == parse_text("breadth_decay_mult: 2 kernel_shape_decay_mult: 3", schema.ParamSpec)
    assert detect(net).name == "ssl"


def test_force_multiplier_keeps_its_number(tmp_path):
    net = read(layer("Convolution", delimited(6, single(6, 3))), tmp_path)
    assert net.layer[0].param[0].force_mult == 3
    assert detect(net).name == "wen2017"
    assert detect(net).evidence == ("layer 'a': param.force_mult",)


def test_net_without_anything_of_a_fork_is_caffes():
    net = parse_text('layer { name: "c" type: "Convolution" convolution_param { num_output: 3 } }', schema.NetParameter)
    assert detect(net) == Dialect("bvlc", ())
    assert fork_fields(net) == []


def test_fields_of_forks_are_listed_with_who_has_them():
    net = parse_text('layer { name: "p" pooling_param { torch_pooling: true pad: 1 } }', schema.NetParameter)
    assert [tuple(use) for use in fork_fields(net)] == [("p", "pooling_param.torch_pooling", ("nvidia",))]


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("slim320/slim-320.caffemodel", "ssd"), ("lenet300_dns/caffe_lenet300100_sparse.caffemodel", "surgery"),
        ("googlenet/bvlc_googlenet.caffemodel", "bvlc"), ("mtcnn/det1.caffemodel", "windows"),
    ],
)  # fmt: skip
def test_real_model_is_of_its_fork_and_is_written_back_byte_for_byte(model, dialect, tmp_path):
    path = shared("models", model)
    net, weights = read_net(path)
    assert detect(net).name == dialect
    write_net(tmp_path / "copy.caffemodel", net, weights)
    assert (tmp_path / "copy.caffemodel").read_bytes() == path.read_bytes()


def test_unknown_fields_of_a_real_model_are_listed():
    net, _ = read_net(shared("models", "mtcnn", "det2.caffemodel"))
    assert unknown_fields(net) == ["layer 'loss3': field loss_param.4", "layer 'loss2': field loss_param.4"]


def conv(*fields):
    """A Convolution with weights (1, 1, 1, 2), as any fork writes it, and `fields` of its own."""
    blob = delimited(5, struct.pack("<2f", 1, 2)) + delimited(7, delimited(1, b"\1\1\1\2"))
    settings = delimited(106, number(1, 1) + number(4, 1))
    return layer("Convolution", delimited(7, blob), settings, *fields)


# A net as the fork writes it -> how it is told, what its fields are taken for, and what nobody knows
NETS = {
    "bvlc": (conv() + layer("Swish", delimited(147, single(1, 2))), ()),
    "wen2017": (
        conv(delimited(6, single(3, 1) + single(6, 0.5))) + layer("Sparsify", delimited(147, single(1, 0.5))),
        ("layer 'a': param.force_mult", "layer 'a': sparsify_param"),
    ),
    "ssl": (
        conv(delimited(6, single(5, 2) + single(6, 3)), number(12, 2)),
        ("layer 'a': param.breadth_decay_mult", "layer 'a': param.kernel_shape_decay_mult",
         "layer 'a': connectivity_mode"),
    ),
    "nvidia": (
        number(11, 2) + number(13, 1) + conv(number(145, 2), number(149, 1)),
        ("default_forward_type", "default_forward_math", "layer 'a': debug", "layer 'a': forward_type"),
    ),
    "intel": (
        conv() + layer("SpatialDropout", delimited(155, single(1, 0.5)))
        + layer("Pooling", delimited(121, number(13, 1))),
        ("layer 'a': spatial_dropout_param", "layer 'a': pooling_param.avg_include_pad"),
    ),
    "ssd": (
        conv() + layer("Permute", delimited(202, number(1, 0) + number(1, 2)))
        + layer("PriorBox", delimited(203, single(1, 30))) + layer("DetectionOutput", delimited(204, number(1, 21))),
        ("layer 'a': permute_param", "layer 'a': prior_box_param", "layer 'a': detection_output_param"),
    ),
    "openpose": (
        conv() + layer("OPData", delimited(149, number(12, 368) + delimited(22, b"COCO_25_17"))),
        ("layer 'a': op_transform_param",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", NETS)
def test_net_of_a_fork_is_told_and_written_back_with_its_weights_and_what_nobody_knows(dialect, tmp_path):
    data, evidence = NETS[dialect]
    unknown = layer("Mystery", number(4000, 7), single(4001, 0.5), delimited(4002, b"\xff\xfe"))
    (tmp_path / "in.caffemodel").write_bytes(data + unknown)
    net, weights = read_net(tmp_path / "in.caffemodel")
    assert detect(net) == Dialect(dialect, evidence)
    assert unknown_fields(net) == [f"layer 'a': field {field}" for field in (4000, 4001, 4002)]
    net.layer[0].name = "c"  # else all are called a, and the weights would go into each
    write_net(tmp_path / "out.caffemodel", net, {"c": weights["a"]})
    renamed = (data + unknown).replace(b"\x0a\x01a", b"\x0a\x01c", 1)
    assert sorted((tmp_path / "out.caffemodel").read_bytes()) == sorted(renamed)
    again, found = read_net(tmp_path / "out.caffemodel")
    assert again == net and found["c"][0].tolist() == [[[[1, 2]]]]


@pytest.mark.parametrize(
    ("fields", "fork"),
    [
        ("", ""),
        ("convolution_param { relu: true }", "intel"),
        ("batch_norm_param { scale_bias: true }", "nvidia"),
        ("convolution_param { relu: true } batch_norm_param { scale_bias: true }", ""),
    ],
)
def test_label_smoothing_is_of_the_fork_of_the_other_fields(fields, fork):
    text = f'layer {{ name: "a" {fields} }} layer {{ name: "l" loss_param {{ label_smoothing: 0.1 }} }}'
    assert disputed(parse_text(text, schema.NetParameter)) == fork


SPATIAL_DROPOUT = layer("SpatialDropout", delimited(155, single(1, 0.5)))  # Intel's alone
OP_DATA = layer("OPData", delimited(149, number(12, 368) + delimited(22, b"COCO_25_17")))  # OpenPose's alone
HALF = number(13, 1)  # default_forward_math of a net, NVIDIA's alone
WAITING = [
    (HALF, "Convolution", delimited(106, number(19, 1)), "convolution_param { cudnn_convolution_algo_seeker: FINDEX }"),
    (SPATIAL_DROPOUT, "Convolution", delimited(106, number(19, 1)), "convolution_param { relu: true }"),
    (OP_DATA, "Convolution", delimited(106, number(19, 1)), "convolution_param { binary: 1 }"),
    (HALF, "BatchNorm", delimited(139, delimited(5, delimited(1, b"one")) + delimited(6, b"")),
     "batch_norm_param { scale_filler { type: 'one' } bias_filler {} }"),
    (SPATIAL_DROPOUT, "BatchNorm", delimited(139, number(4, 1) + number(5, 0) + number(6, 1)),
     "batch_norm_param { engine: CAFFE use_weight_bias: false bias_term: true }"),
    (SPATIAL_DROPOUT, "InnerProduct", delimited(117, delimited(3, single(9, 2))),
     "inner_product_param { weight_filler { scale: 2 } }"),
    (b"", "InnerProduct", delimited(117, delimited(3, delimited(9, b"f"))),
     "inner_product_param { weight_filler { file: 'f' } }"),
    (b"", "Convolution", delimited(106, number(17, 1) + number(18, 3)),
     "convolution_param { force_nd_im2col: true dilation: 3 }"),
    (b"", "Convolution", delimited(106, single(20, 0.5)), "convolution_param { negative_slope: 0.5 }"),
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "layer_type", "field", "text"), WAITING)
def test_number_inside_a_message_means_what_it_does_in_the_fork_that_wrote_the_file(
    evidence, layer_type, field, text, tmp_path
):
    data = evidence + layer(layer_type, field)
    net = read(data, tmp_path)
    wanted = parse_text(f'layer {{ name: "a" type: "{layer_type}" {text} }}', schema.NetParameter)
    assert net.layer[-1] == wanted.layer[0]
    assert (tmp_path / "out.caffemodel").read_bytes() == data
    assert list(undecided(net)) == []


def test_number_inside_a_message_that_nothing_decides_is_kept_and_told_in_a_line(tmp_path):
    data = layer("Convolution", delimited(106, number(1, 4) + number(19, 1)))
    net = read(data, tmp_path)
    assert [(field.name, value) for field, value in net.layer[0].convolution_param.ListFields()] == [("num_output", 4)]
    assert (tmp_path / "out.caffemodel").read_bytes() == data
    (line,) = undecided(net)
    start = "layer 'a': field convolution_param.19 is cudnn_convolution_algo_seeker in nvidia and windows, "
    assert line.startswith(start)
    assert "relu in intel" in line and "binary in openpose" in line
    assert unknown_fields(net) == [] and fork_fields(net) == []


def test_number_of_a_flag_with_another_value_is_not_the_flag(tmp_path):
    """LossParameter 4 of MTCNN's det2 is 10: focal_loss of a fork is a flag, and the others are floats."""
    data = layer("SoftmaxWithLoss", delimited(101, number(4, 10)))
    net = read(data, tmp_path)
    assert unknown_fields(net) == ["layer 'a': field loss_param.4"] and list(undecided(net)) == []
    assert (tmp_path / "out.caffemodel").read_bytes() == data
