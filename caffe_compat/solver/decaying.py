"""Weight decay of every parameter: its kind, its strength, and with decay_proto a factor for each weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.net.net import Net
from caffe_compat.net.params import param_specs
from caffe_compat.proto.binary import read_blob
from caffe_compat.proto.files import find_file
from caffe_compat.solver.regularizers.registry import regularizer
from caffe_compat.solver.words import one_of

REGULARIZATION_TYPES = ("L2", "L1")


class Decay:
    """strengths: weight_decay * decay_mult of every parameter, in Caffe's order.

    regularization_type of a param comes before the solver's (SSL's fork), wherever it is given.
    """

    def __init__(self, net: Net, kind: str, weight_decay: float) -> None:
        params = net.learnable_params
        self.strengths = [weight_decay * param.decay_mult for param in params]
        specs = [param_specs(net.layers[param.layer])[param.users[0][1]] for param in params]
        for param, spec in zip(params, specs, strict=True):
            if spec.regularization_type:
                one_of(f"layer '{param.layer}': regularization_type", spec.regularization_type, REGULARIZATION_TYPES)
        self._kinds = [spec.regularization_type or kind for spec in specs]
        self._factors = {
            index: _factor(net, index, spec.decay_proto) for index, spec in enumerate(specs) if spec.decay_proto
        }
        plain = [0.0 if index in self._factors else strength for index, strength in enumerate(self.strengths)]
        self._by_kind = {
            word: [strength if own == word else 0.0 for own, strength in zip(self._kinds, plain, strict=True)]
            for word in dict.fromkeys([kind, *self._kinds])
        }

    def __call__(self, weights: list[Tensor], gradients: list[Tensor], moving: Sequence[int]) -> None:
        """Add the decay to the gradients, in place; moving: the numbers of the parameters that these are."""
        for kind, strengths in self._by_kind.items():
            regularizer(kind)(weights, gradients, [strengths[index] for index in moving])
        for place, index in enumerate(moving) if self._factors else ():
            if index in self._factors:
                pull = weights[place] if self._kinds[index] == "L2" else weights[place].sign()
                factor = self._factors[index].to(pull)
                gradients[place].add_(pull * factor, alpha=self.strengths[index])

    def is_even(self, index: int) -> bool:
        """Whether the decay of parameter `index` has one strength for all its weights."""
        return index not in self._factors

    def penalty(self, weights: list[Tensor]) -> float:
        """sum strength |w|^2 / 2 (L2) or strength |w| (L1), of the weights of all parameters."""
        total = 0.0
        for index, weight in enumerate(weights):
            each = weight.double().square() / 2 if self._kinds[index] == "L2" else weight.double().abs()
            if index in self._factors:
                each = each * self._factors[index].to(each)
            total += self.strengths[index] * float(each.sum())
        return total


def _factor(net: Net, index: int, name: str) -> Tensor:
    param = net.learnable_params[index]
    where = f"layer '{param.layer}': decay_proto"
    try:
        values = torch.from_numpy(read_blob(find_file(name, net.folder, named_by=where)))
    except CaffeCompatError as error:
        raise SolverError(f"{where} '{name}': {error}") from None
    shape = tuple(param.tensor.shape)
    if values.numel() != param.tensor.numel():
        raise SolverError(f"{where} '{name}' has the shape {tuple(values.shape)}, the weights {shape}; make them equal")
    return values.reshape(shape)
