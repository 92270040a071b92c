"""Layers that share work while a solver trains: BatchNorm computes its Scale too, ReLU writes on its bottom.

Where compiled loops do it, BatchNorm computes all that net/chains.py finds behind it.

A BatchNorm by its batch's own statistics takes off again what the bias of a Convolution before it adds: the derivative
by that bias is 0, and what Caffe computes for it rounding. Where nobody reads it, it is left out.

The program of the net stays as it is, layer for layer; only blobs in between hold other values than Caffe's for as long
as layers are joined. So this is for passes in which nobody looks at them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import Tensor

from caffe_compat import kernels
from caffe_compat.graph.graph import Blob, Node
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.convolution import Convolution
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.net.chains import ChainFinder
from caffe_compat.net.net import Net
from caffe_compat.net.unshared import unshared_gradients

# types whose gradient does not need their top, which the next layer may therefore overwrite
_FORGETFUL = {"BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "Pooling", "Scale"}


class JoinedLayers:
    """Within this context, the layers of `net` that can are joined.

    pairs: each BatchNorm and the Scale that it then computes too. rectifiers: the ReLUs that write on their bottom.
    Those of `overwriters` write on the gradient of their top too, unless a layer has hooks, which may keep it.
    spares: whether gradients of biases that BatchNorm takes off, those of the Convolutions `biased`, are left out.
    chains: the BatchNorms that compute more, where loops run and no layer has hooks.
    """

    spares = False

    def __init__(self, net: Net) -> None:
        self.pairs: list[tuple[BatchNorm, Scale]] = []
        self.rectifiers: list[ReLU] = []
        self.overwriters: list[ReLU] = []
        self.biased: list[Convolution] = []
        self._net = net
        self._readers = Counter(bottom for node in net.graph.nodes for bottom in node.bottoms)
        self._unshared = frozenset() if net.hazards.touched else unshared_gradients(net.steps)
        makers: dict[Blob, tuple[Node, Layer]] = {}
        for number, (node, layer) in enumerate(net.steps):
            if len(node.bottoms) == 1 and node.bottoms[0] in makers and number not in net.hazards.touched:
                self._join(*makers[node.bottoms[0]], node, layer)
            makers.update({top: (node, layer) for top in node.tops})
        self.chains = ChainFinder(net, self._unshared).chains()

    def __enter__(self) -> None:
        for batch_norm, scale in self.pairs:  # by vars(), for to set a Module's attribute takes 20 times as long
            vars(batch_norm)["scales"], vars(scale)["is_done"] = (scale,), True
        for relu in self.rectifiers:
            vars(relu)["overwrites"] = True
        is_watched = self._is_watched()
        for relu in () if is_watched else self.overwriters:
            vars(relu)["overwrites_gradient"] = True
        for chain in self.chains if not is_watched and self._has_loops() else ():
            chain.join()
        for convolution in self.biased if self.spares else ():
            vars(convolution)["bias_is_moot"] = True

    def __exit__(self, *error: Any) -> None:
        for batch_norm, scale in self.pairs:
            vars(batch_norm)["scales"], vars(scale)["is_done"] = (), False
        for relu in self.rectifiers:
            vars(relu)["overwrites"] = vars(relu)["overwrites_gradient"] = False
        for chain in self.chains:
            chain.part()
        for convolution in self.biased:
            vars(convolution)["bias_is_moot"] = False

    @property
    def moot(self) -> list[Tensor]:
        """The biases that get no gradient in a pass of now, whose derivative by each is 0."""
        return [convolution.blobs[1] for convolution in self.biased] if self.spares else []

    def _is_watched(self) -> bool:
        return any(layer._forward_hooks or layer._forward_pre_hooks for layer in self._net._sequence)

    def _has_loops(self) -> bool:
        blob = self.chains[0].batch_norm.blobs[0] if self.chains else None
        return blob is not None and blob.device.type == "cpu" and kernels.loops("batch_norm") is not None

    def _join(self, maker: Node, below: Layer, node: Node, layer: Layer) -> None:
        if any(maker.param.loss_weight):
            return
        if type(below) is BatchNorm and isinstance(layer, Scale) and layer.is_for_channels:
            if all(node.propagate_down):  # else its blobs have gradients and its bottom none
                self.pairs.append((below, layer))
        elif isinstance(layer, ReLU) and node.bottoms[0].name == node.tops[0].name and below.param.type in _FORGETFUL:
            self.rectifiers.append(layer)
            if node.tops[0] in self._unshared:
                self.overwriters.append(layer)
        elif type(layer) is BatchNorm and type(below) is Convolution and self._takes_bias_off(maker, below, layer):
            self.biased.append(below)

    def _takes_bias_off(self, maker: Node, below: Convolution, layer: BatchNorm) -> bool:
        """Whether the statistics are of the bottom, and nothing else reads it or has the bias."""
        if layer.use_global_stats or len(below.blobs) < 2 or len(maker.tops) > 1 or below.axis != 1:
            return False
        users = [param.users for param in self._net.learnable_params if param.tensor is below.blobs[1]]
        return self._readers[maker.tops[0]] == 1 and len(users) == 1 and len(users[0]) == 1
