"""Fields of a layer's messages that need more than an attribute to read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.proto.schema import is_repeated


def enum_name(message: Any, field: str) -> str:
    """The name of the value that an enum field of a message has, e.g. "SUM"."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    name: str = descriptor.enum_type.values_by_number[getattr(message, field)].name
    return name


def given(message: Any, field: str) -> Any:
    """The value of an optional field, or None where the message does not set it."""
    return getattr(message, field) if message.HasField(field) else None


def refuse_other_fields(layer: str, name: str, message: Any, known: Collection[str]) -> None:
    """UnsupportedParameterError where message `name` of `layer` sets a field that is not in `known`.

    Forks of one name differ; what another fork added to a message changes what its layer computes.
    """
    for field, value in message.ListFields():
        if field.name not in known and (is_repeated(field) or value != field.default_value):
            shown = str(value).strip().replace("\n", " ")
            raise UnsupportedParameterError(
                f"layer '{layer}': {name}.{field.name} is {shown}, which is not implemented; "
                f"implemented: {', '.join(known) or 'none'}"
            )


def axis_of(layer: str, message: Any, old_field: str) -> int:
    """The field `axis` of layer `layer`, or its deprecated twin (`concat_dim`, `slice_dim`), which counts from 0."""
    if not message.HasField(old_field):
        return int(message.axis)
    if message.HasField("axis"):
        raise UnsupportedParameterError(f"layer '{layer}': axis and {old_field} are both given; keep axis")
    return int(getattr(message, old_field))
