"""What pycaffe's Net has from C++: layers and blobs by number, files, callbacks (_caffe.cpp)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe_compat.pycaffe import loading
from caffe_compat.pycaffe.bindings import ArgumentError, Bound, check, refuse_types, text, whole
from caffe_compat.pycaffe.execution import Execution
from caffe_compat.pycaffe.layer import anew
from caffe_compat.pycaffe.sources import MemoryStep
from caffe_compat.pycaffe.vectors import BlobVec, DtypeVec, IntVec, LayerVec, StringVec


class NetBindings(Bound):
    """What pycaffe's Net has from C++: numbers of layers and blobs where `Net` has names."""

    _execution: Execution

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = (
            _legacy(args)
            if len(args) == 3 and not kwargs and isinstance(args[1], (str, bytes))
            else _named(args, kwargs)
        )
        path, phase, level, stages, weights = given
        for file in (path, weights):
            if file is not None:
                loading.check_file(file)
        self._execution = loading.build(path, phase, level, stages, weights)

    def __getattr__(self, name: str) -> Any:
        if name == "_execution":
            refuse_types(f"{type(self).__name__}", "caffe::Net<float> {lvalue}", self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def layers(self) -> LayerVec:
        return LayerVec(self._execution.layers, anew)

    @property
    def _blobs(self) -> BlobVec:
        return BlobVec(self._execution.blobs)

    @property
    def _blob_names(self) -> StringVec:
        return StringVec(self._execution.blob_names)

    @property
    def _layer_names(self) -> StringVec:
        return StringVec(step.name for step in self._execution.steps)

    @property
    def _inputs(self) -> IntVec:
        return IntVec(self._execution.inputs)

    @property
    def _outputs(self) -> IntVec:
        return IntVec(self._execution.outputs)

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        return DtypeVec(self._execution.loss_weights)

    def _bottom_ids(self, number: int) -> IntVec:
        return self._ids(self._execution.bottom_ids, whole("_bottom_ids", number))

    def _top_ids(self, number: int) -> IntVec:
        return self._ids(self._execution.top_ids, whole("_top_ids", number))

    @staticmethod
    def _ids(ids: list[list[int]], number: int) -> IntVec:
        check(number >= 0, f"i >= 0 ({number} vs. 0)", "Invalid layer id")
        check(number < len(ids), f"i < ids.size() ({number} vs. {len(ids)})", "Invalid layer id")
        return IntVec(ids[number])

    def _forward(self, start: int, end: int) -> float:
        """Run layers by number, both ends included; the weighted sum of the losses on the way."""
        return self._execution.forward(whole("_forward", start), whole("_forward", end))

    def _backward(self, start: int, end: int) -> None:
        self._execution.backward(whole("_backward", start), whole("_backward", end))

    def _set_input_arrays(self, data: Any, labels: Any) -> None:
        first = self._execution.steps[0] if self._execution.steps else None
        if not isinstance(first, MemoryStep):
            raise RuntimeError("set_input_arrays may only be called if the first layer is a MemoryDataLayer")
        first.set_arrays(data, labels)

    def reshape(self) -> None:
        """Give every blob the shape that follows from the inputs; a forward pass does it too."""
        self._execution.reshape()

    def clear_param_diffs(self) -> None:
        """Set the diffs of the learnable blobs to 0: backward adds to them."""
        self._execution.clear_param_diffs()

    def copy_from(self, path: str) -> None:
        """Copy the weights of a .caffemodel or HDF5 file in by layer name; CheckError where a layer's do not fit."""
        loading.copy_from(self._execution, text("copy_from", path))

    def share_with(self, other: NetBindings) -> None:
        """Use the data of the learnable blobs of the layers of the same names in `other`."""
        if not isinstance(other, NetBindings):
            refuse_types("share_with", "caffe::Net<float> const*", self, other)
        self._execution.share_with(other._execution)

    def save(self, path: str) -> None:
        """Write the layers, as they were instantiated, and their blobs as a .caffemodel."""
        loading.save(self._execution, text("save", path))

    def save_hdf5(self, path: str) -> None:
        """Write the blobs as HDF5."""
        loading.save_hdf5(self._execution, text("save_hdf5", path))

    def load_hdf5(self, path: str) -> None:
        """Copy the weights of an HDF5 file in."""
        loading.load_hdf5(self._execution, text("load_hdf5", path))

    def before_forward(self, run: Callable[[int], Any]) -> None:
        """Call run(number of the layer) before each layer's forward pass."""
        self._execution.hooks["before_forward"].append(run)

    def after_forward(self, run: Callable[[int], Any]) -> None:
        """Call run(number of the layer) after each layer's forward pass."""
        self._execution.hooks["after_forward"].append(run)

    def before_backward(self, run: Callable[[int], Any]) -> None:
        """Call run(number of the layer) before each layer's backward pass."""
        self._execution.hooks["before_backward"].append(run)

    def after_backward(self, run: Any) -> None:
        """Call run(number of the layer) after each layer's backward pass; an NCCL is taken, and does nothing."""
        if type(run).__name__ != "NCCL":
            self._execution.hooks["after_backward"].append(run)


_PARAMETERS = ("network_file", "phase", "level", "stages", "weights")
Given = tuple[str, int, int, list[str], str | None]


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
    """The arguments of Net(network_file, phase, level, stages, weights); ArgumentError where they are others."""
    given = dict(zip(_PARAMETERS, args, strict=False))
    if len(args) > len(_PARAMETERS) or given.keys() & kwargs.keys() or kwargs.keys() - set(_PARAMETERS):
        refuse_types("Net.__init__", ", ".join(_PARAMETERS), *args, *kwargs.values())
    given |= kwargs
    if not {"network_file", "phase"} <= given.keys():
        raise ArgumentError(f"Net takes network_file and phase; found {', '.join(given) or 'nothing'}")
    stages, weights = given.get("stages"), given.get("weights")
    return (
        text("Net.__init__", given["network_file"]),
        whole("Net.__init__", given["phase"]),
        whole("Net.__init__", given.get("level", 0)),
        [text("Net.__init__", stages[index]) for index in range(len(stages))] if stages is not None else [],
        None if weights is None else text("Net.__init__", weights),
    )


def _legacy(args: tuple[Any, ...]) -> Given:
    """The arguments of Net(network_file, weights, phase)."""
    return text("Net.__init__", args[0]), whole("Net.__init__", args[2]), 0, [], text("Net.__init__", args[1])
