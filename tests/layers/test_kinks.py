"""The gradient at every kink and tie is the one that the Backward of Caffe, or of the fork, computes there.

Expected values are counted by hand from those functions: absval_layer.cpp, clip_layer.cpp, relu_layer.cpp and so on.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caffe_compat.layers.kinks import clipped
from tests.layers.single import build

HALF = "relu_param { negative_slope: 0.5 }"
ELEMENTS = {  # layer, values, their tops, the gradients of their sum
    "relu": ('type: "ReLU"', [-1, 0, 1], [0, 0, 1], [0, 0, 1]),
    "leaky": (f'type: "ReLU" {HALF}', [-1, 0, 1], [-0.5, 0, 1], [0.5, 0.5, 1]),
    "rising": ('type: "ReLU" relu_param { negative_slope: -0.5 }', [-1, 0], [0.5, 0], [-0.5, -0.5]),
    "elu": ('type: "ELU" elu_param { alpha: 0.25 }', [0, 1], [0, 1], [0.25, 1]),
    "absval": ('type: "AbsVal"', [-2, 0, 2], [2, 0, 2], [-1, 0, 1]),
    "clip": ('type: "Clip" clip_param { min: -1 max: 2 }', [-1.5, -1, 0, 2, 2.5], [-1, -1, 0, 2, 2], [0, 1, 1, 1, 0]),
    "clip, ends crossed": ('type: "Clip" clip_param { min: 2 max: -1 }', [-3, 0, 3], [2, 2, 2], [0, 0, 0]),
    "relu6": ('type: "ReLU6"', [-1, 0, 1, 6, 7], [0, 0, 1, 6, 6], [0, 0, 1, 0, 0]),
    "leaky6": ('type: "ReLU6" relu6_param { negative_slope: 0.5 }', [-2, 0, 6], [-1, 0, 6], [0.5, 0.5, 0]),
    "rising6": ('type: "ReLU6" relu6_param { negative_slope: -0.5 }', [-14, -12, 0], [6, 6, 0], [-0.5, -0.5, -0.5]),
    "neg_relu": ('type: "NegReLU"', [-1, 0, 1], [-1, 0, 0], [1, 0, 0]),
    "neg_leaky": (f'type: "NegReLU" {HALF}', [-1, 0, 1], [-1, 0, 0.5], [1, 0.5, 0.5]),
    "hard_sigmoid": ('type: "HardSigmoid"', [-3, -2.5, 0, 2.5, 3], [0, 0, 0.5, 1, 1], [0, 0, 0.2, 0, 0]),
    "falling_sigmoid": (
        'type: "HardSigmoid" hard_sigmoid_param { alpha: -0.25 }',
        [-2, 0, 2],
        [1, 0.5, 0],
        [0, -0.25, 0],
    ),
    "hard_swish": ('type: "HardSwish"', [-4, -3, 3, 4], [0, 0, 3, 4], [0, -0.5, 1.5, 1]),
    "hswish": ('type: "HSwish"', [-4, -3, 3, 4], [0, 0, 3, 4], [0, 0, 1, 1]),
    "sparsify": ('type: "Sparsify" sparsify_param { thre: 1 coef: 0 }', [-1, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 1]),
}


def gradients(layer: torch.nn.Module, *bottoms: Tensor) -> list[list[float]]:
    """Of the sum of the tops, by each bottom that asks for one."""
    tops = layer(*bottoms)
    top = sum(each.sum() for each in tops) if isinstance(tops, tuple) else tops.sum()
    asked = [bottom for bottom in bottoms if bottom.requires_grad]
    return [gradient.flatten().tolist() for gradient in torch.autograd.grad(top, asked)]


def values(*numbers: float, shape: tuple[int, ...] | None = None) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).view(shape or (len(numbers),)).requires_grad_()


@pytest.mark.parametrize("kind", ELEMENTS)
def test_each_element_has_its_own_slope(kind: str) -> None:
    text, x, tops, slopes = ELEMENTS[kind]
    layer, bottom = build(text, (len(x),)), values(*x)
    assert layer(bottom).tolist() == pytest.approx(tops)
    assert gradients(layer, bottom) == [pytest.approx(slopes)]


@pytest.mark.parametrize("kind", [kind for kind in ELEMENTS if kind not in ("relu", "sparsify")])
def test_no_number_stays_no_number(kind: str) -> None:
    text = ELEMENTS[kind][0]
    assert build(text, (2,))(torch.tensor([math.nan, 1.0])).isnan().tolist() == [True, False]


def test_a_clip_keeps_the_gradient_of_infinite_values_out() -> None:
    x = values(-math.inf, math.inf)
    (gradient,) = torch.autograd.grad(clipped(x, -1, 1).sum(), x)
    assert gradient.tolist() == [0, 0]


def test_prelu_has_its_slope_at_zero_and_teaches_it_nothing_there() -> None:
    layer = build('type: "PReLU" prelu_param { channel_shared: true filler { value: 0.5 } }', (1, 2)).double()
    x = values(0, 0, shape=(1, 2))
    layer(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0.5, 0.5]]
    assert layer.blobs[0].grad.tolist() == 0


def test_soft_thresholds_pass_nothing_at_the_threshold() -> None:
    layer = build('type: "SymmetricRectify" symmetric_rectify_param { filler { value: 1 } }', (1, 1, 4)).double()
    x = values(-1, 0, 1, 2, shape=(1, 1, 4))
    assert gradients(layer, x) == [[0, 0, 0, 1]]


def test_sums_of_absolute_values_are_flat_at_zero() -> None:
    layer = build('type: "Reduction" reduction_param { operation: ASUM }', (3,))
    assert gradients(layer, values(-2, 0, 2)) == [[-1, 0, 1]]


def test_l1_loss_is_flat_where_its_bottoms_agree() -> None:
    a, b = values(1, 2, 3, shape=(3, 1)), values(2, 2, 2, shape=(3, 1))
    third = 1 / 3
    assert gradients(build('type: "L1Loss"', (3, 1), (3, 1)), a, b) == [
        pytest.approx([-third, 0, third]),
        pytest.approx([third, 0, -third]),
    ]


def test_smooth_l1_loss_is_smooth_at_its_seams() -> None:
    layer = build('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 2 }', (1, 3), (1, 3))
    a, b = values(-0.25, 0, 0.25, shape=(1, 3)), torch.zeros(1, 3, dtype=torch.float64)
    assert gradients(layer, a, b) == [[-1, 0, 1]]


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_a_hinge_margin_of_zero_teaches_nothing(norm: str) -> None:
    layer = build(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', (1, 2), (1,))
    assert gradients(layer, values(1, -1, shape=(1, 2)), torch.zeros(1)) == [[0, 0]]


@pytest.mark.parametrize("legacy", ["false", "true"])
def test_contrastive_loss_is_flat_at_the_margin_and_at_no_distance(legacy: str) -> None:
    text = f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: 1 legacy_version: {legacy} }}'
    layer = build(text, (2, 1), (2, 1), (2,))
    a, b = values(1, 0, shape=(2, 1)), torch.zeros(2, 1, dtype=torch.float64)
    assert gradients(layer, a, b, torch.zeros(2)) == [[0, 0]]


def test_of_equal_bottoms_the_second_then_only_a_larger_one_has_the_maximum() -> None:
    layer = build('type: "Eltwise" eltwise_param { operation: MAX }', (3,), (3,), (3,))
    a, b, c = values(1, 1, 0), values(1, 0, 0), values(1, 1, 1)
    assert gradients(layer, a, b, c) == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_of_equal_values_the_first_of_a_window_has_the_maximum(layout: torch.memory_format) -> None:
    layer = build('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', (1, 2, 2, 4))
    x = torch.ones(1, 2, 2, 4).contiguous(memory_format=layout).requires_grad_()
    assert gradients(layer, x) == [[1, 0, 1, 0, 0, 0, 0, 0] * 2]


def test_of_equal_values_the_first_of_a_region_has_the_maximum() -> None:
    layer = build('type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }', (1, 1, 2, 2), (1, 5))
    x = torch.ones(1, 1, 2, 2).requires_grad_()
    assert gradients(layer, x, torch.tensor([[0.0, 0, 0, 1, 1]])) == [[1, 0, 0, 0]]


def test_lengths_of_nothing_have_no_gradient() -> None:
    x = values(0, 3, 0, 4, shape=(1, 2, 1, 2))
    assert gradients(build('type: "ChannelNorm"', (1, 2, 1, 2)), x) == [pytest.approx([0, 0.6, 0, 0.8])]


def test_normalize_by_absolute_values_takes_none_at_zero() -> None:
    layer = build('type: "Normalize" normalize_param { normalize_type: "L1" bp_norm: true }', (1, 2, 1, 1), tops=2)
    x = values(0, 2, shape=(1, 2, 1, 1))
    length = 2 + 1e-6
    # of y: (1 - sum(y) sign(x)) / length; of the length: sign(x)
    wanted = [1 / length, (1 - 2 / length) / length + 1]
    assert gradients(layer, x) == [pytest.approx(wanted)]


def test_differences_of_nothing_go_up_in_a_correlation_and_down_in_lpq() -> None:
    text = "correlation_param { max_displacement: 0 pad: 0 kernel_size: 1 correlation_type: SUBTRACT }"
    a, b = values(1, shape=(1, 1, 1, 1)), values(1, shape=(1, 1, 1, 1))
    assert gradients(build(f'type: "Correlation" {text}', a.shape, b.shape), a, b) == [[1], [-1]]
    lpq = build('type: "LpqLoss" lpq_loss_param { p: 1 q: 1 p_epsilon: 0 q_epsilon: 0 }', a.shape, b.shape)
    assert gradients(lpq, a, b) == [[-1], [1]]


def test_focal_loss_goes_on_learning_where_its_logarithm_ends() -> None:
    layer = build('type: "FocalLoss" focal_loss_param { alpha: 1 gamma: 2 }', (1, 2), (1,))
    x = values(-400, 400, shape=(1, 2))
    assert gradients(layer, x, torch.zeros(1)) == [pytest.approx([-1, 1])]


def test_focal_loss_of_a_sure_label_is_flat() -> None:
    layer = build('type: "FocalLoss" focal_loss_param { gamma: 0.5 }', (1, 2), (1,))
    x = values(400, -400, shape=(1, 2))
    assert gradients(layer, x, torch.zeros(1)) == [[0, 0]]


@pytest.mark.parametrize(("move", "slope"), [(-1.5, 0.0), (-1.0, 1.0), (-0.5, 1.0), (0.0, 0.0), (0.5, 0.0)])
def test_a_deformed_tap_is_flat_from_the_last_row_on(move: float, slope: float) -> None:
    text = "num_output: 1 kernel_size: 1 deformable_group: 1 bias_term: false weight_filler { value: 1 }"
    shape = (1, 1, 2, 1)
    layer = build(
        f'type: "DeformableConvolution" deformable_convolution_param {{ {text} }}', shape, (1, 2, 2, 1)
    ).double()
    x = torch.tensor([1.0, 2.0], dtype=torch.float64).view(shape)
    moves = values(0, move, 0, 0, shape=(1, 2, 2, 1))  # of the second tap, which lies at row 1
    assert gradients(layer, x, moves)[0][1] == slope


@pytest.mark.parametrize(("move", "slope"), [(-0.4, 0.0), (0.0, 0.0), (0.25, 1.0), (1.0, 0.0), (1.4, 0.0)])
def test_a_deformed_bin_is_flat_at_whole_places_and_beyond_the_edge(move: float, slope: float) -> None:
    text = "output_dim: 1 group_size: 1 part_size: 1 sample_per_part: 1 trans_std: 1 spatial_scale: 1"
    shapes = ((1, 1, 1, 2), (1, 5), (1, 2, 1, 1))
    layer = build(f'type: "DeformablePSROIPooling" deformable_psroi_pooling_param {{ {text} }}', *shapes).double()
    x, rois = torch.tensor([1.0, 2.0], dtype=torch.float64).view(shapes[0]), torch.zeros(1, 5, dtype=torch.float64)
    rois[0, 1:] = torch.tensor([0.0, 0, 0, 0])  # one pixel, whose sample lies at its corner, -0.5
    moves = values(move + 0.5, 0.5, shape=shapes[2])
    assert gradients(layer, x, rois, moves)[0][0] == pytest.approx(slope)


def test_of_equally_hard_places_the_later_ones_are_mined() -> None:
    text = "cls_num: 2 field_w: 8 field_h: 9 downsample_rate: 8 sample_mode: 'bootstrap' bg_multiple: 1 field_xyr: 1"
    layer = build(
        f'type: "DetectionLoss" detection_loss_param {{ {text} bg_threshold: 0.5 }}', (1, 6, 1, 7), (1, 6, 1, 7)
    )
    head = torch.zeros(1, 6, 1, 7, dtype=torch.float64, requires_grad=True)
    label = torch.zeros(1, 6, 1, 7, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(layer(head, label).flatten()[0], head)
    assert (gradient[0, 0, 0] != 0).tolist() == [False] * 3 + [True] * 4
