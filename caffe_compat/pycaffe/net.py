"""`caffe.Net`: a net with live blobs, as scripts of pycaffe use it (_caffe.cpp, pycaffe.py)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np

from caffe_compat.pycaffe.blob import Blob
from caffe_compat.pycaffe.execution import Execution
from caffe_compat.pycaffe.layer import Layer
from caffe_compat.pycaffe.net_bindings import NetBindings
from caffe_compat.pycaffe.vectors import BlobVec

_NOTHING: dict[str, Any] = {}


class Net(NetBindings):
    """Net(network_file, phase, level=0, stages=None, weights=None), or of old Net(network_file, weights, phase).

    phase: caffe.TRAIN or caffe.TEST. level, stages: what the include and exclude rules of the file ask for.
    RuntimeError for a file that is not there, CheckError for one that Caffe would stop at.
    """

    @cached_property
    def _blobs_by_name(self) -> OrderedDict[str, Blob]:
        return OrderedDict(zip(self._blob_names, self._blobs, strict=True))

    @property
    def blobs(self) -> OrderedDict[str, Blob]:
        """The blobs by name, in the order of the layers that make them, those of Splits included."""
        return self._blobs_by_name

    @cached_property
    def _params_by_name(self) -> OrderedDict[str, BlobVec]:
        pairs = zip(self._layer_names, self.layers, strict=True)
        return OrderedDict((name, layer.blobs) for name, layer in pairs if len(layer.blobs) > 0)

    @property
    def params(self) -> OrderedDict[str, BlobVec]:
        """The learnable blobs of each layer that has any, by its name."""
        return self._params_by_name

    @cached_property
    def _layers_by_name(self) -> OrderedDict[str, Layer]:
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return self._layers_by_name

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of each blob, by its name."""
        return OrderedDict(zip(self._blob_names, self._blob_loss_weights, strict=True))

    @cached_property
    def _input_names(self) -> list[str]:
        return [self._execution.blob_names[number] for number in self._inputs]

    @property
    def inputs(self) -> list[str]:
        """The names of the tops of Input layers, in their order."""
        return self._input_names

    @cached_property
    def _output_names(self) -> list[str]:
        return [self._execution.blob_names[number] for number in self._outputs]

    @property
    def outputs(self) -> list[str]:
        """The names of the blobs that no layer takes, sorted."""
        return self._output_names

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The names of the tops of each layer, by its name."""
        return self._names_by_layer(self._execution.top_ids)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The names of the bottoms of each layer, by its name."""
        return self._names_by_layer(self._execution.bottom_ids)

    def forward(
        self, blobs: Any = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Run the net, or its layers from `start` to `end`; the outputs, or the tops of `end`, and `blobs`: live views.

        blobs: a list of further names. kwargs: an array for every input; what is not given stays as the blobs have it.
        """
        names = list(self._layer_names)
        first = 0 if start is None else names.index(start)
        last = len(names) - 1 if end is None else names.index(end)
        wanted = set((self.outputs if end is None else self.top_names[end]) + (blobs or []))
        if kwargs:
            self._set(kwargs, self.inputs, "Input blob arguments do not match net inputs.", "Input", "data")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self, diffs: Any = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Run backwards, all or from layer `start` down to `end`; the diffs of the inputs, or of the bottoms of `end`.

        diffs: a list of further names. kwargs: the diff of every output; what is not given stays as the blobs have it.
        """
        names = list(self._layer_names)
        first = len(names) - 1 if start is None else names.index(start)
        last = 0 if end is None else names.index(end)
        wanted = set((self.inputs if end is None else self.bottom_names[end]) + (diffs or []))
        if kwargs:
            self._set(kwargs, self.outputs, "Top diff arguments do not match net outputs.", "Diff", "diff")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def forward_all(self, blobs: Any = None, **kwargs: Any) -> dict[str, Any]:
        """`forward` in batches over arrays of any length, the last one filled up with zeros; copies."""
        found: dict[str, Any] = {name: [] for name in set(self.outputs + (blobs or []))}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                found[name].extend(values.copy())
        found = {name: np.asarray(values) for name, values in found.items()}
        surplus = len(next(iter(found.values()))) - len(next(iter(kwargs.values())))
        return {name: values[:-surplus] for name, values in found.items()} if surplus else found

    def forward_backward_all(
        self, blobs: Any = None, diffs: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """`forward` and `backward` in batches; outputs and diffs. As in pycaffe, surplus diffs stay untrimmed lists."""
        outputs: dict[str, Any] = {name: [] for name in set(self.outputs + (blobs or []))}
        gradients: dict[str, Any] = {name: [] for name in set(self.inputs + (diffs or []))}
        forward = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        backward = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        for given, given_diffs in zip_longest(forward, backward, fillvalue=_NOTHING):
            found = self.forward(blobs=blobs, **given)
            found_diffs = self.backward(diffs=diffs, **given_diffs)
            for target, source in ((outputs, found), (gradients, found_diffs)):
                for name, values in source.items():
                    target[name].extend(values.copy())
        pairs = list(zip(outputs, gradients, strict=False))
        for output, gradient in pairs:
            outputs[output], gradients[gradient] = np.asarray(outputs[output]), np.asarray(gradients[gradient])
        surplus = len(next(iter(outputs.values()))) - len(next(iter(kwargs.values())))
        if surplus:
            for output, gradient in pairs:
                outputs[output], gradients[gradient] = outputs[output][:-surplus], gradients[gradient][:-surplus]
        return outputs, gradients

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """The arrays of a MemoryData layer, which stay the script's: float32, (n, channels, height, width) and (n,)."""
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        self._set_input_arrays(data, labels)

    def _batch(self, blobs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Parts of the length of the first blob's batch; the last one with zeros behind."""
        count, size = len(next(iter(blobs.values()))), next(iter(self.blobs.values())).shape[0]
        for start in range(0, count - count % size, size):
            yield {name: blobs[name][start : start + size] for name in blobs}
        rest = count % size
        if rest:
            yield {
                name: np.concatenate([blobs[name][-rest:], np.zeros((size - rest, *blobs[name].shape[1:]))])
                for name in blobs
            }

    def _set(self, given: Mapping[str, Any], names: list[str], mismatch: str, word: str, part: str) -> None:
        if set(given) != set(names):
            raise Exception(mismatch)
        for name, values in given.items():
            if values.shape[0] != self.blobs[name].shape[0]:
                raise Exception(f"{word} is not batch sized")
            getattr(self.blobs[name], part)[...] = values

    def _names_by_layer(self, numbers: list[list[int]]) -> OrderedDict[str, list[str]]:
        names = self._execution.blob_names
        return OrderedDict(
            (layer, [names[i] for i in ids]) for layer, ids in zip(self._layer_names, numbers, strict=True)
        )


def view(execution: Execution) -> Net:
    """A new Net object on a net that is there."""
    net = Net.__new__(Net)
    net._execution = execution
    return net
