"""The first form, of 2013: `layers { layer { type: "conv" ... } }`, with padding as a layer of its own.

Given:
    layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "p" }
    layers { layer { name: "c" type: "conv" num_output: 8 kernelsize: 5 } bottom: "p" top: "c" }
Result:
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "c"
             convolution_param { num_output: 8 pad: 2 kernel_size: 5 } }
"""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import NetParameter, V1LayerParameter, is_repeated

WHAT = "layers from the form of V0LayerParameter"

_TYPES = {
    "accuracy": "ACCURACY", "bnll": "BNLL", "concat": "CONCAT", "conv": "CONVOLUTION", "data": "DATA",
    "dropout": "DROPOUT", "euclidean_loss": "EUCLIDEAN_LOSS", "flatten": "FLATTEN", "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT", "im2col": "IM2COL", "images": "IMAGE_DATA", "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT", "lrn": "LRN", "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING", "relu": "RELU", "sigmoid": "SIGMOID", "softmax": "SOFTMAX", "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT", "tanh": "TANH", "window_data": "WINDOW_DATA",
}  # fmt: skip

_PARAMETERS = {
    "concat": "concat_param", "conv": "convolution_param", "data": "data_param", "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param", "images": "image_data_param", "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param", "lrn": "lrn_param", "pool": "pooling_param",
    "window_data": "window_data_param",
}  # fmt: skip

# Old field -> (the old types that may set it, its name in the message of that type)
_FILTERS = ("conv", "innerproduct")
_WINDOWS = ("conv", "pool")
_SOURCES = ("data", "hdf5_data", "images", "window_data")
_FIELDS = {
    "num_output": (_FILTERS, "num_output"),
    "biasterm": (_FILTERS, "bias_term"),
    "weight_filler": (_FILTERS, "weight_filler"),
    "bias_filler": (_FILTERS, "bias_filler"),
    "pad": (_WINDOWS, "pad"),
    "kernelsize": (_WINDOWS, "kernel_size"),
    "group": (("conv",), "group"),
    "stride": (_WINDOWS, "stride"),
    "pool": (("pool",), "pool"),
    "dropout_ratio": (("dropout",), "dropout_ratio"),
    "local_size": (("lrn",), "local_size"),
    "alpha": (("lrn",), "alpha"),
    "beta": (("lrn",), "beta"),
    "k": (("lrn",), "k"),
    "source": ((*_SOURCES, "infogain_loss"), "source"),
    "batchsize": (_SOURCES, "batch_size"),
    "rand_skip": (("data", "images"), "rand_skip"),
    "shuffle_images": (("images",), "shuffle"),
    "new_height": (("images",), "new_height"),
    "new_width": (("images",), "new_width"),
    "concat_dim": (("concat",), "concat_dim"),
    "det_fg_threshold": (("window_data",), "fg_threshold"),
    "det_bg_threshold": (("window_data",), "bg_threshold"),
    "det_fg_fraction": (("window_data",), "fg_fraction"),
    "det_context_pad": (("window_data",), "context_pad"),
    "det_crop_mode": (("window_data",), "crop_mode"),
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_ANY_TYPE = ("name", "type", "blobs", "blobs_lr", "weight_decay")


def needed(net: Any) -> bool:
    """Whether any layer is of the first form."""
    return any(layers.HasField("layer") for layers in net.layers)


def upgrade(net: Any) -> list[str]:
    """Rewrite `net`; gives a line for each field that Caffe drops because its layer type cannot use it."""
    old = NetParameter()
    old.CopyFrom(net)
    _fold_padding(old)
    # Only these survive in Caffe too: it starts from an empty net.
    net.Clear()
    if old.HasField("name"):
        net.name = old.name
    net.input.extend(old.input)
    net.input_dim.extend(old.input_dim)
    if old.HasField("force_backward"):
        net.force_backward = old.force_backward
    dropped: list[str] = []
    for connection in old.layers:
        net.layers.append(_upgraded(connection, dropped))
    return dropped


def _fold_padding(net: Any) -> None:
    """Move the pad of each padding layer into the layers that read it, and drop the padding layers."""
    maker: dict[str, Any] = dict.fromkeys(net.input)
    kept = []
    for connection in net.layers:
        old = connection.layer
        for i, bottom in enumerate(connection.bottom):
            if bottom not in maker:
                raise ParseError(f"layer '{old.name}': bottom '{bottom}' is made by no layer before it")
            source = maker[bottom]
            if source is None or source.layer.type != "padding":
                continue
            if old.type not in _WINDOWS:
                raise ParseError(f"layer '{old.name}': padding goes into type '{old.type}'; only conv and pool can pad")
            if len(connection.bottom) != 1:
                raise ParseError(
                    f"layer '{old.name}': has {len(connection.bottom)} bottoms, one of them padded; wanted one"
                )
            if len(source.bottom) != 1 or len(source.top) != 1:
                raise ParseError(f"layer '{source.layer.name}': a padding layer has one bottom and one top")
            old.pad = source.layer.pad
            connection.bottom[i] = source.bottom[0]
        maker.update(dict.fromkeys(connection.top, connection))
        if old.type != "padding":
            kept.append(connection)
    kept = [_copy(connection) for connection in kept]
    del net.layers[:]
    net.layers.extend(kept)


def _copy(connection: Any) -> Any:
    copy = V1LayerParameter()
    copy.CopyFrom(connection)
    return copy


def _upgraded(connection: Any, dropped: list[str]) -> Any:
    """One layer in the second form; appends to `dropped` what its type cannot use."""
    layer = V1LayerParameter(bottom=connection.bottom, top=connection.top)
    old = connection.layer
    for field, value in old.ListFields():
        types, name = _FIELDS.get(field.name, ((), ""))
        if field.name == "type":
            layer.type = V1LayerParameter.LayerType.Value(_type(old))
        elif field.name in _ANY_TYPE:
            _set(layer, field.name, value)
        elif field.name in _TRANSFORM:
            _set(layer.transform_param, _TRANSFORM[field.name], value)
        elif field.name == "hdf5_output_param" and old.type == "hdf5_output":
            layer.hdf5_output_param.CopyFrom(value)
        elif old.type in types:
            try:
                _set(getattr(layer, _PARAMETERS[old.type]), name, value)
            except ValueError:  # a signed field that became an unsigned one
                raise ParseError(f"layer '{old.name}': {field.name} is {value}, wanted 0 or more") from None
        else:
            dropped.append(f"layer '{old.name}': type '{old.type}' has no parameter '{field.name}'; it is dropped")
    return layer


def _type(old: Any) -> str:
    if old.type not in _TYPES:
        raise ParseError(f"layer '{old.name}': unknown type '{old.type}'; the first form has {', '.join(_TYPES)}")
    return _TYPES[old.type]


def _set(message: Any, name: str, value: Any) -> None:
    """Put a value into a field that may be single, repeated or a message."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if is_repeated(field):
        getattr(message, name).extend(value if hasattr(value, "__len__") else [value])
    elif field.message_type:
        getattr(message, name).CopyFrom(value)
    else:
        setattr(message, name, value)
