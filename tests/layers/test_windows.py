"""Window fields and output sizes against C++ arithmetic written out by hand, and the messages for bad fields."""

from __future__ import annotations

import pytest

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.windows import (
    Windows,
    convolution_windows,
    convolved_size,
    deconvolved_size,
    overhang,
    pooled_size,
    pooling_windows,
    truncated_quotient,
)
from caffe_compat.proto.schema import message_class
from caffe_compat.proto.text import parse_text
from tests.layers.single import build

ConvolutionParameter = message_class("ConvolutionParameter")
PoolingParameter = message_class("PoolingParameter")


def _square(kernel: int, stride: int = 1, pad: int = 0, dilation: int = 1) -> Windows:
    return Windows((kernel,) * 2, (stride,) * 2, (pad,) * 2, (dilation,) * 2)


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"), [(7, 2, 3), (-1, 2, 0), (-2, 2, -1), (-3, 2, -1), (-5, 3, -1), (0, 3, 0)]
)
def test_division_truncates_as_in_cpp(numerator: int, denominator: int, quotient: int) -> None:
    assert truncated_quotient(numerator, denominator) == quotient


@pytest.mark.parametrize(
    ("fields", "axes", "windows"),
    [
        ("kernel_size: 3", 2, Windows((3, 3), (1, 1), (0, 0), (1, 1))),
        ("kernel_size: 3 stride: 2 pad: 1 dilation: 4", 3, Windows((3,) * 3, (2,) * 3, (1,) * 3, (4,) * 3)),
        ("kernel_size: 3 kernel_size: 5 stride: 1 stride: 2 pad: 7", 2, Windows((3, 5), (1, 2), (7, 7), (1, 1))),
        ("kernel_h: 2 kernel_w: 5 stride_h: 3 stride_w: 1 pad_w: 4", 2, Windows((2, 5), (3, 1), (0, 4), (1, 1))),
        ("kernel_size: 2", 1, Windows((2,), (1,), (0,), (1,))),
    ],
)
def test_convolution_fields_are_read_for_every_axis(fields: str, axes: int, windows: Windows) -> None:
    assert convolution_windows("c", parse_text(fields, ConvolutionParameter), axes) == windows


@pytest.mark.parametrize(
    ("fields", "axes", "message"),
    [
        ("", 2, "layer 'c': kernel_size is given 0 times for 2 spatial axes; give it 1 or 2 times"),
        ("kernel_size: 3 kernel_size: 3", 3, "kernel_size is given 2 times for 3 spatial axes"),
        ("kernel_size: 3 kernel_h: 3 kernel_w: 3", 2, "both kernel_size and kernel_h/kernel_w are given"),
        (
            "kernel_h: 3 kernel_w: 3",
            3,
            "kernel_h and kernel_w need 2 spatial axes, the bottom has 3; repeat kernel_size",
        ),
        ("kernel_h: 3", 2, "kernel_size 3x0 has a zero"),
        ("kernel_size: 3 stride: 0", 2, "stride 0x0 has a zero"),
        ("kernel_size: 3 dilation: 0", 2, "dilation 0x0 has a zero"),
        ("kernel_size: 3 stride: 1 stride_h: 2 stride_w: 2", 2, "both stride and stride_h/stride_w are given"),
    ],
)
def test_bad_convolution_fields_are_named(fields: str, axes: int, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=message):
        convolution_windows("c", parse_text(fields, ConvolutionParameter), axes)


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ("kernel_size: 3 stride: 2", Windows((3, 3), (2, 2), (0, 0), (1, 1))),
        ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 0", Windows((3, 2), (2, 3), (1, 0), (1, 1))),
        ("global_pooling: true", Windows((7, 5), (1, 1), (0, 0), (1, 1))),
    ],
)
def test_pooling_fields_are_read(fields: str, windows: Windows) -> None:
    assert pooling_windows("p", parse_text(fields, PoolingParameter), (7, 5)) == windows


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "layer 'p': give kernel_size, or kernel_h and kernel_w"),
        ("kernel_h: 3", "give kernel_size, or kernel_h and kernel_w"),
        ("kernel_size: 3 kernel_h: 3 kernel_w: 3", "and not both forms"),
        ("kernel_size: 0", "kernel 0x0 or stride 1x1 has a zero"),
        ("kernel_size: 2 stride: 0", "kernel 2x2 or stride 0x0 has a zero"),
        ("kernel_size: 2 pad: 2", "pad 2x2 must be smaller than the kernel 2x2"),
        ("kernel_size: 2 pad_h: 1", "give pad, or pad_h and pad_w together"),
        ("kernel_size: 2 stride: 2 stride_h: 1 stride_w: 1", "give stride, or stride_h and stride_w together"),
        ("global_pooling: true kernel_size: 2", "global_pooling takes its kernel from the bottom"),
        ("global_pooling: true pad: 1", "global_pooling needs pad 0 and stride 1"),
        ("global_pooling: true stride: 2", "global_pooling needs pad 0 and stride 1"),
    ],
)
def test_bad_pooling_fields_are_named(fields: str, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=message):
        pooling_windows("p", parse_text(fields, PoolingParameter), (7, 5))


