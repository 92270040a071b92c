"""`caffe.proto.caffe_pb2`: every message and enum of caffe.proto by name, as in a module that protoc made.

The classes are those of `caffe_compat.proto.schema`, in a descriptor pool of its own, so that those of an installed
pycaffe may be loaded beside. Fields of forks are there too; protos/README.md lists them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from caffe_compat.proto.schema import NetParameter, message_class

DESCRIPTOR: Any = NetParameter.DESCRIPTOR.file


def _names(file: Any) -> dict[str, Any]:
    """Messages, enums and the values of enums that stand at the top of the file."""
    names: dict[str, Any] = {name: message_class(name) for name in file.message_types_by_name}
    for name, enum in file.enum_types_by_name.items():
        names[name] = EnumTypeWrapper(enum)
        names.update({value.name: value.number for value in enum.values})
    return names


globals().update(_names(DESCRIPTOR))


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'caffe.proto.caffe_pb2' has no attribute '{name}'")
