"""Layers that share work while a solver trains: BatchNorm computes its Scale too, ReLU writes on its bottom.

The program of the net stays as it is, layer for layer; only blobs in between hold other values than Caffe's for as long
as layers are joined. So this is for passes in which nobody looks at them.
"""

from __future__ import annotations

from typing import Any

from caffe_compat.graph.graph import Blob, Node
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.net.net import Net

# types whose gradient does not need their top, which the next layer may therefore overwrite
_FORGETFUL = {"BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "Pooling", "Scale"}


class JoinedLayers:
    """Within this context, the layers of `net` that can are joined.

    pairs: each BatchNorm and the Scale that it then computes too. rectifiers: the ReLUs that write on their bottom.
    """

    def __init__(self, net: Net) -> None:
        self.pairs: list[tuple[BatchNorm, Scale]] = []
        self.rectifiers: list[ReLU] = []
        makers: dict[Blob, tuple[Node, Layer]] = {}
        for number, (node, layer) in enumerate(net.steps):
            if len(node.bottoms) == 1 and node.bottoms[0] in makers and number not in net.hazards.touched:
                self._join(*makers[node.bottoms[0]], node, layer)
            makers.update({top: (node, layer) for top in node.tops})

    def __enter__(self) -> None:
        for batch_norm, scale in self.pairs:  # by vars(), for to set a Module's attribute takes 20 times as long
            vars(batch_norm)["scales"], vars(scale)["is_done"] = (scale,), True
        for relu in self.rectifiers:
            vars(relu)["overwrites"] = True

    def __exit__(self, *error: Any) -> None:
        for batch_norm, scale in self.pairs:
            vars(batch_norm)["scales"], vars(scale)["is_done"] = (), False
        for relu in self.rectifiers:
            vars(relu)["overwrites"] = False

    def _join(self, maker: Node, below: Layer, node: Node, layer: Layer) -> None:
        if any(maker.param.loss_weight):
            return
        if type(below) is BatchNorm and isinstance(layer, Scale) and layer.is_for_channels:
            self.pairs.append((below, layer))
        elif isinstance(layer, ReLU) and node.bottoms[0].name == node.tops[0].name and below.param.type in _FORGETFUL:
            self.rectifiers.append(layer)
