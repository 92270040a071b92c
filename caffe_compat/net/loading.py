"""Files of trained weights into a net, and a word where they do not belong to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

from caffe_compat.errors import CaffeCompatError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_weights

logger = logging.getLogger(__name__)

_SHOWN = 3  # names of each side that a message gives


def load_files(net: Net, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Copy the weights of each file in by layer name, file after file, as Caffe's CopyTrainedLayersFrom.

    A file may have weights for only a part of the layers: those that got none from any file are named in one warning.
    Raises WeightsError where a file has none for any layer, which Caffe passes over in silence, or where a layer's do
    not fit.
    """
    missing = {name for name, layer in net.layers.items() if len(layer.blobs)}
    for path in paths:
        missing &= _missing_after(net, path)
    if missing and paths:
        files = ", ".join(os.fspath(path) for path in paths)
        names = ", ".join(f"'{name}'" for name in net.layers if name in missing)
        logger.warning("No weights in %s for %s; kept as initialised", files, names)


def _missing_after(net: Net, path: str | os.PathLike[str]) -> frozenset[str]:
    """Load the file at `path`; the names of the layers with blobs that it has no weights for."""
    try:
        weights = read_weights(path, net.param)
        wanted = [name for name, layer in net.layers.items() if len(layer.blobs)]
        if wanted and not any(name in weights for name in wanted):
            raise WeightsError(
                f"{path}: has no weights for any layer of net '{net.graph.name}': it has {_some(weights)}, "
                f"the net {_some(wanted)}; give the weights of this net, or name its layers as the file does"
            )
        return frozenset(net.load_weights(weights).missing)
    except CaffeCompatError as error:
        raise type(error)(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None


def _some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN]) or "none"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
