"""Which tensors compiled loops may read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from caffe_compat.layers.looped import loops_for, new_images
from tests.kernels.switch import needs_loops, other_defaults

pytestmark = needs_loops


def _images(channels: int = 16, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(2, channels, 3, 4, dtype=kind).contiguous(memory_format=torch.channels_last)


def test_images_in_channels_last_are_read():
    assert loops_for("pooling", _images()) is not None
    assert loops_for("pooling", _images().requires_grad_()) is not None
    assert loops_for("pooling", torch.ones(1, 16, 1, 1)) is not None  # which lies the same in both


@pytest.mark.parametrize(
    "bottom",
    [
        _images().contiguous(),
        _images(15),
        _images(kind=torch.float64),
        _images(kind=torch.bfloat16),
        _images()[:0],
        _images()[:, :, :, ::2],
        torch.ones(2, 16),
        nn.Parameter(_images()),
        torch._neg_view(_images()),
        _images().to("meta"),
        _images().to_sparse(),
    ],
)
def test_other_tensors_are_not(bottom):
    assert loops_for("pooling", bottom) is None


class _Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_nothing_is_read_while_somebody_follows_what_torch_does():
    found = []

    def look(x):
        found.append(loops_for("pooling", x))
        return x * 1

    torch.func.vmap(look)(torch.ones(2, 2, 16, 3, 4).transpose(2, 4))
    torch.func.grad(lambda x: look(x).sum())(_images())
    make_fx(look)(_images())
    torch.jit.trace(look, _images(), check_trace=False)
    with _Watching():
        look(_images())
    with forward_ad.dual_level():
        look(forward_ad.make_dual(_images(), _images()))
    assert found == [None] * 6
    look(_images())
    assert found[-1] is not None


def test_new_images_are_of_the_type_of_others_whatever_the_user_has_set():
    bottom = _images()
    for kind in (torch.float64, torch.float16):
        with other_defaults(kind):
            top = new_images(bottom, 3, 4)
        assert (top.dtype, top.device) == (bottom.dtype, bottom.device)


def test_new_images_have_their_channels_innermost():
    for shape in ((2, 16, 5, 7), (1, 16, 1, 7), (3, 17, 1, 1)):
        top = new_images(torch.empty(*shape[:2], 9, 9), *shape[2:])
        assert top.shape == shape and top.stride(3) == shape[1]
        assert top.is_contiguous(memory_format=torch.channels_last)
