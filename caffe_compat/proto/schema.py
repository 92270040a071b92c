"""Caffe's message classes, made from a compiled descriptor set in a private descriptor pool.

A private pool lets the package live beside an installed pycaffe, which registers the same message names in the
default pool, and works with any protobuf runtime from version 4 up. `caffe.binpb` is compiled from
`protos/caffe.proto`.
"""

from functools import cache
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    resources.files(__package__).joinpath("caffe.binpb").read_bytes()
).file:
    _pool.Add(_file)


def message_class(name: str) -> Any:
    """The class of message `name`, e.g. "NetParameter" or "LayerParameter"."""
    descriptor = _pool.FindMessageTypeByName(f"caffe.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_pool).GetPrototype(descriptor)


def is_repeated(field: Any) -> bool:
    """Whether a field descriptor is repeated, in the words of any protobuf release."""
    known = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED) if known is None else bool(known)


def fields_of(full_name: str) -> list[Any]:
    """The field descriptors of a message, given with its package: "caffe.NetParameter"."""
    return list(_pool.FindMessageTypeByName(full_name).fields)


@cache
def required_fields(full_name: str) -> tuple[str, ...]:
    """The names of the fields that a message must have, in the words of any protobuf release."""
    fields = fields_of(full_name)
    if fields and hasattr(fields[0], "is_required"):
        return tuple(field.name for field in fields if field.is_required)
    return tuple(field.name for field in fields if field.label == field.LABEL_REQUIRED)


NetParameter: Any = message_class("NetParameter")
LayerParameter: Any = message_class("LayerParameter")
V1LayerParameter: Any = message_class("V1LayerParameter")
SolverParameter: Any = message_class("SolverParameter")
SolverState: Any = message_class("SolverState")
BlobProto: Any = message_class("BlobProto")
BlobShape: Any = message_class("BlobShape")
Datum: Any = message_class("Datum")
NetState: Any = message_class("NetState")
NetStateRule: Any = message_class("NetStateRule")
ParamSpec: Any = message_class("ParamSpec")
FillerParameter: Any = message_class("FillerParameter")

TRAIN, TEST = 0, 1
