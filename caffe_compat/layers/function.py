"""Operations with a gradient of their own, as torch.autograd.Function has them, that torch.func takes too."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.looped import is_mapped, is_transformed

FORWARD = "take them by torch.func.jvp of torch.func.grad"
DIFFERENCES = "take differences of its gradients"


class Function(torch.autograd.Function):
    """forward(ctx, *inputs) and backward(ctx, *gradients), of which only `inputs` may be known to autograd.

    Under a transform of torch.func what `forward` keeps is made anew from the inputs when it is needed, so that it is
    part of what is differentiated; gradients are the same. Everywhere else it is torch's own class, where what
    `forward` keeps beside inputs and outputs is a constant: `backward` makes it anew if `is_differentiated`.
    """

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """The outputs of `forward`."""
        if is_transformed():
            return _transformed(cls).apply(_Notes(()), *inputs)  # type: ignore[no-untyped-call]
        return super().apply(*inputs)  # type: ignore[no-untyped-call]


class _Notes:
    """Takes the place of ctx: what `forward` says of its inputs and outputs."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Tensor | None, ...] = ()
        self.constant: tuple[int, ...] = ()  # places of outputs
        self.is_pushed = False  # whether `backward` is differentiated for the sake of its transpose alone
        self._marked: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep them."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Have no gradient go through these."""
        self._marked = outputs

    def see(self, outputs: Any) -> None:
        """Note the places of the outputs that were marked."""
        marked = [id(each) for each in self._marked]
        self.constant = tuple(place for place, each in enumerate(_as_tuple(outputs)) if id(each) in marked)
        self._marked = self.saved_tensors = ()


@functools.cache
def _transformed(function: Any) -> Any:
    """`function` in the form that torch.func asks for, with an argument before the others, a _Notes."""

    def forward(notes: _Notes, *inputs: Any) -> Any:
        outputs = function.forward(notes, *inputs)
        notes.see(outputs)
        return outputs

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        notes, *given = inputs
        is_tensor = [isinstance(each, Tensor) for each in given]
        tensors = [each for each in given if isinstance(each, Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.others = [None if is_one else each for each, is_one in zip(given, is_tensor, strict=True)]
        ctx.is_tensor, ctx.constant = is_tensor, notes.constant
        ctx.mark_non_differentiable(*(_as_tuple(output)[place] for place in notes.constant))

    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        notes = _Notes(tuple(ctx.needs_input_grad[1:]))
        function.forward(notes, *_inputs(ctx))
        return None, *_as_tuple(function.backward(notes, *gradients))

    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Any:
        return _push(function, ctx, tangents)

    methods: dict[str, Any] = {"forward": forward, "setup_context": setup_context, "backward": backward, "jvp": jvp}
    of: dict[str, Any] = {name: staticmethod(method) for name, method in methods.items()}
    return type(function.__name__, (torch.autograd.Function,), {"generate_vmap_rule": True, **of})


def _inputs(ctx: Any) -> list[Any]:
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if flag else other for flag, other in zip(ctx.is_tensor, ctx.others, strict=True)]


def _push(function: Any, ctx: Any, tangents: tuple[Tensor | None, ...]) -> Any:
    """From the tangents of all inputs to those of all outputs: `backward` is linear, and this is its transpose."""
    notes, inputs = _Notes((True,) * len(tangents)), _inputs(ctx)
    found = function.forward(notes, *inputs)
    notes.is_pushed = True
    chosen = [place for place, tangent in enumerate(tangents) if tangent is not None]

    def pulled(*gradients: Tensor) -> tuple[Tensor, ...]:
        back = _as_tuple(function.backward(notes, *gradients))
        return tuple(torch.zeros_like(inputs[place]) if back[place] is None else back[place] for place in chosen)

    push: Any = torch.func.vjp(pulled, *map(torch.zeros_like, _as_tuple(found)))[1]
    made = push(tuple(tangents[place] for place in chosen))
    pushed = tuple(None if place in ctx.constant else each for place, each in enumerate(made))
    return pushed if isinstance(found, tuple) else pushed[0]


def _as_tuple(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, tuple) else (made,)


def is_differentiated(ctx: Any) -> bool:
    """Whether `backward` must make anew what depends on inputs, for autograd may differentiate what it gives.

    Under torch.func it has been made anew, and torch.compile has no second derivatives.
    """
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and not isinstance(ctx, _Notes)


class _Shadow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)  # nothing comes back in a first backward pass
        return x.new_zeros(()).expand(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def shadow(x: Tensor) -> Tensor | None:
    """Zeros in the shape of `x`, in the memory of one, whose gradient is that of `x`.

    A `backward` that `is_differentiated` makes anew with them, of what it has kept, what depends on `x`, so that `x`
    itself need not be kept for second derivatives alone. None where it never is.
    """
    if torch.compiler.is_compiling() or is_transformed() or not (torch.is_grad_enabled() and x.requires_grad):
        return None
    zeros: Tensor = _Shadow.apply(x)  # type: ignore[no-untyped-call]
    return zeros


def without_derivative(
    ctx: Any, gradient: Tensor, layer: tuple[str, str], why: str, instead: str = FORWARD, of: tuple[Tensor, ...] = ()
) -> Tensor:
    """`gradient`, found in `backward`; UnsupportedLayerError where its derivative is asked for.

    layer: its name and type. why: what that type does. instead: what to do. of: what it depends on without a trace for
    autograd.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or getattr(ctx, "is_pushed", False):
        return gradient
    line = "layer '{}': type {} {}, so that backward() gives no second derivatives; {}".format(*layer, why, instead)
    last: Tensor = _Last.apply(line, gradient, *of)  # type: ignore[no-untyped-call]
    return last


class _Last(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(line: str, gradient: Tensor, *of: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.line = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise UnsupportedLayerError(ctx.line)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        tangent: Tensor = tangents[1].clone()
        return tangent


def need_values(layer: Any, why: str, instead: str = "take its gradients by backward()") -> None:
    """UnsupportedLayerError under a transform of torch.func; for layers that look at values, which it hides.

    why: what they do with them. instead: what to do.
    """
    if is_transformed():
        raise UnsupportedLayerError(
            f"layer '{layer.name}': type {layer.param.type} {why}, which torch.func's transforms hide; {instead}"
        )


def need_batch(layer: Any) -> None:
    """UnsupportedLayerError under torch.func.vmap; for layers that keep statistics of whole batches in their blobs."""
    if is_mapped():
        raise UnsupportedLayerError(
            f"layer '{layer.name}': type {layer.param.type} keeps statistics of a batch, of which torch.func.vmap "
            "shows one item at a time; build the net for phase TEST, or let the layer use the statistics it has"
        )
