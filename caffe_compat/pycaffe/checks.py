"""Errors of ours in the words of Caffe's CHECKs, which scripts and people search for."""

from __future__ import annotations

import re
from typing import Any

from caffe_compat.errors import CaffeCompatError, ParseError, UnsupportedLayerError
from caffe_compat.pycaffe.bindings import CheckError
from caffe_compat.pycaffe.mode import CAFFE_TYPES

# What Caffe's layers say of bottoms that they cannot take
_OF_SHAPES = {
    "Convolution": "Input size incompatible with convolution kernel.",
    "Deconvolution": "Input size incompatible with convolution kernel.",
    "InnerProduct": "Input size incompatible with inner product parameters.",
    "Concat": "All inputs must have the same shape, except at concat_axis.",
    "Eltwise": "bottom[0]->shape() == bottom[i]->shape()",
    "Pooling": "pad_h_ < kernel_h_, pad_w_ < kernel_w_",
    "SoftmaxWithLoss": "Number of labels must match number of predictions.",
    "Reshape": "output count must match input count",
    "EuclideanLoss": "Inputs must have the same dimension.",
}
_OF_MESSAGES = (
    (r"which no layer above makes", "Unknown bottom blob {0}"),
    (r"is made by layer '.*' already", "Top blob {0} produced by multiple sources."),
    (
        r"takes (.*) bottoms, found",
        "ExactNumBottomBlobs() == bottom.size() {type} Layer takes {1} bottom blob(s) as input.",
    ),
    (r"takes (.*) tops, found", "ExactNumTopBlobs() == top.size() {type} Layer produces {1} top blob(s) as output."),
    (r"must be 1 or more", "num_output_ > 0 (0 vs. 0)"),
    (r"include and exclude rules", "Specify either include rules or exclude rules; not both."),
    (r"first dimension|same first", "The data and label should have the same first dimension."),
)


def in_caffes_words(error: CaffeCompatError, param: Any = None) -> CheckError:
    """The error as CheckError: what Caffe says, then our own message. param: the LayerParameter, if known."""
    if isinstance(error, CheckError):
        return error
    return CheckError(f"Check failed: {_words(error, param)} ({error})")


def _words(error: CaffeCompatError, param: Any) -> str:
    message = str(error)
    kind = param.type if param is not None else _type_in(message)
    if isinstance(error, ParseError):
        return f"ReadProtoFromTextFile(param_file, param) Failed to parse NetParameter file: {message.split(':')[0]}"
    if isinstance(error, UnsupportedLayerError) and "which is not known" in message:
        return f"registry.count(type) == 1 (0 vs. 1) Unknown layer type: {kind} (known types: {', '.join(CAFFE_TYPES)})"
    for pattern, words in _OF_MESSAGES:
        if found := re.search(pattern, message):
            named = re.findall(r"'[^']*'", message)
            return words.format(named[1] if len(named) > 1 else "", *found.groups(), type=kind)
    return _OF_SHAPES.get(kind, "")


def _type_in(message: str) -> str:
    found = re.search(r"type '?(\w+)", message)
    return found[1] if found else ""