@pytest.mark.parametrize(
    ("size", "windows", "output"),
    [
        ((7, 6), _square(3), (5, 4)),
        ((10, 11), _square(4, stride=3), (3, 3)),
        ((11, 10), _square(3, pad=2, dilation=2), (11, 10)),
        ((2, 5), _square(3, stride=2), (1, 2)),  # (2 - 3) / 2 is 0 in C++, so one output that reaches beyond
    ],
)
def test_convolved_size_is_the_one_of_cpp_integers(
    size: tuple[int, ...], windows: Windows, output: tuple[int, ...]
) -> None:
    assert convolved_size(size, windows) == output


def test_deconvolution_undoes_the_size_of_an_exact_convolution() -> None:
    for kernel, stride, pad, dilation, number in [(3, 1, 0, 1, 4), (4, 2, 1, 1, 5), (3, 2, 2, 2, 6), (5, 3, 1, 1, 2)]:
        windows = _square(kernel, stride, pad, dilation)
        assert convolved_size(deconvolved_size((number, number), windows), windows) == (number, number)


@pytest.mark.parametrize(
    ("size", "windows", "ceil", "output"),
    [
        ((7, 8), _square(3, 2), True, (3, 4)),
        ((7, 8), _square(3, 2), False, (3, 3)),
        ((5, 6), _square(2, 2, 1), True, (3, 4)),
        ((32, 32), _square(3, 2), True, (16, 16)),
        ((2, 2), _square(3, 2), True, (1, 1)),
        # a pad along the height alone also clips the width: 4 windows of width 1 every 2 would start at 0, 2, 4, 6
        ((7, 6), Windows((3, 1), (1, 2), (1, 0), (1, 1)), True, (7, 3)),
        ((7, 6), Windows((3, 1), (1, 2), (0, 0), (1, 1)), True, (5, 4)),
    ],
)
def test_pooled_size_rounds_and_clips_as_caffe(
    size: tuple[int, ...], windows: Windows, ceil: bool, output: tuple[int, ...]
) -> None:
    assert pooled_size(size, windows, ceil) == output


def test_overhang_counts_what_lies_beyond_the_size() -> None:
    assert overhang((7, 8), (3, 4), _square(3, 2)) == (0, 1)
    assert overhang((2, 5), (1, 2), _square(3, 2)) == (1, 0)


def test_a_bottom_too_small_for_the_kernel_is_refused() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': a bottom of 2x9 with kernel 5x5, stride 1x1 and pad 0x0"):
        build('type: "Convolution" convolution_param { num_output: 1 kernel_size: 5 }', (1, 1, 2, 9))
