"""The passes of one iteration: forward and backward over iter_size batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.net.joining import JoinedLayers
from caffe_compat.net.net import Net
from caffe_compat.net.params import LearnableParam
from caffe_compat.solver.debug import passes_explained
from caffe_compat.solver.precision import LossScale, choose_precision, rounding


class Passes:
    """Sums the gradients of iter_size batches of `net` in `precision`; see solver/precision.py.

    spares: whether gradients that are 0 but for rounding, see net/joining.py, may be 0 in the pass of now.
    """

    def __init__(self, net: Net, params: Sequence[LearnableParam], iter_size: int, precision: str = "fp32") -> None:
        self.net, self.params, self.iter_size = net, params, iter_size
        self._precise = choose_precision(net, precision)
        self.tf32 = precision == "tf32"
        self.scale = LossScale(precision)
        self.before_backward: Callable[[Tensor], None] = lambda loss: None
        self.spares: Callable[[], bool] = lambda: False
        self._joined = JoinedLayers(net)
        self._overwritten = _overwritten(net) if iter_size > 1 else []

    def run(
        self, explained: bool = False, values: Sequence[Mapping[str, Tensor]] | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The outputs of the last batch, and the mean loss; the gradients are in the parameters, times the scale.

        explained: log what goes through the layers. values: of each batch, by blob name, instead of the next ones.
        """
        with rounding(self.tf32):
            return self._run(explained, values)

    def _run(self, explained: bool, values: Sequence[Mapping[str, Tensor]] | None) -> tuple[dict[str, Tensor], Tensor]:
        for param in self.params:
            param.tensor.grad = None
        self._joined.spares = self.spares()
        losses: list[Tensor] = []
        for batch in values or [{}] * self.iter_size:
            with passes_explained(self.net) if explained else self._joined:
                with self._precise():
                    outputs, loss = self.net.forward_with_loss(**batch)
                if loss.requires_grad:
                    for tensor in self._overwritten:
                        tensor.grad = None
                    self.before_backward(loss.detach())
                    scaled = loss if self.scale.value == 1 else loss * self.scale.value
                    scaled.backward()  # type: ignore[no-untyped-call]
                    if not explained:
                        for bias in self._joined.moot:
                            bias.grad = torch.zeros_like(bias)
            losses.append(loss.detach())
        return outputs, losses[0] if self.iter_size == 1 else torch.stack(losses).mean()

    def take_gradients(self, chosen: Sequence[int]) -> list[Tensor] | None:
        """The summed gradients of the parameters `chosen` by number; zeros where none arrived, as in Caffe.

        None where one overflowed, which only fp16 does: its loss is then scaled less from the next iteration on.
        """
        tensors = [self.params[index].tensor for index in chosen]
        gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in tensors]
        return gradients if self.scale.remove(gradients) else None


def _overwritten(net: Net) -> list[Tensor]:
    """The parameters of which Caffe keeps the gradient of the last batch alone, see Scale; none for "right"."""
    if net.in_place == "right":
        return []
    scales = [(node, layer) for node, layer in net.steps if isinstance(layer, Scale)]
    return [layer.blobs[0] for node, layer in scales if layer.overwrites_gradient(net._shapes[node.bottoms[0]])]
