"""Scale, mean, crop and mirror, once fields of each data parameter, now one `transform_param`.

Given:
    layers { type: DATA data_param { source: "db" scale: 0.5 crop_size: 20 } }
Result:
    layers { type: DATA data_param { source: "db" } transform_param { scale: 0.5 crop_size: 20 } }

Caffe does this for the second form (`layers`) only: a current net with `data_param { scale }` keeps it, unused.
"""

from __future__ import annotations

from typing import Any

from caffe_compat.proto.schema import V1LayerParameter

WHAT = "the transformation fields of its data layers"

_TYPE = V1LayerParameter.LayerType.Value
_PARAMETERS = {
    _TYPE("DATA"): "data_param",
    _TYPE("IMAGE_DATA"): "image_data_param",
    _TYPE("WINDOW_DATA"): "window_data_param",
}
_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def needed(net: Any) -> bool:
    """Whether a data layer of the second form still holds a field that belongs to transform_param."""
    return any(_old_fields(layer) for layer in net.layers)


def upgrade(net: Any) -> list[str]:
    """Move the fields; each data layer has both messages then, empty ones too, as in Caffe."""
    for layer in net.layers:
        if layer.type not in _PARAMETERS:
            continue
        parameter = getattr(layer, _PARAMETERS[layer.type])
        for message in (parameter, layer.transform_param):
            message.SetInParent()
        for name in _old_fields(layer):
            setattr(layer.transform_param, name, getattr(parameter, name))
            parameter.ClearField(name)
    return []


def _old_fields(layer: Any) -> list[str]:
    if layer.type not in _PARAMETERS:
        return []
    parameter = getattr(layer, _PARAMETERS[layer.type])
    return [name for name in _FIELDS if parameter.HasField(name)]
