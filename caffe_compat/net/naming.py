"""The layers of a net by name, and what stands for several of one name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from caffe_compat.errors import GraphError
from caffe_compat.layers.base import Layer

_repeats: ContextVar[bool] = ContextVar("repeats", default=False)


@contextmanager
def names_may_repeat() -> Iterator[None]:
    """Within this context, nets may have several layers of one name with blobs, of which the first takes weights.

    So it is in Caffe (net.cpp, CopyTrainedLayersFrom). Whoever makes such a net keeps the blobs of the others.
    """
    token = _repeats.set(True)
    try:
        yield
    finally:
        _repeats.reset(token)


def layers_by_name(layers: Iterable[Layer]) -> dict[str, Layer]:
    """The layer of every name, of several the first with blobs, else the first; GraphError where two have blobs."""
    named: dict[str, Layer] = {}
    for layer in layers:
        first = named.setdefault(layer.name, layer)
        if first is layer or not len(layer.blobs):
            continue
        if not len(first.blobs):
            named[layer.name] = layer
        elif not _repeats.get():
            raise GraphError(f"two layers are named '{layer.name}'; blobs are kept by layer name, so rename one")
    return named
