"""Image files -> arrays, by OpenCV as in Caffe (io.cpp): uint8, (height, width, channels), channels in BGR order."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from caffe_compat.errors import DataError


def decode_image(content: bytes | memoryview, where: str, color: bool | None = None) -> np.ndarray:
    """The image that the bytes of a JPEG, PNG, ... file hold.

    color: True gives three channels, False one, None what the file has. DataError if it cannot be decoded, or pixels
    have more than 8 bits; a file that ends early is refused too (Caffe's ImageData fills the missing part with grey).
    """
    cv2 = _opencv()
    flag = {True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE, None: cv2.IMREAD_UNCHANGED}[color]
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(content, np.uint8), flag) if len(content) else None
    except cv2.error as error:
        raise DataError(f"{where}: the image cannot be decoded ({error.err})") from error
    if image is None:
        why = "its file ends early" if is_truncated(content) else "it is damaged, or of a kind OpenCV does not know"
        raise DataError(f"{where}: the image cannot be decoded; {why}")
    if image.dtype != np.uint8:
        raise DataError(f"{where}: pixels are {image.dtype}, wanted 8 bits; convert the image")
    return image if image.ndim == 3 else image[:, :, None]


def read_image(path: Path, height: int = 0, width: int = 0, color: bool = True) -> np.ndarray:
    """The image in a file, resized to height x width if both are given; DataError where it is missing or damaged."""
    return resize_image(decode_image(read_file(path), str(path), color), height, width)


def read_file(path: Path) -> bytes:
    """The bytes of an image file; DataError where it is missing."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the image cannot be read ({error.strerror})") from error


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """`image` at height x width, bilinear as cv::resize does it; as it is where both are 0."""
    if not (height or width) or image.shape[:2] == (height, width):
        return image
    resized: np.ndarray = _opencv().resize(image, (width, height))
    return resized if resized.ndim == 3 else resized[:, :, None]


def encode_image(image: np.ndarray, kind: str) -> bytes:
    """A file of type `kind` ("jpg", "png") that holds `image`; DataError if OpenCV has no such encoder."""
    cv2 = _opencv()
    try:
        return bytes(cv2.imencode(f".{kind.lstrip('.')}", image)[1])
    except cv2.error as error:
        raise DataError(f"OpenCV cannot encode images as '{kind}'; use png or jpg") from error


def is_truncated(content: bytes | memoryview) -> bool:
    """Whether a JPEG or PNG file ends before its end mark."""
    content = bytes(content)
    if content[:2] == b"\xff\xd8":
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return content[:4] == b"\x89PNG" and b"IEND" not in content[-64:]


@lru_cache(maxsize=1)
def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise DataError("images need the package opencv-python-headless: pip install caffe_compat[data]") from error
    module: ModuleType = cv2
    return module
