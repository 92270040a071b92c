"""`caffe.Layer`: the base of layers written in Python, and what `net.layers` holds for all others (_caffe.cpp)."""

from __future__ import annotations

from typing import Any

from caffe_compat.pycaffe.bindings import Bound
from caffe_compat.pycaffe.vectors import BlobVec


class NotWrittenError(RecursionError, NotImplementedError):
    """A method that a Python layer must have; pycaffe's own calls itself until Python stops it."""


class Layer(Bound):
    """A layer of a net: its `type` and its learnable `blobs`.

    A layer written in Python derives from this and has setup(bottom, top), reshape(bottom, top), forward(bottom, top)
    and backward(top, propagate_down, bottom); `param_str` and `phase` are set before setup.
    """

    def __init__(self, param: Any) -> None:
        self._type = str(param.type)
        self._blobs = BlobVec()

    @property
    def type(self) -> str:
        """Caffe's name of the type; "Python" for a layer written in Python."""
        return self._type

    @property
    def blobs(self) -> BlobVec:
        """The learnable blobs. A Python layer adds its own in setup, with `self.blobs.add_blob(*shape)`."""
        return self._blobs

    def setup(self, bottom: Any, top: Any) -> None:
        """See the class."""
        raise NotWrittenError(f"{type(self).__name__} has no setup(bottom, top)")

    def reshape(self, bottom: Any, top: Any) -> None:
        """See the class."""
        raise NotWrittenError(f"{type(self).__name__} has no reshape(bottom, top)")


def view_of(param: Any, blobs: BlobVec) -> Layer:
    """What `net.layers` holds for a layer that is not written in Python."""
    layer = Layer(param)
    layer._blobs = blobs
    return layer


def anew(layer: Layer) -> Layer:
    """The layer as `net.layers` gives it: itself if written in Python, else a new object each time."""
    if type(layer) is not Layer:
        return layer
    other = Layer.__new__(Layer)
    other._type, other._blobs = layer._type, layer._blobs
    return other
