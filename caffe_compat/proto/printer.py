"""Messages as prototxt: fields in the order of their numbers, floats in their shortest form, two spaces a level."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from caffe_compat.proto.schema import is_repeated
from caffe_compat.showing import UNSAFE

_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_OBEYED = re.compile(f"[{UNSAFE}]")
_ESCAPES.update({code: f"\\{code:03o}" for code in [*range(32), 127] if code not in _ESCAPES})


def format_text(message: Any) -> str:
    """`message` in protobuf's text form, as Caffe's tools write and read it. Equal messages give equal text.

    Fields that the schema does not know have no name, so that no reader would take them: they are left out.
    """
    lines: list[str] = []
    _add_fields(message, "", lines)
    return "".join(lines)


def _add_fields(message: Any, indent: str, lines: list[str]) -> None:
    for field, value in message.ListFields():
        for item in value if is_repeated(field) else (value,):
            if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                lines.append(f"{indent}{field.name} {{\n")
                _add_fields(item, indent + "  ", lines)
                lines.append(f"{indent}}}\n")
            else:
                lines.append(f"{indent}{field.name}: {_scalar(field, item)}\n")


def _scalar(field: Any, value: Any) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "true" if value else "false"
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return str(known.name if known else value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return shortest_float(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return _shortest(value, range(15, 18), float)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return '"' + "".join(_byte(code) for code in value) + '"'
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return f'"{_quoted(value)}"'
    return str(value)


def _quoted(value: str) -> str:
    """The characters of a string; those that a terminal would obey as octal escapes of their UTF-8, which read back."""
    if value.isprintable():
        return value.translate(_ESCAPES)
    return _OBEYED.sub(lambda found: "".join(f"\\{byte:03o}" for byte in found[0].encode()), value.translate(_ESCAPES))


def _byte(code: int) -> str:
    return _ESCAPES.get(code) or (chr(code) if code < 127 else f"\\{code:03o}")


def shortest_float(value: float) -> str:
    """The shortest spelling that reads back as the same float32, in the form of C++'s %g: 0.0001, 1e-05, 1."""
    return _shortest(value, range(6, 10), np.float32)


def _shortest(value: float, digits: range, kind: Any) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    for precision in digits:
        text = f"{value:.{precision}g}"
        if kind(float(text)) == kind(value):
            break
    return text
