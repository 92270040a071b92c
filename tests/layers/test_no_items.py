"""A batch of 0 through every layer type: tops of the shapes that were said, gradients of 0, or one clear line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.registry import layer_class
from caffe_compat.layers.source import SourceLayer
from caffe_compat.layers.table import layer_types
from caffe_compat.proto.schema import LayerParameter
from tests.layers import test_shapes_only
from tests.layers.single import build
from tests.layers.test_function import Setup
from tests.layers.test_gradients import WITHOUT, Case
from tests.layers.test_second_derivatives import ALL

MEANS = " ".join(4 * ["bbox_mean: 0"] + 4 * ["bbox_std: 1"])
HEAD, LABEL, SCALES = (2, 7, 2, 3), (2, 6, 2, 3), "field_w: 8 field_h: 8 downsample_rate: 8"
PLANES = (2, 3, 4, 5)
NO_GRADIENT = {
    "Accuracy": Case("", ((4, 3), (4,)), 2),
    "ArgMax": Case("argmax_param { axis: 1 top_k: 2 }", ((4, 3),)),
    "BboxAccuracy": Case(f"bbox_reg_param {{ {MEANS} }}", ((3, 8), (3, 5), (3, 6)), 2),
    "BoxAnnotatorOHEM": Case("box_annotator_ohem_param { roi_per_img: 2 }", ((5, 5), (5,), (5,), (5, 8)), 2),
    "BoxOutput": Case(f"box_output_param {{ fg_thr: 0.5 iou_thr: 0.5 {SCALES} }}", (HEAD,), 2),
    "CTCGreedyDecoder": Case("", ((5, 2, 4),)),
    "CTCGreedyDecoder labels": Case("", ((5, 2, 4), (2, 3))),
    "DecodeBBox": Case(f"bbox_reg_param {{ {MEANS} }}", ((3, 8), (3, 5))),
    "DetectionAccuracy": Case(f"detection_accuracy_param {{ cls_num: 3 {SCALES} bg_threshold: 0.6 }}", (HEAD, LABEL)),
    "DetectionOutput": Case(
        "detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.4 } }",
        ((2, 16), (2, 12), torch.rand(1, 2, 16)),
    ),
    "LabelsequenceAccuracy": Case("labelsequence_accuracy_param { blank_label: 3 }", ((2, 5, 4), (2, 3))),
    "PredictBox": Case("", ((2, 4, 3, 4), (2, 2, 3, 4))),
    "PriorBox": Case("prior_box_param { min_size: 3 variance: 0.1 }", (PLANES, (2, 3, 20, 20))),
    "PriorBoxClustered": Case("prior_box_param { width: 3 height: 4 variance: 0.1 }", (PLANES, (2, 3, 20, 20))),
    "Proposal": Case(
        "proposal_param { feat_stride: 16 base_size: 16 ratio: 1 scale: 128 }",
        ((2, 2, 5, 6), (2, 4, 5, 6), torch.tensor([[90.0, 90, 1, 1]])), 2,
    ),
    "ProposalTarget": Case(
        "proposal_target_param { cls_num: 3 batch_size: 4 img_width: 64 img_height: 64 }", ((3, 5), (1, 7)), 6
    ),
    "SegAccuracy": Case("", ((2, 3, 1, 4), (2, 1, 1, 4))),
    "SegmentationEvaluate": Case("", ((2, 3, 1, 4), (2, 3, 1, 4))),
    "Silence": Case("", (PLANES,), 0),
    "Threshold": Case("", (PLANES,)),
    "YoloDetectionOutput": Case(
        "yolo_detection_output_param { num_classes: 1 num_box: 1 biases: 1 biases: 1 }", ((2, 6, 3, 4),)
    ),
    "Yolov3DetectionOutput": Case(
        "yolov3_detection_output_param { num_classes: 1 num_box: 1 mask_group_num: 1 mask: 0 anchors_scale: 32 "
        "biases: 10 biases: 13 }", ((2, 6, 3, 4),),
    ),
}  # fmt: skip
CASES = {**ALL, **NO_GRADIENT}
STREAMS_SECOND = {"CTCGreedyDecoder", "CtcLoss", "LSTM", "LSTMUnit", "Lstm", "RNN", "ReverseTime", "WarpCTCLoss"}
WHOLE = {"InfogainLoss": 2, "MultiBoxLoss": 2, "DetectionOutput": 2, "Proposal": 2}  # bottoms that are for all items
REFUSED = {  # what the line says
    "CTCGreedyDecoder labels": "of no items", "CropCenter": "leaves nothing", "CtcLoss": "of no items",
    "DecodeBBox": "no box", "LabelsequenceAccuracy": "of no items", "ProposalTarget": "of no items",
    "Reshape": "does not fit", "SegmentationEvaluate": "of no items", "WarpCTCLoss": "of no items",
}  # fmt: skip
COUNTED = {  # whose tops have as many items as are found
    "BoxOutput", "DecodeBBox", "DetectionOutput", "Filter", "Proposal", "YoloDetectionOutput", "Yolov3DetectionOutput",
}  # fmt: skip
NO_CASE = {"DetectionEvaluate", "FrcnnAnchorTarget", "FrcnnProposal", "FrcnnProposalTarget", "HDF5Output", "Parameter"}
NO_CASE |= {"ContinuationIndicator", "Python", "RegionLoss", "Yolov3", *test_shapes_only.CASES}


def emptied(kind: str, place: int, bottom: Tensor) -> Tensor:
    if place >= WHOLE.get(kind, 9):
        return bottom
    streams = kind in STREAMS_SECOND and (bottom.dim() > 2 or (kind in {"LSTM", "RNN", "Lstm", "LSTMUnit"}))
    return bottom.narrow(int(streams), 0, 0)


@pytest.mark.filterwarnings("ignore:var_mean")  # of no values
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_items_go_through_or_a_line_says_why_not(name: str, double: bool) -> None:
    case, kind, dtype = CASES[name], name.split()[0], torch.float64 if double else torch.float32
    full = [Setup.filled(bottom).to(dtype) for bottom in case.bottoms]
    text = f'type: "{kind}" {case.text}'
    layer = build(text, *(tuple(each.shape) for each in full), tops=case.tops, phase=case.phase).to(dtype)
    bottoms = [emptied(kind, place, bottom) for place, bottom in enumerate(full)]
    bottoms = [
        bottom.requires_grad_(not isinstance(given, Tensor) or given.requires_grad)
        for bottom, given in zip(bottoms, case.bottoms, strict=True)
    ]
    if name in REFUSED:
        with pytest.raises((DataError, ShapeError), match=f"layer 'lay': .*{REFUSED[name]}"):
            layer.top_shapes([tuple(each.shape) for each in bottoms])
            layer(*bottoms)
        return
    shapes = layer.top_shapes([tuple(each.shape) for each in bottoms])
    tops = layer(*bottoms)
    tops = tops if isinstance(tops, tuple) else (tops,)
    if kind not in COUNTED and case.tops:
        assert [tuple(top.shape) for top in tops] == shapes
    loss = torch.stack([top.sum() for top in tops if top.requires_grad] or [torch.zeros(())]).sum()
    if loss.requires_grad:
        loss.backward()
    for bottom in bottoms:
        assert bottom.grad is None or bottom.grad.shape == bottom.shape
    for blob in () if kind == "SymmetricRectify" else layer.blobs:  # whose decay is a gradient by itself
        assert blob.grad is None or not loss.isfinite() or not blob.grad.any()


def test_each_type_is_here() -> None:
    kinds = {name for name in layer_types() if not issubclass(layer_class(LayerParameter(type=name)), SourceLayer)}
    assert {name.split()[0] for name in CASES} | NO_CASE == kinds | {"Python", "Parameter", "ContinuationIndicator"}
    assert {name.split()[0] for name in NO_GRADIENT} | NO_CASE >= WITHOUT
