"""HDF5Output (hdf5_output_layer.cpp)."""

from __future__ import annotations

import logging
from typing import Any

import h5py
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.proto.files import leads_outside
from caffe_compat.proto.hdf5_image import grown_hdf5, new_hdf5

_log = logging.getLogger(__name__)
DATASETS = ("data", "label")
_AXES = 4  # of Caffe's older blobs


@register("HDF5Output")
class HDF5Output(Layer):
    """Writes its two bottoms into the datasets `data` and `label` of hdf5_output_param.file_name.

    Both have four axes at least, as in Caffe: (batch, channels, height, width), of which those that a bottom lacks have
    one value. A bottom of more axes, which Caffe refuses, keeps them all.

    The first forward pass starts the file anew; each later one adds its items behind those that are there, where
    Caffe stops because the datasets exist. On a full disk the items of earlier passes stay.
    """

    gradient = "none"
    bottoms = exactly(2)
    tops = exactly(0)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.file_name: str = param.hdf5_output_param.file_name
        self.started = False
        if not self.file_name:
            raise UnsupportedParameterError(f"layer '{self.name}': hdf5_output_param.file_name is missing")
        if "\0" in self.file_name:
            raise UnsupportedParameterError(f"layer '{self.name}': hdf5_output_param.file_name has a NUL in it")
        if leads_outside(self.file_name):
            _log.warning("layer '%s': will write to %s, outside the working folder", self.name, self.file_name)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        data, label = bottom_shapes
        if data[:1] != label[:1]:
            raise ShapeError(
                f"layer '{self.name}': bottoms '{self.param.bottom[0]}' {data} and '{self.param.bottom[1]}' {label} "
                "must agree in the first axis"
            )
        return []

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        try:
            with (grown_hdf5 if self.started else new_hdf5)(self.file_name) as file:
                for name, bottom in zip(DATASETS, bottoms, strict=True):
                    _append(file, name, bottom)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"layer '{self.name}': cannot write '{self.file_name}': {reason}") from error
        self.started = True
        return ()


def _append(file: h5py.File, name: str, bottom: Tensor) -> None:
    """Add the items of `bottom` to dataset `name`, which is made where it is missing."""
    lacking = [1] * (_AXES - bottom.dim())
    values = bottom.detach().reshape(*bottom.shape, *lacking).cpu().numpy()
    if name not in file:
        chunks = (max(1, values.shape[0]), *values.shape[1:])
        file.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]), chunks=chunks)
        return
    dataset = file[name]
    count = dataset.shape[0]
    dataset.resize(count + values.shape[0], axis=0)
    dataset[count:] = values
