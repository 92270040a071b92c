"""Data, HDF5Data, ImageData and WindowData (data_layer.cpp and so on of Caffe 1.0): databases, HDF5 files, images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from caffe_compat.data.batches import DatumBatches, WholeSet
from caffe_compat.data.databases import open_database
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.image_lists import ImageBatches, Loading, read_image_list
from caffe_compat.data.image_windows import Sampling, WindowBatches, read_window_file
from caffe_compat.data.prefetch import Batches, Prefetched
from caffe_compat.data.transform import read_transform
from caffe_compat.errors import DataError
from caffe_compat.layers.base import Context, Count, exactly
from caffe_compat.layers.registry import register
from caffe_compat.layers.resident import ResidentSet
from caffe_compat.layers.stored import StoredLayer, _log


@register("Data")
class Data(StoredLayer):
    """Images and labels of an LMDB or LevelDB of Datums, in key order and round again (data_layer.cpp)."""

    tops: ClassVar[Count] = Count(1, 2)
    _resident: ResidentSet | bool | None = None  # False: the set cannot be; None: not tried

    def next_batch(self) -> tuple[Tensor, ...]:
        """On a GPU, from the set that it keeps there, where the set is small enough."""
        resident = self.resident() if self._home.is_cuda else None
        if resident is None:
            return super().next_batch()
        self._cursor += 1
        return tuple(self._at_home(top) for top in resident.batch(self._cursor - 1)[: len(self.param.top)])

    def resident(self) -> ResidentSet | None:
        """The whole set on the device of the net; None where `whole_set` gives none."""
        if self._resident is None:
            whole = self.whole_set()
            self._resident = whole is not None and ResidentSet(whole, self._home.device)
            if whole is not None:
                _log.info("layer '%s': the %d images stay on the device", self.name, len(whole.pixels))
        return self._resident if isinstance(self._resident, ResidentSet) else None

    def close(self) -> None:
        super().close()
        self._resident = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_resident": None}

    def open(self) -> Batches:
        fields = self.param.data_param
        batch_size = self.positive("data_param.batch_size", fields.batch_size)
        backend = fields.DESCRIPTOR.enum_types_by_name["DB"].values_by_number[fields.backend].name
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        database = open_database(self.find(fields.source), backend)
        batches = DatumBatches(database, batch_size, transform, self.seed, self.rank, self.ranks)
        return self.prefetched(batches, fields.prefetch)

    def whole_set(self) -> WholeSet | None:
        """The whole set in memory, where it is small enough and of one size, for a device that keeps it."""
        batches = self.batches
        made = batches.source if isinstance(batches, Prefetched) else batches
        return made.whole_set() if isinstance(made, DatumBatches) else None


@register("HDF5Data")
class HDF5Data(StoredLayer):
    """Datasets of HDF5 files that a list file names; every top is named after its dataset (hdf5_data_layer.cpp)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        if param.HasField("transform_param"):
            raise DataError(f"layer '{self.name}': HDF5Data takes no transform_param; store transformed values instead")

    def takes_chance(self) -> bool:
        return bool(self.param.hdf5_data_param.shuffle)

    def open(self) -> Batches:
        fields = self.param.hdf5_data_param
        batch_size = self.positive("hdf5_data_param.batch_size", fields.batch_size)
        files = read_file_list(self.find(fields.source), self.context.folder)
        return HDF5Batches(files, list(self.param.top), batch_size, fields.shuffle, self.seed, self.rank, self.ranks)


@register("ImageData")
class ImageData(StoredLayer):
    """Images of the files that a list names, and the labels beside them (image_data_layer.cpp)."""

    tops: ClassVar[Count] = exactly(2)

    def takes_chance(self) -> bool:
        fields = self.param.image_data_param
        return super().takes_chance() or fields.shuffle or fields.rand_skip > 0

    def open(self) -> Batches:
        fields = self.param.image_data_param
        if (fields.new_height > 0) != (fields.new_width > 0):
            raise DataError(f"layer '{self.name}': image_data_param needs both new_height and new_width, or neither")
        batch_size = self.positive("image_data_param.batch_size", fields.batch_size)
        entries = read_image_list(self.find(fields.source))
        root = self.root(fields.root_folder, entries[0][0])
        load = Loading(root, fields.new_height, fields.new_width, fields.is_color)
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        share = (self.seed, self.rank, self.ranks)
        batches = ImageBatches(entries, load, batch_size, transform, fields.shuffle, fields.rand_skip, *share)
        return self.prefetched(batches, self.param.data_param.prefetch)


@register("WindowData")
class WindowData(StoredLayer):
    """Windows of images, foreground and background in fixed parts, warped to one size (window_data_layer.cpp)."""

    tops: ClassVar[Count] = exactly(2)

    def takes_chance(self) -> bool:
        return True

    def open(self) -> Batches:
        fields = self.param.window_data_param
        if fields.crop_mode not in ("warp", "square"):
            raise DataError(f"layer '{self.name}': crop_mode is '{fields.crop_mode}'; allowed: warp, square")
        batch_size = self.positive("window_data_param.batch_size", fields.batch_size)
        windows = read_window_file(self.find(fields.source))
        sampling = Sampling(
            batch_size,
            fields.fg_threshold,
            fields.bg_threshold,
            fields.fg_fraction,
            fields.context_pad,
            fields.crop_mode == "square",
        )
        transform = read_transform(self.param.transform_param, self.name, self.context.phase, self.context.folder)
        if transform.scale != 1:
            _log.warning("layer '%s': WindowData ignores transform_param.scale, as in Caffe", self.name)
        transform = replace(transform, scale=fields.scale)
        root = self.root(fields.root_folder, windows[0].image)
        seed = self.seed * self.ranks + self.rank
        batches = WindowBatches(windows, root, sampling, transform, seed, fields.cache_images)
        return self.prefetched(batches, self.param.data_param.prefetch)
