"""Images where ILSVRC keeps them: in folders, in tar files, and in tar files within a tar file; read by place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import ReadError
from typing import IO

from caffe_compat.data.archives import UNREADABLE
from caffe_compat.data.images import read_file
from caffe_compat.data.tars import open_plain_tar
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import open_file

_SUFFIXES = {".jpeg", ".jpg", ".png"}


@dataclass(frozen=True)
class Place:
    """Where the bytes of one image lie: a whole file, or `size` bytes of a tar file from `offset` on."""

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """The image file's bytes; any number of threads may read at once."""
        if self.size is None:
            return read_file(self.path)
        with open_file(self.path) as file:
            return os.pread(file.fileno(), self.size, self.offset)


def stored_images(source: Path) -> dict[str, Place]:
    """The images in `source`, a folder or a plain tar file, by name: `file`, or `folder/file` for one level down.

    A tar file within counts as the folder of its stem, as n01440764.tar does in ILSVRC2012_img_train.tar. DataError
    for a tar file that is damaged or cut short.
    """
    if source.is_file():
        return dict(_tar_images(source))
    found: dict[str, Place] = {}
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            found |= {f"{entry.name}/{file.name}": Place(file) for file in sorted(entry.iterdir()) if _is_image(file)}
        elif entry.suffix == ".tar":
            found |= {f"{entry.stem}/{PurePosixPath(name).name}": place for name, place in _tar_images(entry)}
        elif _is_image(entry):
            found[entry.name] = Place(entry)
    return found


def _is_image(name: Path | PurePosixPath) -> bool:
    return name.suffix.lower() in _SUFFIXES and not name.name.startswith(".")


def _tar_images(path: Path) -> Iterator[tuple[str, Place]]:
    size = path.stat().st_size
    try:
        with open_file(path) as file:
            for name, offset, length in _members(file, 0, ""):
                if offset + length > size:
                    raise DataError(f"{path}: is cut short within {name}; get it again")
                yield name, Place(path, offset, length)
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is no plain tar file that can be read ({error}); get it again") from error


def _members(file: IO[bytes], start: int, folder: str) -> Iterator[tuple[str, int, int]]:
    """(name, offset from the outermost file's start, size) of the images in a tar file, those in inner ones too."""
    with open_plain_tar(file) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if not member.isfile():
                continue
            if member.issparse():
                raise ReadError(f"{member.name} is stored with holes; pack it without --sparse")
            if name.suffix == ".tar" and not folder:
                inner = archive.extractfile(member)
                assert inner is not None
                yield from _members(inner, start + member.offset_data, name.stem)
            elif _is_image(name):
                parent = folder or name.parent.name
                yield f"{parent}/{name.name}" if parent else name.name, start + member.offset_data, member.size
