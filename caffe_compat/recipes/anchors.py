"""Nets that are written into another folder and still find their data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_FIELDS = ("source", "mean_file", "root_folder")  # of data_param, transform_param, image_data_param and so on


def anchor(net: Any, folder: Path | None) -> Any:
    """A copy of the NetParameter `net` in which files that only `folder` has are named by their full path.

    Names that lead somewhere from the working directory stay, for that is where Caffe looks first.
    """
    anchored = type(net)()
    anchored.CopyFrom(net)
    for message in _messages(anchored) if folder else ():
        for field, value in message.ListFields():
            if field.name in FILE_FIELDS and isinstance(value, str) and value and not Path(value).exists():
                beside = Path(folder or "", value)
                if beside.exists():
                    slash = "/" if value.endswith("/") else ""  # a root_folder is put before names as it stands
                    setattr(message, field.name, f"{beside.resolve()}{slash}")
    return anchored


def _messages(message: Any) -> Iterator[Any]:
    """`message` and every message in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "add") else (value,):
                yield from _messages(part)
