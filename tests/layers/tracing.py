"""Messages that note which of their fields are read, to find fields that no code obeys."""

from __future__ import annotations

from functools import cache
from typing import Any


class _Named(type):
    """Lets a traced message's type answer for enum values, as `type(fields).MAX` asks it to."""

    message: Any

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.message, name)


class Traced(metaclass=_Named):
    """Stands for `message`; `reads` gets the path of each field that is asked for: "pooling_param.kernel_size"."""

    def __init__(self, message: Any, reads: set[str], path: str = "") -> None:
        self.__dict__.update(traced_message=message, traced_reads=reads, traced_path=path)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.traced_message, name)
        field = self.traced_message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            return value
        path = f"{self.traced_path}{name}"
        self.traced_reads.add(path)
        if field.message_type is None:
            return value
        if hasattr(value, "add"):
            return [traced(each, self.traced_reads, f"{path}.") for each in value]
        return traced(value, self.traced_reads, f"{path}.")

    def HasField(self, name: str) -> bool:
        self.traced_reads.add(f"{self.traced_path}{name}")
        return bool(self.traced_message.HasField(name))

    def __eq__(self, other: object) -> bool:
        return bool(self.traced_message == getattr(other, "traced_message", other))

    __hash__ = None  # type: ignore[assignment]


@cache
def _kind(message_class: Any) -> type[Traced]:
    return _Named(f"Traced{message_class.DESCRIPTOR.name}", (Traced,), {"message": message_class})


def traced(message: Any, reads: set[str], path: str = "") -> Any:
    return _kind(type(message))(message, reads, path)
