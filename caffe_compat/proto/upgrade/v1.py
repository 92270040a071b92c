"""The second form, of 2014: `layers` with enum types, `blobs_lr` and `weight_decay`.

Given:
    layers { name: "c" type: CONVOLUTION blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 param: "w" }
Result:
    layer { name: "c" type: "Convolution" param { name: "w" lr_mult: 1 decay_mult: 1 }
                                          param { lr_mult: 2 decay_mult: 0 } }
"""

from __future__ import annotations

from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import LayerParameter, NetParameter, V1LayerParameter, is_repeated

WHAT = "layers from the form of V1LayerParameter"

_TYPES = {
    "NONE": "", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "SLICE": "Slice", "TANH": "TanH",
    "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
    "INTERP": "Interp", "PADDING": "Padding",  # DeepLab's, of 2015
}  # fmt: skip
_NAMES = {V1LayerParameter.LayerType.Value(old): new for old, new in _TYPES.items()}
# Old repeated field -> the field of `param` that its i-th value becomes
_PARAM_FIELDS = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}


def needed(net: Any) -> bool:
    """Whether the net has `layers`."""
    return len(net.layers) > 0


def upgrade(net: Any) -> list[str]:
    """Rewrite `net`; gives a line for each field that the current form has no place for.

    Raises ParseError where the net has both `layer` and `layers`, or a type that no Caffe knows by name.
    """
    if net.layer:
        raise ParseError(
            f"the net has both 'layer' ('{net.layer[0].name}') and 'layers' ('{net.layers[0].name}'); "
            'write every one as layer { type: "..." }'
        )
    old = NetParameter()
    old.CopyFrom(net)
    net.ClearField("layers")
    dropped: list[str] = []
    for layers in old.layers:
        _upgrade_layer(layers, net.layer.add(), dropped)
    return dropped


def _upgrade_layer(old: Any, layer: Any, dropped: list[str]) -> None:
    fields = LayerParameter.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name == "type":
            layer.type = _type(old)
        elif field.name in _PARAM_FIELDS:
            for i, item in enumerate(value):
                while len(layer.param) <= i:
                    layer.param.add()
                setattr(layer.param[i], _PARAM_FIELDS[field.name], item)
        elif field.name not in fields:
            dropped.append(f"layer '{old.name}': the current form has no place for '{field.name}'; it is dropped")
        elif is_repeated(field):
            getattr(layer, field.name).extend(value)
        elif field.message_type:
            getattr(layer, field.name).CopyFrom(value)
        else:
            setattr(layer, field.name, value)
    for unknown in UnknownFieldSet(old):
        dropped.append(f"layer '{old.name}': field {unknown.field_number} is unknown; it is dropped")


def _type(old: Any) -> str:
    if old.type in _NAMES:
        return _NAMES[old.type]
    # Forks added enum values; none of them can upgrade its own.
    name = V1LayerParameter.LayerType.Name(old.type)
    raise ParseError(f"layer '{old.name}': type {name} is a fork's; write the layer as layer {{ type: \"...\" }}")
