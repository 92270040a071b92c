"""ImageNet as ILSVRC2012 publishes it -> the databases that Caffe's examples/imagenet/create_imagenet.sh makes.

A label is the line of the image's synset in the synset list, from 0 (ilsvrc.py); the labels of the validation images
come from a list too, or from folders named after their synsets.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from caffe_compat.data.ilsvrc import Entries, synset_labels, validation_list
from caffe_compat.data.imageset import Conversion, make_imageset
from caffe_compat.data.stored_images import Place, stored_images
from caffe_compat.data.writing import partial_folder
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import read_bytes

IMAGENET_PARTS = ("train", "val")
_PLACES = ("ILSVRC2012_img_{}.tar", "{}", "ILSVRC2012_img_{}", "Data/CLS-LOC/{}")
_SHOWN = 3
Labels = dict[str, int]
_log = logging.getLogger(__name__)


def make_imagenet(
    source: Path,
    out: Path,
    conversion: Conversion | None = None,
    parts: Sequence[str] | None = None,
    synsets: Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = True,
    backend: str = "LMDB",
) -> list[tuple[Path, int, list[str]]]:
    """Write ilsvrc12_train_lmdb and ilsvrc12_val_lmdb into `out`, shuffled; each with its count and its bad images.

    (ilsvrc12_train_leveldb and ilsvrc12_val_leveldb for that backend.)

    source: a folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar or folders train and val, the synset list
    and val.txt, or the development kit. parts: default those of the two that are there. conversion: default 256 x 256.
    With `resume` an interrupted run is gone on with, and a database that is there is kept (count 0). DataError names
    everything that is missing before anything is written.
    """
    conversion = conversion or Conversion(256, 256)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; wanted one with ILSVRC2012_img_train.tar or a folder train")
    labels = synset_labels(source, synsets)
    found = _parts(source, parts)
    listed = {part: _entries(part, source, place, labels) for part, place in found.items()}
    made = []
    for part, (entries, images) in listed.items():
        path = out / f"ilsvrc12_{part}_{backend.lower()}"
        if resume and path.exists():
            _log.info("%s: is there already and is kept", path)
            made.append((path, 0, list[str]()))
            continue
        _check_settings(path, f"{conversion} {seed} {hashlib.sha256(repr(entries).encode()).hexdigest()}", resume)
        count, bad = make_imageset(entries, "", path, backend, conversion, True, seed, workers, resume, _Reader(images))
        _settings_file(path).unlink(missing_ok=True)
        made.append((path, count, bad))
    return made


class _Reader:
    """The bytes of an image by the name that its list entry has."""

    def __init__(self, images: Mapping[str, Place]) -> None:
        self._images = images

    def __call__(self, name: Path) -> bytes:
        return self._images[name.as_posix()].read()


def _parts(source: Path, parts: Sequence[str] | None) -> dict[str, Path]:
    """Where the images of each part lie; DataError for a part that is asked for and lacks, or where both lack."""
    found = {}
    for part in parts or IMAGENET_PARTS:
        names = [name.format(part) for name in _PLACES]
        there = [source / name for name in names if (source / name).exists()]
        if there:
            found[part] = there[0]
        elif parts:
            raise DataError(f"{source}: no images of part {part} there; wanted one of {', '.join(names)}")
        else:
            _log.warning("%s: no images of part %s there; that database is not made", source, part)
    if not found:
        wanted = " or ".join(name.format("train") for name in _PLACES)
        raise DataError(f"{source}: no images there; wanted {wanted}, or the same of val")
    return found


def _entries(part: str, source: Path, place: Path, labels: Labels | None) -> tuple[Entries, dict[str, Place]]:
    """The (name, label) of every image of `part`, and where each lies."""
    images = stored_images(place)
    if not images:
        raise DataError(f"{place}: no images there (.JPEG, .jpg, .png)")
    in_folders = all("/" in name for name in images)
    seen = {name.split("/")[0] for name in images}
    if part == "val" and not (in_folders and labels and seen <= set(labels)):
        return _by_list(source, place, images, labels)
    if labels is None:
        raise DataError(
            f"{source}: no synsets.txt there, which numbers the classes; it is in Caffe's caffe_ilsvrc12.tar.gz, and "
            "ILSVRC2012_devkit_t12.tar.gz says the same"
        )
    if not in_folders:
        name = next(name for name in images if "/" not in name)
        raise DataError(f"{place}: {name} is in no folder or tar named after a synset")
    if unknown := sorted(seen - set(labels)):
        raise DataError(f"{place}: {_some(unknown)} not in the synset list; give the right one with --synsets")
    if missing := sorted(set(labels) - seen):
        raise DataError(f"{place}: no images of {_some(missing)}, which the synset list names")
    return [(name, labels[name.split("/")[0]]) for name in sorted(images)], images


def _by_list(
    source: Path, place: Path, images: Mapping[str, Place], labels: Labels | None
) -> tuple[Entries, dict[str, Place]]:
    """As `_entries`, with the labels that a list such as Caffe's val.txt gives."""
    path, entries = validation_list(source, labels)
    flat = {name.rsplit("/", 1)[-1]: where for name, where in images.items()}
    if missing := [name for name, _ in entries if name not in flat]:
        raise DataError(f"{place}: {_some(missing)} not there, which {path.name} names")
    return entries, flat


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _settings_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.txt")


def _check_settings(path: Path, settings: str, resume: bool) -> None:
    """DataError where an unfinished database was begun from other images or with other settings."""
    file = _settings_file(path)
    begun = read_bytes(file, DataError) if resume and file.exists() else b""
    if resume and partial_folder(path).exists() and begun != settings.encode():
        raise DataError(f"{partial_folder(path)}: was begun with other images or settings; use --no-resume")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(settings)
