"""Image files -> arrays, by OpenCV as in Caffe (io.cpp): uint8, (height, width, channels), channels in BGR order."""

from __future__ import annotations

import importlib
import os
import re
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from caffe_compat.errors import DataError, MissingDataError
from caffe_compat.proto.reading import open_file, slashes_hint

_OPENCV_CHANNELS = 4
_LABELS = re.compile(r"(?: [-+]?[\d.]+)+$")  # numbers that a reader of lists took for the end of a name


def decode_image(content: bytes | memoryview, where: str, color: bool | None = None) -> np.ndarray:
    """The image that the bytes of a JPEG, PNG, ... file hold.

    color: True gives three channels, False one, None what the file has. DataError if it cannot be decoded, or pixels
    have more than 8 bits; a file that ends early is refused too (Caffe's ImageData fills the missing part with grey).
    """
    opencv = _opencv()
    flag = {True: opencv.IMREAD_COLOR, False: opencv.IMREAD_GRAYSCALE, None: opencv.IMREAD_UNCHANGED}[color]
    try:
        image: np.ndarray | None = opencv.imdecode(np.frombuffer(content, np.uint8), flag) if len(content) else None
    except opencv.error as error:
        raise DataError(f"{where}: the image cannot be decoded ({error.err})") from error
    if is_truncated(content):  # which OpenCV 4.8 decodes, grey where pixels are missing, and 4.14 does not
        raise DataError(f"{where}: the image cannot be decoded; its file ends early")
    if image is None:
        raise DataError(f"{where}: the image cannot be decoded; it is damaged, or of a kind OpenCV does not know")
    if image.dtype != np.uint8:
        raise DataError(f"{where}: pixels are {image.dtype}, wanted 8 bits; convert the image")
    return image if image.ndim == 3 else image[:, :, None]


def read_image(path: Path, height: int = 0, width: int = 0, color: bool = True) -> np.ndarray:
    """The image in a file, resized to height x width if both are given; DataError where it is missing or damaged."""
    return resize_image(decode_image(read_file(path), str(path), color), height, width)


def read_file(path: Path) -> bytes:
    """The bytes of an image file; DataError where it is missing."""
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        kind = MissingDataError if isinstance(error, FileNotFoundError) else DataError
        raise kind(f"{path}: the image cannot be read ({error.strerror}){missing_hint(str(path))}") from error


def missing_hint(path: str) -> str:
    """The end of a message on an image that is not there: what is there under nearly this name; else empty."""
    name = _LABELS.sub("", path)
    if name != path and os.path.exists(name):
        return f"; {name} is there: its line has more than one number behind the name, and the label is one"
    return slashes_hint(path)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` at height x width, bilinear as cv::resize does it; as it is where both are 0."""
    if not (height or width) or image.shape[:2] == (height, width):
        return image
    resized: np.ndarray = _opencv().resize(image, (width, height))
    return resized if resized.ndim == 3 else resized[:, :, None]


def encode_image(image: np.ndarray, kind: str) -> bytes:
    """A file of type `kind` ("jpg", "png") that holds `image`; DataError if OpenCV has no such encoder."""
    opencv = _opencv()
    try:
        return bytes(opencv.imencode(f".{kind.lstrip('.')}", image)[1])
    except opencv.error as error:
        raise DataError(f"OpenCV cannot encode images as '{kind}'; use png or jpg") from error


def interleaved(planes: np.ndarray) -> np.ndarray:
    """`planes` (batch, channels, height, width), uint8, as a new (batch, height, width, channels)."""
    count, channels, height, width = planes.shape
    opencv = _opencv_or_none()
    if opencv is not None and 1 < channels <= _OPENCV_CHANNELS:  # six times as fast as numpy
        merged: np.ndarray = opencv.merge([planes[:, channel].reshape(count, -1) for channel in range(channels)])
        return merged.reshape(count, height, width, channels)
    pixels = np.empty((count, height, width, channels), planes.dtype)
    for channel in range(channels):  # a channel at a time is several times faster than one transposing copy
        pixels[..., channel] = planes[:, channel]
    return pixels


def mirrored(images: np.ndarray) -> np.ndarray:
    """A copy of `images` (..., width, channels) with left and right exchanged."""
    opencv = _opencv_or_none()
    if opencv is None or images.shape[-1] > _OPENCV_CHANNELS:
        return np.ascontiguousarray(images[..., ::-1, :])
    rows = images if images.ndim == 3 else np.ascontiguousarray(images).reshape(-1, *images.shape[-2:])
    flipped: np.ndarray = opencv.flip(rows, 1)  # moves whole pixels, ten times as fast as numpy
    return flipped.reshape(images.shape)


def add_pixels(pixels: np.ndarray, target: np.ndarray) -> None:
    """target += pixels, of one shape and in float32; numpy alone would cast uint8 in buffers, at half the speed."""
    opencv = _opencv_or_none()
    if opencv is None or pixels.dtype != np.uint8 or not target.flags.c_contiguous:
        np.add(target, pixels, out=target)
        return
    opencv.accumulate(np.ascontiguousarray(pixels).reshape(len(pixels), -1), target.reshape(len(target), -1))


def subtract_from_channels(pixels: np.ndarray, mean: np.ndarray, target: np.ndarray) -> bool:
    """target = pixels - mean (1,) or (channels,), (height, width, channels) in one pass; False where that cannot be."""
    opencv, channels = _opencv_or_none(), pixels.shape[-1]
    if opencv is None or pixels.dtype != np.uint8 or not 1 < channels <= _OPENCV_CHANNELS:
        return False
    values = (*np.broadcast_to(mean, channels).tolist(), *[0.0] * (4 - channels))
    made = opencv.subtract(pixels, values, dst=target, dtype=opencv.CV_32F)
    if made is not target:
        np.copyto(target, made)
    return True


def is_truncated(content: bytes | memoryview) -> bool:
    """Whether a JPEG or PNG file ends before its end mark."""
    is_jpeg = content[:2] == b"\xff\xd8"
    if is_jpeg and content[-2:] == b"\xff\xd9":
        return False  # as nearly every file; to look for where its pixels begin takes a while
    content = bytes(content)
    if is_jpeg:
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return content[:4] == b"\x89PNG" and b"IEND" not in content[-64:]


def _opencv() -> ModuleType:
    opencv = _opencv_or_none()
    if opencv is None:
        raise MissingDataError("images need the package opencv-python-headless: pip install caffe_compat[data]")
    return opencv


@lru_cache(maxsize=1)
def _opencv_or_none() -> ModuleType | None:
    """OpenCV, imported when first needed, for that takes a while."""
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None
