"""Which layers of a net are computed as one: BatchNorm, Scale, the sum of two blobs, and the ReLU behind."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from caffe_compat.graph.graph import Blob, Node
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.caffe.batch_norm_chain import Chain
from caffe_compat.layers.caffe.batch_norm_loops import Rule
from caffe_compat.layers.caffe.convolution import Convolution, Deconvolution
from caffe_compat.layers.caffe.eltwise import Eltwise
from caffe_compat.layers.caffe.eltwise_loops import RectifiedSum
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.layers.caffe.split import Split
from caffe_compat.net.net import Net

Step = tuple[Node, Any]


class ChainFinder:
    """Finds the chains of `net`. unshared: the blobs whose gradient nobody else holds, see net/unshared.py.

    A layer belongs to a chain if it alone reads the top of the one before, gives it a gradient, and computes with
    nothing that lies in memory by accident. Splits are layers, so a blob has one reader, or none.
    """

    def __init__(self, net: Net, unshared: Container[Blob]) -> None:
        self._unshared = unshared
        hazards = net.hazards.touched
        steps = list(net.steps)
        self._plain = {
            id(layer)
            for number, (node, layer) in enumerate(steps)
            if number not in hazards and all(node.propagate_down)
        }
        self._steps = steps
        self._readers = {bottom: step for step in steps for bottom in step[0].bottoms}
        self._makers = {top: step for step in steps for top in step[0].tops}
        self._summed: set[int] = set()

    def chains(self) -> list[Chain | RectifiedSum]:
        """All of them; of two in one sum, the later has it."""
        found = [self._chain(*step) for step in reversed(self._steps) if self._is_start(*step)]
        sums = [
            self._rectified_sum(*step) for step in self._steps if id(step[1]) in self._plain and self._is_sum(*step)
        ]
        return [*found[::-1], *(each for each in sums if each is not None)]

    def splits(self) -> list[tuple[Split, frozenset[int]]]:
        """Each Split that several Convolutions read, and the tops of all of these but the first."""
        splits = [(layer, self._convolved(node)) for node, layer in self._steps if type(layer) is Split]
        return [(layer, frozenset(tops[1:])) for layer, tops in splits if id(layer) in self._plain and len(tops) > 1]

    def _convolved(self, node: Node) -> list[int]:
        """The numbers of the tops that Convolutions read."""
        readers = [self._readers.get(top, (None, None))[1] for top in node.tops]
        return [top for top, reader in enumerate(readers) if type(reader) is Convolution and id(reader) in self._plain]

    def _rectified_sum(self, node: Node, layer: Any) -> RectifiedSum | None:
        step = self._behind(node)
        if step is None or not _is_relu(step[1]):
            return None
        return RectifiedSum(layer, step[1], step[0].tops[0] in self._unshared)

    def _is_start(self, node: Node, layer: Any) -> bool:
        return type(layer) is BatchNorm and not layer.use_global_stats and id(layer) in self._plain

    def _chain(self, node: Node, layer: Any) -> Chain:
        last = node
        step = self._behind(last)
        if step is not None and isinstance(step[1], Scale) and step[1].is_for_channels:
            last, step = step[0], self._behind(step[0])
        eltwise, place = None, 0
        if step is not None and self._is_sum(*step):
            self._summed.add(id(step[1]))
            eltwise, place = step[1], step[0].bottoms.index(last.tops[0])
            last, step = step[0], self._behind(step[0])
        relu = None
        if step is not None and _is_relu(step[1]):
            last, relu = step[0], step[1]
        rule = Rule(relu is not None, self._is_for_it_alone(node.bottoms[0]), last.tops[0] in self._unshared)
        return Chain(layer, eltwise, place, relu, rule)

    def _behind(self, node: Node) -> Step | None:
        """The layer that may belong to the chain behind this one."""
        step = None if any(node.param.loss_weight) else self._readers.get(node.tops[0])
        return step if step is not None and id(step[1]) in self._plain else None

    def _is_sum(self, node: Node, layer: Any) -> bool:
        if type(layer) is not Eltwise or layer.operation != "SUM" or id(layer) in self._summed:
            return False
        return len(set(node.bottoms)) == len(node.bottoms) == 2 and set(layer.coefficients) <= {1.0}

    def _is_for_it_alone(self, bottom: Blob) -> bool:
        """Whether the memory of a bottom is needed by nobody else; its one reader is the BatchNorm."""
        node, layer = self._makers.get(bottom, (None, None))
        return type(layer) in (Convolution, Deconvolution) and node is not None and not any(node.param.loss_weight)


def _is_relu(layer: Any) -> bool:
    return type(layer) is ReLU and layer.negative_slope == 0
