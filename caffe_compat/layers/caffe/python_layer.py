"""Python layers: the user's own class, written for pycaffe, run with pycaffe's contract (python_layer.hpp, _caffe.cpp).

The module `python_param.module` is sought beside the net's file, then in the working directory, then on sys.path; its
class `python_param.layer` has setup, reshape, forward(bottom, top) and backward(top, propagate_down, bottom) on blobs
whose data and diff are NumPy arrays. Its `import caffe` finds a stand-in with `caffe.Layer`, whether pycaffe is
installed or not, for pycaffe's own Layer can only be made by its C++ net.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caffe_compat.errors import CaffeCompatError, UnsupportedLayerError, UserCodeError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.function import DIFFERENCES, need_values, without_derivative
from caffe_compat.layers.numpy_blob import BlobVector, NumPyBlob
from caffe_compat.layers.python_modules import NO_PYTHON, announce, module_place, python_is_off, stand_in
from caffe_compat.layers.registry import register
from caffe_compat.showing import told, words_of
from caffe_compat.without_torch import need_torch

PHASES = {"TRAIN": 0, "TEST": 1}  # pycaffe's numbers


class UserLayer:
    """What `caffe.Layer` is in the user's module: the base of the class."""

    param_str: str
    param_str_: str
    phase: int
    blobs: BlobVector

    def setup(self, bottom: list[NumPyBlob], top: list[NumPyBlob]) -> None:
        """Called once."""

    def reshape(self, bottom: list[NumPyBlob], top: list[NumPyBlob]) -> None:
        """Called before every forward."""

    def forward(self, bottom: list[NumPyBlob], top: list[NumPyBlob]) -> None:
        """Fill top[i].data."""

    def backward(self, top: list[NumPyBlob], propagate_down: list[bool], bottom: list[NumPyBlob]) -> None:
        """Fill bottom[i].diff where propagate_down[i], and add to self.blobs[i].diff."""


def _stand_in() -> types.ModuleType:
    module = types.ModuleType("caffe", "What caffe_compat shows to the modules of Python layers.")
    vars(module).update(Layer=UserLayer, TRAIN=PHASES["TRAIN"], TEST=PHASES["TEST"])
    return module


_CAFFE = _stand_in()


@contextmanager
def _importing_from(*folders: Path) -> Iterator[None]:
    """`folders` first on sys.path, and the stand-in in the place of `caffe`."""
    before, path = sys.modules.get("caffe"), list(sys.path)
    pycaffe_is_here = before is not _CAFFE and (before is not None or importlib.util.find_spec("caffe") is not None)
    sys.modules["caffe"] = _CAFFE
    sys.path[:0] = [str(folder) for folder in folders]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        if pycaffe_is_here:  # else the stand-in stays, for an `import caffe` inside one of the user's functions
            del sys.modules["caffe"]
            sys.modules.update({} if before is None else {"caffe": before})


def user_class(layer: str, module: str, name: str, folder: Path | None) -> type[UserLayer]:
    """The class `name` of Python module `module`, which is announced before the module is imported and so runs.

    UnsupportedLayerError where either is missing, cannot be run, may not be (--no-python), or is no layer.
    """
    if python_is_off():
        raise UnsupportedLayerError(
            f"layer '{layer}': its Python module '{module}' is not imported, for --no-python or {NO_PYTHON} is set"
        )
    need_torch()
    places = [place for place in (folder, Path.cwd()) if place is not None]
    announce(f"layer '{layer}'", name, module_place(module, folder) or module)
    with _importing_from(*places):
        try:
            found = importlib.import_module(module)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # whatever the user's module does when it is run
            where = ", ".join(str(place) for place in dict.fromkeys(places))
            raise UnsupportedLayerError(
                f"layer '{layer}': python_param.module '{module}' cannot be imported from {where} or sys.path: "
                f"{told(error)}"
            ) from error
    chosen = getattr(found, name, None)
    if not isinstance(chosen, type) or not issubclass(chosen, UserLayer):
        raise UnsupportedLayerError(
            f"layer '{layer}': python_param.layer '{name}' is no class of module '{module}' that derives from "
            f"caffe.Layer ({getattr(found, '__file__', None) or 'no file'})"
        )
    return chosen


@contextmanager
def _user_code(layer: str, method: Any) -> Iterator[None]:
    """Within this block the user's `method` runs; what it raises, an exit too, comes out as a UserCodeError."""
    try:
        yield
    except (CaffeCompatError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame for frame in frames if frame.filename != __file__] or frames
        ends = isinstance(error, SystemExit)
        what = f"wanted to end the program ({words_of(error)})" if ends else f"raised {told(error)}"
        raise UserCodeError(
            f"layer '{layer}': {method.__qualname__} {what} at {inside[-1].filename}:{inside[-1].lineno}"
        ) from error


