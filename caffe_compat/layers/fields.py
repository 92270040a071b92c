"""Fields of a layer's messages that need more than an attribute to read."""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import UnsupportedParameterError


def enum_name(message: Any, field: str) -> str:
    """The name of the value that an enum field of a message has, e.g. "SUM"."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    name: str = descriptor.enum_type.values_by_number[getattr(message, field)].name
    return name


def given(message: Any, field: str) -> Any:
    """The value of an optional field, or None where the message does not set it."""
    return getattr(message, field) if message.HasField(field) else None


def axis_of(layer: str, message: Any, old_field: str) -> int:
    """The field `axis` of layer `layer`, or its deprecated twin (`concat_dim`, `slice_dim`), which counts from 0."""
    if not message.HasField(old_field):
        return int(message.axis)
    if message.HasField("axis"):
        raise UnsupportedParameterError(f"layer '{layer}': axis and {old_field} are both given; keep axis")
    return int(getattr(message, old_field))
