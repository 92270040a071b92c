"""Where the files lie that a net names."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import DataError


def find_source(name: str, *folders: Path | None, named_by: str) -> Path:
    """`name` in the working directory, as Caffe takes it, else in the first of `folders` that has it."""
    candidates = [Path(name), *(folder / name for folder in folders if folder is not None)]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    places = ", ".join(dict.fromkeys(str(candidate.absolute().parent) for candidate in candidates))
    way_out = "correct the path" if Path(name).is_absolute() else "start in the folder that this path counts from"
    raise DataError(f"{named_by}: '{name}' is not in {places}; {way_out}")
