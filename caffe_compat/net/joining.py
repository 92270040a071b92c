"""Layers that share work while a solver trains: BatchNorm computes its Scale too, MAX and AVE pooling a ReLU beside
them where compiled loops pool, and other ReLUs write on their bottoms.

Where compiled loops do it, BatchNorm and a sum compute all that net/chains.py finds behind them.

A BatchNorm by its batch's own statistics takes off again what the bias of a Convolution before it adds: the derivative
by that bias is 0, and what Caffe computes for it rounding. Where nobody reads it, it is left out.

The program of the net stays as it is, layer for layer; only blobs in between hold other values than Caffe's for as long
as layers are joined. So this is for passes in which nobody looks at them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module

from caffe_compat import kernels
from caffe_compat.graph.graph import Blob, Node
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.convolution import Convolution
from caffe_compat.layers.caffe.pooling import Pooling
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.net.chains import ChainFinder
from caffe_compat.net.net import Net
from caffe_compat.net.unshared import unshared_gradients

# types whose gradient does not need their top, which the next layer may therefore overwrite
_FORGETFUL = {"BatchNorm", "Convolution", "Deconvolution", "Eltwise", "InnerProduct", "Pooling", "Scale"}


class JoinedLayers:
    """Within this context, the layers of `net` that can are joined.

    pairs: each BatchNorm and the Scale that it then computes too. pools: each Pooling, the ReLU that it then computes
    too, and whether that comes "before" or "behind". rectifiers: the ReLUs that write on their bottom. Those of
    `overwriters` write on the gradient of their top too. The last and `pools` are left unless no layer has hooks, which
    may keep what they see; a pair where one sees what lies between, and all where backward passes have hooks, which
    keep gradients and let nothing be written on.
    spares: whether gradients of biases that BatchNorm takes off, those of the Convolutions `biased`, are left out.
    chains: the BatchNorms and sums that compute more, where loops run and no layer has hooks. splits: the Splits of
    their tops, and which of theirs hand gradients to them.
    """

    spares = False

    def __init__(self, net: Net) -> None:
        self.pairs: list[tuple[BatchNorm, Scale]] = []
        self.pools: list[tuple[Pooling, ReLU, str]] = []
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
        finder = ChainFinder(net, self._unshared)
        self.chains, self.splits = finder.chains(), finder.splits()
        rectified = [chain.relu for chain in self.chains]
        self.pools = [each for each in self.pools if not any(each[1] is relu for relu in rectified)]

    def __enter__(self) -> None:
        has_backward_hooks = self._has_backward_hooks()
        is_watched = has_backward_hooks or self._is_watched()
        for batch_norm, scale in () if has_backward_hooks else self.pairs:
            if not (is_watched and _is_seen_between(batch_norm, scale)):
                # by vars(), for to set a Module's attribute takes 20 times as long
                vars(batch_norm)["scales"], vars(scale)["is_done"] = (scale,), True
        for relu in () if has_backward_hooks else self.rectifiers:
            vars(relu)["overwrites"] = True
        for relu in () if is_watched else self.overwriters:
            vars(relu)["overwrites_gradient"] = True
        for chain in self.chains if self.chains and not is_watched and self._has_loops("batch_norm") else ():
            chain.join()
        for split, tops in () if is_watched else self.splits:
            vars(split)["asides"] = tops
        for pooling, relu, place in self.pools if self.pools and not is_watched and self._has_loops("pooling") else ():
            vars(pooling)["rectified"], vars(relu)["is_done"] = place, True
        for convolution in self.biased if self.spares else ():
            vars(convolution)["bias_is_moot"] = True

    def __exit__(self, *error: Any) -> None:
        for batch_norm, scale in self.pairs:
            vars(batch_norm)["scales"], vars(scale)["is_done"] = (), False
        for relu in self.rectifiers:
            vars(relu)["overwrites"] = vars(relu)["overwrites_gradient"] = False
        for chain in self.chains:
            chain.part()
        for split, _ in self.splits:
            vars(split)["asides"] = frozenset()
        for pooling, relu, _ in self.pools:
            vars(pooling)["rectified"], vars(relu)["is_done"] = "no", False
        for convolution in self.biased:
            vars(convolution)["bias_is_moot"] = False

    @property
    def moot(self) -> list[Tensor]:
        """The biases that get no gradient in a pass of now, whose derivative by each is 0."""
        return [convolution.blobs[1] for convolution in self.biased] if self.spares else []

    def _has_loops(self, name: str) -> bool:
        """Whether the compiled loops `name` take what the net computes, as far as its weights tell."""
        weights = [param.tensor for param in self._net.learnable_params[:1]]
        is_fit = all(weight.device.type == "cpu" and weight.dtype == torch.float32 for weight in weights)
        return is_fit and kernels.loops(name) is not None

    def _is_watched(self) -> bool:
        if module._global_forward_hooks or module._global_forward_pre_hooks:
            return True
        return any(layer._forward_hooks or layer._forward_pre_hooks for layer in self._net._sequence)

    def _has_backward_hooks(self) -> bool:
        if module._global_backward_hooks or module._global_backward_pre_hooks:
            return True
        return any(layer._backward_hooks or layer._backward_pre_hooks for layer in self._net._sequence)

    def _join(self, maker: Node, below: Layer, node: Node, layer: Layer) -> None:
        if any(maker.param.loss_weight):
            return
        pair = _pooling_and_relu(below, layer)
        taken = [each for joined in self.pools for each in joined[:2]]
        is_free = pair is not None and not any(each is one for one in taken for each in pair)
        if pair and is_free and self._readers[node.bottoms[0]] == 1 and not any(node.param.loss_weight):
            self.pools.append(pair)
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


def _is_seen_between(first: Layer, second: Layer) -> bool:
    """Whether a hook sees what `first` hands to `second`; one that says of itself that it `converts` only does not."""
    if first._forward_hooks or module._global_forward_hooks or module._global_forward_pre_hooks:
        return True
    return any(not getattr(hook, "converts", False) for hook in second._forward_pre_hooks.values())


def _pooling_and_relu(first: Layer, second: Layer) -> tuple[Pooling, ReLU, str] | None:
    """A Pooling and the ReLU that it may compute too, and on which side that lies; None for other layers."""
    if type(first) is ReLU and type(second) is Pooling and second.pool in ("MAX", "AVE"):
        pooling, relu, place = second, first, "before"
    elif type(first) is Pooling and type(second) is ReLU and first.pool == "MAX":
        pooling, relu, place = first, second, "behind"
    else:
        return None
    return (pooling, relu, place) if relu.negative_slope == 0 and not pooling.mask else None
