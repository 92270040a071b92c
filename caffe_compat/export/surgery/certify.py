"""The proof of a surgery: both models run on corresponding inputs, and every blob that both have compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import WeightsError
from caffe_compat.export.closeness import relative_difference
from caffe_compat.export.surgery.operation import Operation
from caffe_compat.layers.base import Shape
from caffe_compat.net.certificate import Certificate
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.missing import missing_weights
from caffe_compat.net.net import Net
from caffe_compat.progress import doing, in_steps
from caffe_compat.proto.model import Model

TOLERANCE = 1e-5  # of the largest value of a blob: sums in another order


def certify_surgery(
    original: Model,
    operations: Sequence[Operation],
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> Certificate:
    """What was done, and {blob: largest difference over its largest value} of the blobs that both TEST nets make.

    What was done stands as {"1": {"what": a line, "operation": name of the function, argument: value}, ..}. Blobs
    behind a layer that is to be learned anew are left out; none are compared where an operation is incomparable.
    Raises WeightsError where the original lacks weights, or a blob is off by more than TOLERANCE.
    """
    done: dict[str, Any] = {
        str(number): {"what": operation.what, **operation.call} for number, operation in enumerate(operations, 1)
    }
    reasons = [operation.incomparable for operation in operations if operation.incomparable]
    if reasons:
        return Certificate({**done, "not compared": reasons[0]}, {})
    lacking = missing_weights(original, "TEST")
    if lacking:
        raise WeightsError(f"net '{original.net.name}' has no weights for {', '.join(lacking)}; give their file")
    made = operations[-1].model
    after = Net(made, "TEST", input_shapes=input_shapes, folder=folder).eval()
    inputs = valid_inputs(after)
    fed = inputs
    for operation in reversed(operations):
        fed = dict(operation.to_original(fed))
    before = Net(original, "TEST", input_shapes={name: each.shape for name, each in fed.items()}, folder=folder).eval()
    with torch.no_grad():
        with doing("running the net as it was"):
            wanted = before.blobs(**fed)
        with doing("running the net as it is now"):
            found = after.blobs(**inputs)
    left_out = {*inputs, *_learned(after, made)}
    shared = [name for name in wanted if name in found and name not in left_out]
    errors = {
        name: relative_difference(found[name].numpy(), wanted[name].numpy())
        for name in in_steps("comparing blobs", shared)
    }
    for name, error in errors.items():
        if not error <= TOLERANCE:
            raise WeightsError(f"blob '{name}' is off by {error:.3g} of its largest value, not {TOLERANCE:g}")
    return Certificate(done, errors)


def _learned(net: Net, model: Model) -> set[str]:
    """The blobs that follow from layers without weights."""
    lacking = set(missing_weights(model, "TEST"))
    found: set[str] = set()
    for node, layer in net.steps:
        if layer.name in lacking or found.intersection(blob.name for blob in node.bottoms):
            found.update(top.name for top in node.tops)
    return found
