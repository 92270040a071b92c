"""A last layer of another size, to be learned anew while the rest keeps its weights (Caffe's fine-tuning example)."""

from __future__ import annotations

from caffe_compat.errors import GraphError
from caffe_compat.export.surgery.operation import Operation, copied, recorded
from caffe_compat.proto.model import Model
from caffe_compat.showing import nearest

_FIELDS = {"InnerProduct": "inner_product_param", "Convolution": "convolution_param"}


@recorded
def resize_classifier(model: Model, layer: str, num_output: int, name: str = "") -> Operation:
    """`layer` with `num_output` outputs, without weights, and named `name` (by default LAYER_NUM).

    The new name keeps Caffe from copying old weights into it. Blobs keep their names. Raises GraphError for a layer
    that is not there or of another type, for shared weights, and for a name that is taken.
    """
    made = copied(model)
    found = [each for each in made.net.layer if each.name == layer and each.type in _FIELDS]
    if not found:
        names = [each.name for each in made.net.layer if each.type in _FIELDS]
        raise GraphError(f"net '{model.net.name}' has no filters '{layer}'; {nearest(layer, names)}")
    if num_output < 1:
        raise GraphError(f"layer '{layer}': num_output is {num_output}; it must be 1 or more")
    new = name or f"{layer}_{num_output}"
    if any(each.name == new for each in made.net.layer):
        raise GraphError(f"net '{model.net.name}' has a layer '{new}' already; give another name")
    for each in found:
        if any(spec.name for spec in each.param):
            raise GraphError(f"layer '{layer}': its weights are shared; give it its own first")
        getattr(each, _FIELDS[each.type]).num_output = num_output
        each.name = new
    made.weights.pop(layer, None)
    return Operation(made, f"'{layer}' is '{new}' with {num_output} outputs, to be learned")
