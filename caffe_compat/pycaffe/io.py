"""`caffe.io`: images and messages as arrays, and what a net's input wants of an image.

Images are float32 arrays (height, width, channels). Reading and resizing them is scikit-image's, as in pycaffe (the
extra `pycaffe`); it is imported when an image is first read or resized.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import zoom

from caffe_compat.pycaffe.optional import needed
from caffe_compat.pycaffe.proto import caffe_pb2

_OF_IMAGES = {"resize": "skimage.transform", "skimage": "skimage"}
_LEGACY = ("num", "channels", "height", "width")


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The data, or the diff, of a BlobProto: float64, in its shape; the four legacy sizes win where any is given.

    ValueError where the number of values is another. double_data is not read.
    """
    values = np.array(blob.diff if return_diff else blob.data, dtype=np.float64)
    if any(blob.HasField(name) for name in _LEGACY):
        return values.reshape([getattr(blob, name) for name in _LEGACY])
    return values.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr: Any, diff: Any = None) -> Any:
    """A BlobProto with the shape and values of `arr`, and those of `diff` as its diff."""
    blob = caffe_pb2.BlobProto(shape={"dim": arr.shape})
    blob.data.extend(arr.astype(float).flat)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Any]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist])
    return bytes(vector.SerializeToString())


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays in the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: Any, label: int | None = None) -> Any:
    """A Datum of an array (channels, height, width): its bytes if it is uint8, else float_data.

    ValueError for another number of axes.
    """
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array (channels, height, width) of a Datum: uint8 from its bytes, else float64; ValueError for a misfit."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, dtype=np.uint8).reshape(shape).copy()
    return np.array(datum.float_data, dtype=float).reshape(shape)


class Transformer:
    """What images go through on their way to each input of a net.

    inputs: {input: shape of its blob (batch, channels, height, width)}. The order is: resize, transpose, channel_swap,
    raw_scale, mean, input_scale; each only if it was set. Exception for an input that is not there.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Any] = {}
        self.channel_swap: dict[str, Any] = {}
        self.raw_scale: dict[str, Any] = {}
        self.mean: dict[str, Any] = {}
        self.input_scale: dict[str, Any] = {}

    def preprocess(self, in_: str, data: Any) -> np.ndarray:
        """An image (height, width, channels) as input `in_` wants it; a float32 one may be changed, as in pycaffe."""
        self.__check_input(in_)
        image: np.ndarray = data.astype(np.float32, copy=False)
        size = self.inputs[in_][2:]
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[self.channel_swap[in_], :, :]
        if self.raw_scale.get(in_) is not None:
            image *= self.raw_scale[in_]
        if in_ in self.mean:
            image -= self.mean[in_]
        if self.input_scale.get(in_) is not None:
            image *= self.input_scale[in_]
        return image

    def deprocess(self, in_: str, data: Any) -> np.ndarray:
        """The way back from an input (channels, height, width), or a batch of one, to an image."""
        self.__check_input(in_)
        image: np.ndarray = data.copy().squeeze()
        if self.input_scale.get(in_) is not None:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if self.raw_scale.get(in_) is not None:
            image /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Any) -> None:
        """The order of axes: (2, 0, 1) makes (channels, height, width) of an image."""
        self.__check_input(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Any) -> None:
        """The order of channels, behind the transpose: (2, 1, 0) makes BGR of RGB."""
        self.__check_input(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied with before the mean is taken off."""
        self.__check_input(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Any) -> None:
        """What is taken off: one value a channel, or an image (channels, height, width), resized where it must be.

        ValueError for another number of channels or axes.
        """
        self.__check_input(in_)
        wanted = self.inputs[in_][1:]
        if mean.ndim == 1:
            if mean.shape[0] != wanted[0]:
                raise ValueError("Mean channels incompatible with input.")
            self.mean[in_] = mean[:, np.newaxis, np.newaxis]
            return
        shape = (1, *mean.shape) if mean.ndim == 2 else mean.shape
        if len(shape) != 3:
            raise ValueError("Mean shape invalid")
        self.mean[in_] = mean if shape == wanted else _resized_mean(mean, wanted[1:])

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied with behind everything else."""
        self.__check_input(in_)
        self.input_scale[in_] = scale

    def __check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")


def _resized_mean(mean: Any, size: Any) -> np.ndarray:
    """A mean image (channels, height, width) of another size; NaN where it is constant, as in pycaffe."""
    least, most = mean.min(), mean.max()
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = (mean - least) / (most - least)
    resized = resize_image(unit.transpose((1, 2, 0)), size).transpose((2, 0, 1))
    return np.asarray(resized * (most - least) + least)


def load_image(filename: str | os.PathLike[str], color: bool = True) -> np.ndarray:
    """The image in a file: float32 in [0, 1], (height, width, 3) in RGB, or with color=False (height, width, 1)."""
    skimage, reader = needed("skimage", "caffe.io.load_image"), needed("skimage.io", "caffe.io.load_image")
    image = skimage.img_as_float(reader.imread(filename, as_gray=not color)).astype(np.float32)
    if image.ndim == 2:
        image = np.tile(image[:, :, np.newaxis], (1, 1, 3 if color else 1))
    elif image.shape[2] == 4:
        image = image[:, :, :3]
    return np.asarray(image)


def resize_image(im: Any, new_dims: Any, interp_order: int = 1) -> np.ndarray:
    """An image of (height, width) `new_dims`: by scikit-image with 1 or 3 channels, else by scipy's zoom; float32.

    Downwards scikit-image smoothes first, as it does by itself since 0.15 and did not in pycaffe's days.
    """
    if im.shape[-1] not in (1, 3):
        factors = np.array(new_dims, dtype=float) / np.array(im.shape[:2])
        return np.asarray(zoom(im, (*factors, 1), order=interp_order).astype(np.float32))
    least, most = im.min(), im.max()
    if not most > least:
        return np.full((new_dims[0], new_dims[1], im.shape[-1]), least, dtype=np.float32)
    resize = needed("skimage.transform", "caffe.io.resize_image").resize
    unit = resize((im - least) / (most - least), new_dims, order=interp_order, mode="constant")
    return np.asarray((unit * (most - least) + least).astype(np.float32))


def oversample(images: Any, crop_dims: Any) -> np.ndarray:
    """Ten crops (height, width) of each image: corners and centre, then those mirrored.

    images: a sequence of (height, width, channels), all of the first one's size. The crops are float32, (10 * images,
    *crop_dims, channels).
    """
    height, width = (int(size) for size in crop_dims)
    shape = images[0].shape
    down, right = shape[0] - height, shape[1] - width
    middle = int(shape[0] / 2.0 - height / 2.0), int(shape[1] / 2.0 - width / 2.0)
    corners = [(0, 0), (0, right), (down, 0), (down, right), middle]
    crops = np.empty((10 * len(images), height, width, shape[-1]), dtype=np.float32)
    for index, image in enumerate(images):
        for place, (top, left) in enumerate(corners):
            crop = image[top : top + height, left : left + width, :]
            crops[10 * index + place] = crop
            crops[10 * index + 5 + place] = crop[:, ::-1, :]
    return crops


def __getattr__(name: str) -> Any:
    """`caffe.io.skimage` and `caffe.io.resize`, which scripts find there, once they are asked for."""
    if name not in _OF_IMAGES:
        raise AttributeError(f"module 'caffe.io' has no attribute '{name}'")
    module = needed(_OF_IMAGES[name], f"caffe.io.{name}")
    needed("skimage.io", f"caffe.io.{name}")
    return module if name == "skimage" else getattr(module, name)
