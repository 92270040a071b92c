"""Layers written in Python, on the blobs of the net themselves (python_layer.hpp)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from caffe_compat.graph.graph import Node
from caffe_compat.layers import base
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.draws import drawing_from
from caffe_compat.layers.python_modules import NO_PYTHON, announce, module_place, python_is_off, python_layers_are
from caffe_compat.net.naming import names_may_repeat
from caffe_compat.net.needs import Need
from caffe_compat.pycaffe.bindings import CheckError, MissingPythonError
from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.memory import CLOCK, ParameterMemory
from caffe_compat.pycaffe.mode import random_source
from caffe_compat.pycaffe.steps import Step
from caffe_compat.pycaffe.vectors import BoolVec, RawBlobVec

_PHASES = {"TRAIN": 0, "TEST": 1}


@contextmanager
def building() -> Iterator[None]:
    """Within this block, nets get LivePythonLayers and may repeat names; fillers draw Caffe's random numbers."""
    with python_layers_are(LivePythonLayer), names_may_repeat(), drawing_from(random_source()):
        yield


@contextmanager
def _as_caffe() -> Iterator[None]:
    """`import caffe` gives caffe_compat.pycaffe in this block; behind it too, unless another caffe was there."""
    before = sys.modules.get("caffe")
    sys.modules["caffe"] = sys.modules["caffe_compat.pycaffe"]
    try:
        yield
    finally:
        if before is not None:
            sys.modules["caffe"] = before


def user_class(module: str, name: str) -> Any:
    """The class `name` of Python module `module`; CheckError where one is missing, is no caffe.Layer or may not run."""
    if python_is_off():
        raise CheckError(f"Python module '{module}' is not imported, for --no-python or {NO_PYTHON} is set")
    announce("a Python layer", name, module_place(module, None) or module)
    with _as_caffe():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0] and error.name != module:
                raise
            raise MissingPythonError(
                f"No module named '{module}': python_param.module must be on PYTHONPATH"
            ) from error
    chosen = getattr(found, name, None)
    if not (isinstance(chosen, type) and issubclass(chosen, Layer)):
        raise MissingPythonError(
            f"module '{module}' has no caffe.Layer named '{name}', which python_param.layer asks for"
        )
    return chosen


class LivePythonLayer(base.Layer):
    """The layer of type Python in a net of pycaffe: `user` is the script's own object, `bottom` and `top` its blobs."""

    bottoms = Count(0)
    tops = Count(0)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.python_param
        self.user: Any = user_class(field.module, field.layer)(param)
        self.user.param_str, self.user.phase = field.param_str, _PHASES[context.phase]
        self.user.param_str_ = field.param_str  # its name until 2015
        self.bottom = RawBlobVec(Blob(()) for _ in param.bottom)
        in_place = dict(zip(param.bottom, self.bottom, strict=True))
        names = [list(param.bottom[index : index + 1]) for index in range(len(param.top))]
        self.top = RawBlobVec(
            in_place[name] if found == [name] else Blob(()) for name, found in zip(param.top, names, strict=True)
        )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self._show(bottom_shapes)
        self.user.setup(self.bottom, self.top)
        for blob in self.user.blobs:
            parameter = nn.Parameter(torch.from_numpy(blob._data.look()).view(blob._shape))
            self.blobs.append(parameter)
            self.blob_shapes.append(blob._shape)
            blob._data = ParameterMemory(parameter)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self._show(bottom_shapes)
        self.user.reshape(self.bottom, self.top)
        return [blob._shape for blob in self.top]

    def forward(self, *bottoms: Tensor) -> Any:
        raise NotImplementedError("a Python layer of pycaffe runs on blobs, see UserStep")

    def _show(self, bottom_shapes: list[Shape]) -> None:
        for blob, shape in zip(self.bottom, bottom_shapes, strict=True):
            blob._resize(shape)


class UserStep(Step):
    """A Python layer: the script's methods, called as Caffe calls them."""

    layer: LivePythonLayer

    def __init__(self, node: Node, layer: LivePythonLayer, bottoms: list[Blob], tops: list[Blob], need: Need) -> None:
        layer.bottom, layer.top = RawBlobVec(bottoms), RawBlobVec(tops)
        super().__init__(node, layer, bottoms, tops, need)
        self.blobs = layer.user.blobs

    def reshape(self) -> None:
        self.layer.user.reshape(self.layer.bottom, self.layer.top)

    def forward(self) -> None:
        self.reshape()
        self.layer.user.forward(self.layer.bottom, self.layer.top)
        CLOCK.tick()

    def backward(self) -> None:
        if self.need.layer:
            self.layer.user.backward(self.layer.top, BoolVec(self.need.bottoms), self.layer.bottom)
            CLOCK.tick()