class _UserPass(torch.autograd.Function):
    """The user's forward and backward on bottoms, then blobs, as one differentiable operation."""

    @staticmethod
    def forward(ctx: Any, layer: PythonLayer, *tensors: Tensor) -> tuple[Tensor, ...]:
        bottoms = tensors[: layer.bottom_count]
        ctx.layer = layer
        tops = layer.run_forward(bottoms)
        ctx.save_for_backward(*tensors, *tops)
        return tops

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layer: PythonLayer = ctx.layer
        number = layer.bottom_count
        blobs = len(layer.blobs)
        saved = ctx.saved_tensors
        flags = list(ctx.needs_input_grad[1:])
        bottoms, tops = saved[:number], saved[number + blobs :]
        found = layer.run_backward(bottoms, tops, gradients, flags[:number])
        how = (layer.name, "Python"), "runs its user's code on arrays", DIFFERENCES, (*saved, *gradients)
        found = [without_derivative(ctx, each, *how) for each in found]
        return None, *(gradient if flag else None for gradient, flag in zip(found, flags, strict=True))


@register("Python")
class PythonLayer(Layer):
    """A layer whose setup, reshape, forward and backward are the user's.

    A top that has the name of the bottom at its place shares the bottom's data and diff, as in Caffe.
    """

    bottoms = Count(0)
    tops = Count(0)

    @classmethod
    def choose(cls, param: Any, folder: Path | None) -> type[Layer]:
        """A stand-in where the module is not there: one for py-faster-rcnn's, or for data that the user gives."""
        return stand_in(param, folder) or cls

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.python_param
        chosen = user_class(self.name, field.module, field.layer, context.folder)
        with _user_code(self.name, chosen):
            self.user: Any = chosen()
        self.user.param_str = self.user.param_str_ = field.param_str  # the second is its name until 2015
        self.user.phase = PHASES[context.phase]
        self.user.blobs = BlobVector()
        self.bottom_count = len(param.bottom)
        self._bottoms = [NumPyBlob(()) for _ in param.bottom]
        shared = dict(zip(param.bottom, self._bottoms, strict=True))
        self._tops = [
            shared[name] if list(param.bottom[i : i + 1]) == [name] else NumPyBlob(())
            for i, name in enumerate(param.top)
        ]

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self._hold([torch.zeros(shape, device="cpu") for shape in bottom_shapes])  # the user's code wants values
        with _user_code(self.name, self.user.setup):
            self.user.setup(self._bottoms, self._tops)
            values = [torch.from_numpy(np.ascontiguousarray(blob.data, np.float32)) for blob in self.user.blobs]
        for each in values:
            self.blobs.append(nn.Parameter(each))
            self.blob_shapes.append(tuple(each.shape))

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self._hold([torch.zeros(shape, device="cpu") for shape in bottom_shapes])  # the user's code wants values
        with _user_code(self.name, self.user.reshape):
            self.user.reshape(self._bottoms, self._tops)
            return [tuple(top.shape) for top in self._tops]

    def forward(self, *bottoms: Tensor) -> Any:
        need_values(self, "gives arrays to its user's code")
        if not self._tops:
            return self.run_forward(bottoms)
        blobs = [self.blob(i) for i in range(len(self.blobs))]
        tops: tuple[Tensor, ...] = _UserPass.apply(self, *bottoms, *blobs)  # type: ignore[no-untyped-call]
        return tops[0] if len(tops) == 1 else tops

    def run_forward(self, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The user's reshape and forward: fresh tensors, one a top."""
        like = self._place(bottoms)
        for top in self._tops:
            top.cast(like.new_empty(0).cpu().numpy().dtype)
        self._hold(bottoms)
        with _user_code(self.name, self.user.reshape):
            self.user.reshape(self._bottoms, self._tops)
        with _user_code(self.name, self.user.forward):
            self.user.forward(self._bottoms, self._tops)
            return tuple(torch.tensor(top.data, dtype=like.dtype, device=like.device) for top in self._tops)

    def run_backward(
        self,
        bottoms: tuple[Tensor, ...],
        tops: tuple[Tensor, ...],
        gradients: tuple[Tensor, ...],
        propagate_down: list[bool],
    ) -> list[Tensor]:
        """The user's backward: the gradients of the bottoms, then of the blobs."""
        self._hold(bottoms)
        for blob, top, gradient in zip(self._tops, tops, gradients, strict=True):
            blob.hold(top)
            blob.diff = gradient.detach().cpu().numpy().copy(order="C")
        with _user_code(self.name, self.user.backward):
            self.user.backward(self._tops, propagate_down, self._bottoms)
            diffs = [blob.diff for blob in (*self._bottoms, *self.user.blobs)]
            like = self._place(bottoms)
            return [torch.tensor(diff, dtype=like.dtype, device=like.device) for diff in diffs]

    def _hold(self, bottoms: Any) -> None:
        """Show these bottoms and the current values of the blobs to the user's code, which may write on the latter."""
        for blob, values in zip(self._bottoms, bottoms, strict=True):
            blob.hold(values)
        for blob, parameter in zip(self.user.blobs, self.blobs, strict=False):  # none before the end of setup
            blob.data = parameter.detach().cpu().numpy()
            blob.diff = np.zeros_like(blob.data)

    def _place(self, bottoms: tuple[Tensor, ...]) -> Tensor:
        """A tensor whose type and device the tops get."""
        return next(iter((*bottoms, *self.blobs)), torch.empty(0))
