"""Errors of ours in the words of Caffe's CHECKs, which scripts and people search for."""

from __future__ import annotations

import re
from typing import Any

from caffe_compat.errors import CaffeCompatError, ParseError, UnsupportedLayerError
from caffe_compat.pycaffe.bindings import CheckError
from caffe_compat.pycaffe.mode import CAFFE_TYPES

_FIRST_AXIS = "bottom[0]->shape(0) == bottom[1]->shape(0) The data and label should have the same first dimension."
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
    "HingeLoss": _FIRST_AXIS,
    "MultinomialLogisticLoss": _FIRST_AXIS,
}
# What Caffe says where our message has a pattern; names: the quoted words of our message, the layer first
_OF_MESSAGES = (
    ("which no layer above makes", "Unknown bottom blob {names[1]} (layer {names[0]})"),
    ("is made by layer '.*' already", "Top blob {names[1]} produced by multiple sources."),
    ("takes (.*) bottoms, found", "ExactNumBottomBlobs() == bottom.size() {type} Layer takes {found} bottom blob(s)."),
    ("takes (.*) tops, found", "ExactNumTopBlobs() == top.size() {type} Layer produces {found} top blob(s) as output."),
    ("num_output is 0", "num_output_ > 0 (0 vs. 0)"),
    ("include and exclude rules", "Specify either include rules or exclude rules; not both."),
    ("param entries for", "Too many params specified for layer {names[0]}"),
    ("loss_weight is given", "loss_weight must be unspecified or specified once per top blob."),
    ("propagate_down is given", "propagate_down param must be specified either 0 or bottom_size times"),
    ("does not work in place", "bottom[0] != top[0] {type} Layer does not allow in-place computation."),
    ("cannot share", "Cannot share param {names[1]} owned by layer {names[2]} with layer {names[0]}; shape mismatch."),
    ("agree in the first axis", _FIRST_AXIS),
)  # fmt: skip


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
            names = [*re.findall(r"'[^']*'", message), "", "", ""]
            return words.format(names=names, found=found[1] if found.groups() else "", type=kind)
    return _OF_SHAPES.get(kind, "")


def _type_in(message: str) -> str:
    found = re.search(r"type '?(\w+)", message)
    return found[1] if found else ""
