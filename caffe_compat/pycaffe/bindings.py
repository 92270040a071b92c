"""What every object of pycaffe has from Boost.Python: its own TypeErrors, and that it cannot be pickled or copied."""

from __future__ import annotations

from typing import Any, NoReturn

from caffe_compat.errors import CaffeCompatError


class ArgumentError(TypeError):
    """Arguments of types that no form of a function takes."""


class CheckError(CaffeCompatError, RuntimeError):
    """What a failed CHECK says in Caffe, where it ends the process."""


class MissingPythonError(SystemError, CheckError):
    """The module or class of a Python layer is not there; Boost makes a SystemError of it."""


def check(holds: bool, condition: str, why: str = "") -> None:
    """CheckError in the words of Caffe's CHECK where `holds` is False."""
    if not holds:
        raise CheckError(f"Check failed: {condition} {why}".rstrip())


def refuse_types(function: str, wanted: str, *found: Any) -> NoReturn:
    """ArgumentError for arguments that do not match the signature `wanted`."""
    types = ", ".join(type(one).__name__ for one in found)
    raise ArgumentError(
        f"Python argument types in {function}({types}) did not match C++ signature: {function}({wanted})"
    )


def whole(function: str, value: Any) -> int:
    """`value` if it is an int of Python, not of NumPy; else ArgumentError."""
    if not isinstance(value, int):
        refuse_types(function, "int", value)
    return int(value)


def text(function: str, value: Any) -> str:
    """`value` if it is a str or bytes, as str; else ArgumentError."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        refuse_types(function, "std::string", value)
    return str(value)


class Bound:
    """Base of what pycaffe makes in C++."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise RuntimeError(
            f'Pickling of "caffe._caffe.{type(self).__name__}" instances is not enabled; pickle or copy its arrays'
        )
