"""The precision of a run: which layers compute in half, and the factor that keeps fp16 gradients from vanishing.

The weights, their gradients, the history and every test stay in float32. Layers outside HALF, on a CPU HALF_ON_CPU,
get float32 inputs, so that statistics, normalizations and losses are as exact as ever. On NVIDIA's GPUs "fp32" is that,
as in Caffe, where torch by itself rounds what convolutions multiply to ten bits (TF32); "tf32" takes this speed, in
matrix products too.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net

logger = logging.getLogger(__name__)

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HALF = {
    "Concat", "Convolution", "Deconvolution", "Dropout", "Eltwise", "Flatten", "InnerProduct", "Pooling", "ReLU",
    "Reshape", "Slice", "Split",
}  # fmt: skip
HALF_ON_CPU = HALF - {"Pooling", "ReLU"}  # whose loops in float32 are faster there than torch's in bf16


class LossScale:
    """The factor on an fp16 loss: halved where a gradient overflows, doubled after 2000 iterations without.

    It starts at 65536; a resumed run goes on with the side-car's. A factor of 1 and no check for other precisions.
    """

    INTERVAL = 2000

    def __init__(self, precision: str) -> None:
        self.checks = precision == "fp16"
        self.value = 65536.0 if self.checks else 1.0
        self._good = 0

    @property
    def kept(self) -> tuple[float, int] | None:
        """What a side-car keeps: the factor, and for how many iterations it has held; None where there is no factor."""
        return (self.value, self._good) if self.checks else None

    def restore(self, kept: tuple[float, int] | None) -> None:
        """Go on with what `kept` was."""
        if self.checks and kept is not None:
            self.value, self._good = kept

    def remove(self, gradients: list[Tensor]) -> bool:
        """Divide the gradients by the factor, in place; False where one is not finite: no update should follow."""
        if not self.checks or not gradients:
            return True
        torch._foreach_mul_(gradients, 1 / self.value)
        finite = bool(torch.stack(torch._foreach_norm(gradients, float("inf"))).isfinite().all())
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self._good % self.INTERVAL == 0:
            self.value *= 2
        return finite


def choose_precision(net: Net, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """The context in which forward passes of `net` compute in `precision`: fp32, tf32 (on a GPU), bf16 or fp16."""
    if precision not in PRECISIONS:
        raise SolverError(f"precision is '{precision}'; allowed: {', '.join(PRECISIONS)}")
    if precision == "tf32" and net._place.device.type != "cuda":
        raise SolverError("precision is 'tf32', which only GPUs have, but the net is on the CPU; use fp32 or bf16")
    if PRECISIONS[precision] is torch.float32:
        return contextlib.nullcontext
    if precision == "bf16" and net._place.device.type == "cpu" and not multiplies_bf16():
        logger.warning("precision bf16: this processor has no instructions for it; fp32 is faster here, and exact")
    half = HALF_ON_CPU if net._place.device.type == "cpu" else HALF
    for _, layer in net.steps:
        if layer.param.type not in half:
            layer.register_forward_pre_hook(_in_single)
    return lambda: torch.autocast(net._place.device.type, PRECISIONS[precision])


@contextlib.contextmanager
def rounding(tf32: bool) -> Iterator[None]:
    """Within this block NVIDIA's GPUs multiply float32 rounded to TF32, or not at all rounded.

    Nothing changes where the process chose by torch's newer settings (fp32_precision), beside which the older ones,
    that every version has, cannot be read.
    """
    places: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    try:
        before = [place.allow_tf32 for place in places]
    except RuntimeError:
        yield
        return
    try:
        for place in places:
            place.allow_tf32 = tf32
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def multiplies_bf16(facts: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bfloat16, by what Linux says of it; yes where nothing is said.

    Without them oneDNN converts back and forth: an iteration of cifar10_full takes 3.5 times as long as in float32.
    """
    try:
        words = re.findall(r"^(?:flags|Features)\s*:(.*)$", facts.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return True
    return not words or bool({"avx512_bf16", "amx_bf16", "bf16"} & set(words[0].split()))


def _in_single(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.float() if value.dtype in (torch.float16, torch.bfloat16) else value for value in inputs)


_in_single.converts = True  # type: ignore[attr-defined]  # and keeps nothing, see net/joining.py
