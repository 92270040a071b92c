"""When a fact about an ONNX file of a net concerns a layer: number of axes, thresholds, ranks."""

from __future__ import annotations

from caffe_compat.export.runtimes.place import Place, condition
from caffe_compat.layers.fields import enum_name


@condition("few-largest")
def _few_largest(place: Place) -> bool:
    return bool(place.param.argmax_param.top_k > 1)


@condition("scalar-top")
def _scalar_top(place: Place) -> bool:
    return not place.tops[0]


@condition("one-axis-top")
def _one_axis_top(place: Place) -> bool:
    return len(place.tops[0]) == 1


@condition("one-axis-bottom")
def _one_axis_bottom(place: Place) -> bool:
    return any(len(shape) == 1 for shape in place.bottoms)


@condition("not-center-size")
def _not_center_size(place: Place) -> bool:
    return enum_name(place.param.detection_output_param, "code_type") != "CENTER_SIZE"


@condition("thresholded")
def _thresholded(place: Place) -> bool:
    return bool(place.param.detection_output_param.HasField("confidence_threshold"))


@condition("merges-repeated")
def _merges_repeated(place: Place) -> bool:
    return bool(place.param.ctc_decoder_param.ctc_merge_repeated)
