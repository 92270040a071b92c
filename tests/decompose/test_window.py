"""The window of a Convolution in all the ways Caffe lets it be written."""

import pytest

from caffe_compat.decompose.window import Window, clear_window, keep_axis, read_window, spell_out, spell_out_layers
from caffe_compat.errors import ShapeError
from caffe_compat.proto.schema import NetParameter, message_class
from caffe_compat.proto.text import format_text, parse_text

ConvolutionParameter = message_class("ConvolutionParameter")


def fields(text):
    return parse_text(text, ConvolutionParameter)


@pytest.mark.parametrize(
    "text",
    [
        "kernel_size: 3 kernel_size: 5 stride: 2 stride: 1 pad: 1 pad: 2",
        "kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2",
        "kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 pad: 1 pad: 2 dilation: 1",
    ],
)
def test_every_spelling_reads_the_same(text):
    assert read_window(fields(text), 2, "c") == Window((3, 5), (2, 1), (1, 2), (1, 1))


def test_values_given_once_hold_for_all_axes_and_defaults_fill_in():
    assert read_window(fields("kernel_size: 3 pad: 2 dilation: 2"), 2, "c") == Window((3, 3), (1, 1), (2, 2), (2, 2))
    assert read_window(fields("kernel_size: 3"), 3, "c").kernel == (3, 3, 3)


def test_a_wrong_number_of_values_is_refused():
    with pytest.raises(ShapeError, match="layer 'c' gives pad 3 times; once or 2 times is wanted"):
        read_window(fields("kernel_size: 3 pad: 1 pad: 2 pad: 3"), 2, "c")


@pytest.mark.parametrize("length", range(7, 14))
def test_output_counts_the_places_where_the_window_fits(length):
    window = Window((3, 5), (2, 3), (1, 0), (2, 1))
    places = [
        sum(
            1
            for at in range(-pad, size + pad, 1)
            if (at + pad) % stride == 0 and at + dilation * (kernel - 1) < size + pad
        )
        for size, kernel, stride, pad, dilation in ((length, 3, 2, 1, 2), (length + 2, 5, 3, 0, 1))
    ]
    assert window.output((length, length + 2)) == tuple(places)


@pytest.mark.parametrize(
    "given, result",
    [
        ("kernel_size: 3", "kernel_size: 1"),
        ("kernel_size: 3 pad: 1 stride: 2 dilation: 2", "pad: 0 kernel_size: 1 stride: 1 dilation: 1"),
        ("kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 stride_h: 2 stride_w: 2", "kernel_size: 1"),
    ],
)
def test_a_cleared_window_is_one_by_one(given, result):
    message = fields(given)
    clear_window(message)
    assert message == fields(result), format_text(message)


@pytest.mark.parametrize(
    "axis, result",
    [
        (0, "pad_h: 1 pad_w: 0 kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 1 dilation: 2"),
        (1, "pad_h: 0 pad_w: 4 kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 3"),
    ],
)
def test_one_axis_of_a_window_keeps_its_own_values(axis, result):
    message = fields("kernel_h: 3 kernel_w: 5 pad: 1 pad: 4 stride: 2 stride: 3 dilation: 2 dilation: 1")
    keep_axis(message, read_window(message, 2, "c"), axis)
    assert message == fields(result), format_text(message)


@pytest.mark.parametrize(
    "given, result",
    [
        ("kernel_size: 3 kernel_size: 5 pad: 1 pad: 2 stride: 2 stride: 1",
         "kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 stride_h: 2 stride_w: 1"),
        ("kernel_size: 3 kernel_size: 3 pad: 1 pad: 1 stride: 2 stride: 2 dilation: 2 dilation: 2",
         "kernel_size: 3 pad: 1 stride: 2 dilation: 2"),
        ("kernel_h: 3 kernel_w: 1 pad_h: 1", "kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0"),
        ("kernel_size: 3 pad_w: 2", "kernel_size: 3 pad_h: 0 pad_w: 2"),
        ("kernel_h: 3 kernel_w: 1 dilation: 2 dilation: 1", "kernel_h: 3 kernel_w: 1 dilation: 2"),
        ("kernel_h: 1 kernel_w: 3 dilation: 4 dilation: 2", "kernel_h: 1 kernel_w: 3 dilation: 2"),
        ("kernel_size: 3 dilation: 2 dilation: 1", "kernel_size: 3 dilation: 2 dilation: 1"),
        ("kernel_size: 1 dilation: 2 dilation: 3", "kernel_size: 1 dilation: 2"),
        ("kernel_size: 3 pad: 1 stride: 2", "kernel_size: 3 pad: 1 stride: 2"),
    ],
)  # fmt: skip
def test_a_window_is_spelt_in_the_way_that_every_reader_takes_alike(given, result):
    message = fields(given)
    window = read_window(message, 2, "c")
    spell_out(message, window)
    assert message == fields(result), format_text(message)
    again = read_window(message, 2, "c")
    assert (again.kernel, again.stride, again.pad) == (window.kernel, window.stride, window.pad)
    assert again.output((20, 30)) == window.output((20, 30))


def test_layers_of_a_net_are_spelled_out_and_those_that_all_read_alike_stay():
    text = """
    layer { name: "a" type: "Convolution" convolution_param { kernel_size: 3 pad_h: 1 dilation: 2 dilation: 2 } }
    layer { name: "b" type: "Deconvolution" convolution_param { kernel_size: 3 kernel_size: 5 stride: 2 } }
    layer { name: "c" type: "Convolution" convolution_param { kernel_size: 3 kernel_size: 3 kernel_size: 5 } }
    layer { name: "d" type: "Convolution" convolution_param { kernel_size: 3 dilation: 2 } }
    """
    net = parse_text(text, NetParameter)
    first, second, *rest = (layer.convolution_param for layer in net.layer)
    untouched = [str(fields) for fields in rest]
    spell_out_layers(net)
    assert (first.pad_h, first.pad_w, list(first.dilation)) == (1, 0, [2]) and first.HasField("pad_w")
    assert (second.kernel_h, second.kernel_w, list(second.kernel_size), list(second.stride)) == (3, 5, [], [2])
    assert [str(fields) for fields in rest] == untouched
