"""Fields in messages of forks' own layers that no code here obeys, found by tracing what those layers read.

Many of them have no effect in their fork either, or only in another program of it; `check` names those that are set.
"""

from __future__ import annotations

from typing import Any

from caffe_compat.proto.schema import is_repeated

_BBOX = ("bbox_reg_param.bbox_std", "bbox_reg_param.cls_aware")
_UNOBEYED: dict[str, tuple[str, ...]] = {
    "BboxAccuracy": ("bbox_reg_param.cls_aware",),
    "BoxOutput": _BBOX,
    "DecodeBBox": ("bbox_reg_param.cls_aware",),
    **dict.fromkeys(("Correlation", "Correlation1D"), ("correlation_param.displacement", "correlation_param.dilation")),
    "DeformablePSROIPooling": ("deformable_psroi_pooling_param.pooled_size",),
    "DenseBlock": tuple(
        f"denseblock_param.{name}"
        for name in (
            "initChannel", "pad_h", "pad_w", "conv_verticalStride", "conv_horizentalStride", "filter_H", "filter_W"
        )
    ),
    "DetectionAccuracy": (*_BBOX, "detection_accuracy_param.coord_num"),
    "DetectionLoss": _BBOX,
    "DetectionOutput": (
        "detection_output_param.visualize_threshold", "detection_output_param.save_file",
        "detection_output_param.nms_param.type", "detection_output_param.nms_param.variance",
    ),
    "FocalLoss": ("focal_loss_param.beta",),
    "Interp": ("interp_param.use_blob_size",),
    "LabelSpecificAdd": ("label_specific_add_param.transform_test",),
    "MultiBoxLoss": (
        "multibox_loss_param.do_neg_mining", "multibox_loss_param.nms_param.eta", "multibox_loss_param.nms_param.type",
        "multibox_loss_param.nms_param.variance",
    ),
    "Normalize": ("normalize_param.fix_gradient",),
    "PredictBox": ("predict_box_param.nms", "predict_box_param.output_vector"),
    "PriorBox": ("prior_box_param.reduce_boxes", "prior_box_param.width", "prior_box_param.height"),
    "PriorBoxClustered": tuple(
        f"prior_box_param.{name}" for name in ("min_size", "max_size", "aspect_ratio", "flip", "reduce_boxes")
    ),
    "ProposalTarget": ("proposal_target_param.gt_iou_thr", "proposal_target_param.stage", "bbox_reg_param.bbox_std"),
    "RegionLoss": tuple(
        f"region_loss_param.{name}"
        for name in ("side", "softmax", "jitter", "absolute", "random", "softmax_tree", "class_map")
    ),
    "RegionYolo": ("region_yolo_param.anchors",),
    "Resample": ("resample_param.type", "resample_param.antialias", "resample_param.factor"),
    "SegAccuracy": ("seg_accuracy_param.metric",),
    "SegmentationEvaluate": ("segmentation_evaluate_param.num_classes",),
    "WarpCTCLoss": tuple(
        f"ctc_loss_param.{name}"
        for name in ("output_delay", "preprocess_collapse_repeated", "ctc_merge_repeated", "loss_calculation_t")
    ),
    "YoloDetectionOutput": tuple(
        f"yolo_detection_output_param.{name}" for name in ("side", "coords", "label_map_file")
    ),
    "YoloSeg": tuple(
        f"yolo_seg_param.{name}" for name in ("num_class", "class_scale", "use_logic_gradient", "use_hardsigmoid")
    ),
    "Yolov3": tuple(
        f"yolov3_param.{name}" for name in ("side", "noobject_scale", "iou_normalizer", "max_delta", "accumulate")
    ),
}  # fmt: skip


def unobeyed_fields(param: Any) -> list[str]:
    """The fields that a LayerParameter sets to another value than their default and that nothing here obeys."""
    return [path for path in _UNOBEYED.get(param.type, ()) if _is_set(param, *path.split("."))]


def _is_set(fields: Any, *path: str) -> bool:
    *messages, name = path
    for message in messages:
        if not fields.HasField(message):
            return False
        fields = getattr(fields, message)
    field = fields.DESCRIPTOR.fields_by_name[name]
    value = getattr(fields, name)
    return bool(len(value)) if is_repeated(field) else bool(value != field.default_value)
