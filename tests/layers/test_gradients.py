"""Every layer type's gradient is its derivative, in float64; a new type without a case here fails."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from caffe_compat.layers.registry import known_types, layer_class
from caffe_compat.layers.source import SourceLayer
from caffe_compat.layers.table import layer_types
from caffe_compat.proto.schema import LayerParameter
from tests.layers.single import build

# Types without a gradient that anything flows through, and types whose gradient Caffe defines as another than the
# derivative; the latter have tests of their own.
WITHOUT = {
    "Accuracy", "ArgMax", "AssistedExcitation", "BboxAccuracy", "BoxAnnotatorOHEM", "BoxOutput", "CTCGreedyDecoder",
    "ContinuationIndicator", "LabelsequenceAccuracy", "PredictBox", "PriorBoxClustered",
    "DecodeBBox", "FrcnnAnchorTarget", "FrcnnProposal", "FrcnnProposalTarget",
    "DetectionAccuracy", "DetectionEvaluate", "DetectionOutput", "GaussianYolov3", "HDF5Output",
    "HashingLoss", "Parameter", "PriorBox", "Proposal", "ProposalTarget", "Python", "SegAccuracy",
    "SegmentationEvaluate", "Silence", "Threshold", "YoloDetectionOutput", "Yolov3DetectionOutput",
}  # fmt: skip
NOT_THE_DERIVATIVE = {
    "CenterLoss", "MVN", "MarginInnerProduct", "RegionLoss", "Sparsify", "SymmetricRectify", "YoloSeg", "Yolov3",
}  # fmt: skip

PLANES = (2, 4, 5, 6)
ROIS = torch.tensor([[0.0, 1, 0, 4, 3], [1, 0, 1, 5, 4], [1, 2, 2, 3, 3]], dtype=torch.float64)


@dataclass(frozen=True)
class Case:
    """Bottoms: a shape is filled with normal values that get a gradient, a tensor is given as it is.

    values: how many of the first values of each top the gradient belongs to; the others Caffe only reports.
    """

    text: str
    bottoms: tuple[tuple[int, ...] | Tensor, ...] = (PLANES,)
    tops: int = 1
    phase: str = "TRAIN"
    values: int | None = None


def labels(count: int, classes: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64) % classes


def probabilities(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64) * 0.8 + 0.1


SMALL = "num_output: 3 kernel_size: 2 weight_filler { type: 'gaussian' std: 1 }"
CELLS = "recurrent_param { num_output: 3 weight_filler { type: 'gaussian' std: 1 } }"
FILLER = "{ type: 'gaussian' std: 1 }"
CONT = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
PRIORS = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.4, 0.3, 0.9, 0.8], [0.2, 0.5, 0.6, 0.9], [0.0, 0.0, 0.3, 0.2]])
VARIANCES = torch.tensor([[0.1, 0.1, 0.2, 0.2]]).expand(4, 4)
BOXES = torch.tensor([[0, 1, 0, 0.15, 0.1, 0.5, 0.55, 0], [1, 2, 0, 0.4, 0.3, 0.8, 0.85, 0]])[None, None].double()
LABEL_MAP = torch.tensor([2.0, 9, 8, 5, 6, 1, 0, 3, 3, 9, 9, 0]).view(2, 6, 1, 1).expand(2, 6, 2, 3).double()
PRIOR_TOP = torch.stack((PRIORS.flatten(), VARIANCES.flatten()))[None].double()

CASES = {
    "AbsVal": Case(""),
    "Axpy": Case("", ((2, 4, 1, 1), PLANES, PLANES)),
    "BN": Case(f"bn_param {{ slope_filler {FILLER} }}", ((3, 4, 2, 3),)),
    "BNLL": Case(""),
    "BatchNorm": Case("", ((3, 4, 2, 3),)),
    "BatchReindex": Case("", (PLANES, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))),
    "Bias": Case(f"bias_param {{ filler {FILLER} }}"),
    "Clip": Case("clip_param { min: -0.5 max: 0.6 }"),
    "Concat": Case("", (PLANES, (2, 3, 5, 6))),
    "ContrastiveLoss": Case(  # without the 1e-4 of dissimilar pairs
        "contrastive_loss_param { legacy_version: true margin: 30 }", ((4, 3), (4, 3), labels(4, 2))
    ),
    "Convolution": Case(f"convolution_param {{ {SMALL} }}"),
    "ConvolutionDepthwise": Case(f"convolution_param {{ {SMALL.replace('3', '4')} }}"),
    "Crop": Case("crop_param { offset: 1 }", (PLANES, torch.zeros(2, 4, 3, 3, dtype=torch.float64))),
    "ChannelNorm": Case(""),
    "Correlation": Case(
        "correlation_param { kernel_size: 3 max_displacement: 2 pad: 3 stride_1: 2 }", (PLANES, PLANES)
    ),
    "Correlation1D": Case(
        "correlation_param { max_displacement: 2 pad: 2 correlation_type: SUBTRACT }", (PLANES, PLANES)
    ),
    "CropCenter": Case("crop_center_param { crop_size: 0 crop_size: 1 crop_size: 2 }"),
    "CtcLoss": Case(  # of one stream: the gradient of several is that of their sum
        "ctc_loss_param { alphabet_size: 4 time_step: 5 }",
        ((5, 1, 4), torch.tensor([[1.0, 3.0, 3.0]], dtype=torch.float64)),
    ),
    "Deconvolution": Case(f"convolution_param {{ {SMALL} stride: 2 }}"),
    "DepthwiseConvolution": Case(f"convolution_param {{ {SMALL.replace('3', '4')} }}"),
    "DeformableConvolution": Case(
        f"deformable_convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 group: 2 deformable_group: 2 "
        f"weight_filler {FILLER} }}",
        (PLANES, (2, 36, 5, 6)),
    ),
    "DeformablePSROIPooling": Case(
        "deformable_psroi_pooling_param { output_dim: 1 group_size: 2 part_size: 2 sample_per_part: 2 trans_std: 0.1 "
        "spatial_scale: 0.7 }",
        (PLANES, ROIS, (3, 2, 2, 2)),
    ),
    "DenseBlock": Case(
        f"denseblock_param {{ numTransition: 2 growthRate: 2 use_BC: true Filter_Filler {FILLER} "
        f"BN_Scaler_Filler {FILLER} }}",
        ((2, 2, 3, 3),),
    ),
    "DetectionLoss": Case(
        "detection_loss_param { cls_num: 3 field_w: 8 field_h: 9 downsample_rate: 8 sample_mode: 'all' field_whr: 99 "
        "field_xyr: 0.01 } loss_weight: 1",
        ((2, 7, 2, 3), LABEL_MAP),
        values=1,
    ),
    "Dropout": Case("", phase="TEST"),
    "ELU": Case(""),
    "Eltwise": Case("eltwise_param { operation: PROD }", (PLANES, PLANES)),
    "Embed": Case(f"embed_param {{ num_output: 3 input_dim: 4 weight_filler {FILLER} }}", (labels(6, 4),)),
    "EuclideanLoss": Case("", (PLANES, PLANES)),
    "Exp": Case("exp_param { base: 2 scale: 0.5 shift: 1 }"),
    "Filter": Case("", (PLANES, torch.tensor([0.0, 1.0], dtype=torch.float64))),
    "Downsample": Case("downsample_param { top_height: 5 top_width: 6 }"),
    "Flatten": Case(""),
    "FocalLoss": Case("focal_loss_param { gamma: 2 }", ((4, 3), labels(4, 3))),
    "FlowWarp": Case("", (PLANES, (2, 2, 5, 6))),
    "Gather": Case("", (PLANES, PLANES), tops=2),
    "HSwish": Case(""),
    "GroupNorm": Case("group_norm_param { num_groups: 2 }"),
    "HMHSA": Case("hmhsa_param { head_dim: 2 grid_size: 1 }", ((2, 4, 4, 2),)),
    "HardSigmoid": Case("hard_sigmoid_param { alpha: 0.3 }"),
    "HardSwish": Case(""),
    "HingeLoss": Case("hinge_loss_param { norm: L2 }", ((4, 3), labels(4, 3))),
    "Im2col": Case("convolution_param { kernel_size: 2 }"),
    "InfogainLoss": Case("", ((4, 3), labels(4, 3), probabilities(1, 1, 3, 3))),
    "InnerProduct": Case(f"inner_product_param {{ num_output: 3 weight_filler {FILLER} }}"),
    "InstanceNorm": Case(""),
    "Interp": Case("interp_param { zoom_factor: 2 }"),
    "L1Loss": Case("", (PLANES, PLANES)),
    "L2Norm": Case(""),
    "LRN": Case("lrn_param { local_size: 3 alpha: 0.5 }"),
    "LSTM": Case(CELLS, ((3, 2, 4), CONT)),
    "LSTMUnit": Case("", ((1, 2, 3), (1, 2, 12), torch.tensor([[0.0, 1.0]], dtype=torch.float64)), tops=2),
    "LabelSpecificAdd": Case("label_specific_add_param { bias: -0.35 }", ((4, 3), labels(4, 3))),
    "LargeMarginInnerProduct": Case(
        f"largemargin_inner_product_param {{ num_output: 3 type: TRIPLE base: 2 gamma: 0 weight_filler {FILLER} }}",
        ((5, 4), labels(5, 3)),
        tops=2,
    ),
    "LocLoss": Case("loc_loss_param { threshold: 0.3 }", ((6, 1),)),
    "Local": Case(f"local_param {{ num_output: 3 kernel_size: 2 stride: 2 weight_filler {FILLER} }}"),
    "Log": Case("log_param { shift: 9 }"),
    "LpqLoss": Case("lpq_loss_param { p: 2 q: 0.4 p_epsilon: 0.1 }", (PLANES, PLANES)),
    "Lstm": Case(f"lstm_param {{ num_output: 3 weight_filler {FILLER} }}", ((3, 2, 4), CONT)),
    "MatMul": Case("matmul_param { transpose_b: true }", ((2, 3, 4), (2, 5, 4))),
    "MaxUnPool": Case(
        "max_unpool_param { dst_h: 2 dst_w: 3 }", ((1, 2, 1, 2), torch.tensor([4.0, 1, 0, 5]).view(1, 2, 1, 2))
    ),
    "Mean": Case("mean_param { value: 1 value: 2 input_scale: 3 operation: ADD }"),
    "Mish": Case(""),
    "MultiBoxLoss": Case(
        "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE neg_pos_ratio: 1 }",
        ((2, 16), (2, 12), PRIOR_TOP, BOXES),
    ),
    "MultinomialLogisticLoss": Case("", (probabilities(4, 3).requires_grad_(), labels(4, 3))),
    "NegReLU": Case("relu_param { negative_slope: 0.2 }"),
    "Normalize": Case("norm_param { across_spatial: false channel_shared: false }"),
    "PReLU": Case(""),
    "PSROIPooling": Case("psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 1 }", (PLANES, ROIS)),
    "Padding": Case("padding_param { pad_l: 1 pad_b: 2 }"),
    "PassThrough": Case("pass_through_param { block_height: 1 block_width: 2 }"),
    "Permute": Case("permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "Pooling": Case("pooling_param { kernel_size: 2 stride: 2 }"),
    "Power": Case("power_param { power: 2 scale: 0.5 shift: 1 }"),
    "RNN": Case(CELLS, ((3, 2, 4), CONT)),
    "ROIAlign": Case("roi_pooling_param { pooled_h: 2 pooled_w: 2 pad_ratio: 0.1 }", (PLANES, ROIS)),
    "ROIPooling": Case("roi_pooling_param { pooled_h: 2 pooled_w: 2 }", (PLANES, ROIS)),
    "ReLU": Case("relu_param { negative_slope: 0.1 }"),
    "ReLU6": Case(""),
    "Reduction": Case("reduction_param { operation: SUMSQ axis: 1 }"),
    "RegionYolo": Case("region_yolo_param { coords: 2 classes: 3 num: 1 }", ((2, 6, 2, 3),)),
    "Relu6": Case(""),
    "Reorg": Case("reorg_param { stride: 2 }", ((2, 4, 4, 6),)),
    "ReorgYolo": Case("reorg_yolo_param { stride: 2 }", ((2, 4, 4, 6),)),
    "Resample": Case("", (PLANES, torch.zeros(PLANES))),
    "Reshape": Case("reshape_param { shape { dim: 0 dim: -1 } }"),
    "Reverse": Case("reverse_param { axis: 1 }"),
    "ReverseTime": Case("", ((4, 2, 3), torch.tensor([3.0, 2.0], dtype=torch.float64))),
    "SPP": Case("spp_param { pyramid_height: 2 }"),
    "STLoss": Case("st_loss_param { output_H: 3 output_W: 4 }", ((2, 6),)),
    "Scale": Case(f"scale_param {{ filler {FILLER} bias_term: true }}"),
    "Scatter": Case("", (PLANES,)),
    "ShuffleChannel": Case("shuffle_channel_param { group: 2 }"),
    "Sigmoid": Case(""),
    "SigmoidCrossEntropyLoss": Case("", ((4, 3), probabilities(4, 3))),
    "Slice": Case("", (PLANES,), tops=2),
    "SmoothL1Loss": Case("", (PLANES, PLANES)),
    "SmoothL1LossOHEM": Case("", (PLANES, PLANES, probabilities(*PLANES)), tops=2),
    "Softmax": Case(""),
    "SoftmaxWithLoss": Case("", ((4, 3), labels(4, 3))),
    "SoftmaxWithLossOHEM": Case("", ((4, 3), labels(4, 3)), tops=3),
    "Softplus": Case(""),
    "SpatialTransformer": Case("st_param { theta_1_1: 0.7 output_H: 3 output_W: 4 }", (PLANES, (2, 5))),
    "Split": Case("", (PLANES,), tops=2),
    "Swish": Case("swish_param { beta: 2 }"),
    "SyncBN": Case("bn_param { bn_mode: LEARN }", ((3, 4, 2, 3),)),
    "TanH": Case(""),
    "Tile": Case("tile_param { tiles: 2 }"),
    "Transpose": Case("transpose_param { dim: 3 dim: 0 dim: 2 dim: 1 }"),
    "TripletLoss": Case("triplet_loss_param { margin: 3 }", ((4, 3), (4, 3), (4, 3))),
    "Upsample": Case("upsample_param { scale: 2 }"),
    "WarpCTCLoss": Case(  # of one stream: the gradient of several is that of their sum
        "", ((5, 1, 4), torch.tensor([[1.0, 3.0, 3.0]], dtype=torch.float64))
    ),
}


def differentiable() -> list[str]:
    kinds = {name: layer_class(LayerParameter(type=name)) for name in layer_types()}
    return [
        name for name, kind in kinds.items()
        if not issubclass(kind, SourceLayer) and name not in WITHOUT | NOT_THE_DERIVATIVE
    ]  # fmt: skip


@pytest.mark.parametrize("kind", differentiable())
def test_the_gradient_is_the_derivative(kind: str) -> None:
    assert kind in CASES, f"give CASES a case for {kind}, or say in WITHOUT that it has no gradient"
    case = CASES[kind]
    torch.manual_seed(5)
    bottoms = [
        bottom if isinstance(bottom, Tensor) else torch.randn(bottom, dtype=torch.float64, requires_grad=True)
        for bottom in case.bottoms
    ]
    shapes = [tuple(bottom.shape) for bottom in bottoms]
    layer = build(f'type: "{kind}" {case.text}', *shapes, tops=case.tops, phase=case.phase).double()
    blobs = [blob for index, blob in enumerate(layer.blobs) if index not in layer.fixed_blobs]
    inputs = [bottom for bottom in bottoms if bottom.requires_grad] + blobs

    def tops(*_: Tensor) -> tuple[Tensor, ...]:
        if hasattr(layer, "state"):
            layer.state = ()  # of recurrent layers
        found = layer(*bottoms)
        found = found if isinstance(found, tuple) else (found,)
        return tuple(top if case.values is None else top.flatten()[: case.values] for top in found if top.requires_grad)

    assert tops()
    assert torch.autograd.gradcheck(tops, inputs, fast_mode=True)


def test_no_case_is_left_over() -> None:
    assert set(CASES) == set(differentiable())
    assert set(known_types()) >= WITHOUT | NOT_THE_DERIVATIVE


def test_the_classes_say_what_their_gradient_is() -> None:
    kinds = {name: layer_class(LayerParameter(type=name)) for name in known_types()}
    of = {name: kind.gradient for name, kind in kinds.items() if name in layer_types()}
    sources = {name for name, kind in kinds.items() if issubclass(kind, SourceLayer)}
    assert {name for name, gradient in of.items() if gradient == "own"} == NOT_THE_DERIVATIVE
    assert {name for name, gradient in of.items() if gradient == "none"} == WITHOUT - {"Parameter", "Python"} | sources
