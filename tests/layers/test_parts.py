"""An inner product whose weight gradient is taken some rows at a time: the same values, in the order of the rows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from caffe_compat.layers.parts import inner_product


class Taker:
    def __init__(self, wants: bool) -> None:
        self.wants, self.parts = wants, []  # type: bool, list[tuple[slice, torch.Tensor]]

    def wants_parts(self) -> bool:
        return self.wants

    def take(self, rows: slice, gradient: torch.Tensor) -> None:
        self.parts.append((rows, gradient.clone()))


@pytest.mark.parametrize("wants", [True, False])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 10), (2, 3, 10), (1, 10)])
def test_the_parts_are_the_gradient(
    shape: tuple[int, ...], has_bias: bool, wants: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe_compat.layers.parts._PART", 30)  # three rows
    torch.manual_seed(0)
    leaves = [torch.randn(shape), torch.randn(7, 10), torch.randn(7)][: 3 if has_bias else 2]
    ours, plain = ([leaf.clone().requires_grad_() for leaf in leaves] for _ in range(2))
    taker = Taker(wants)
    top = inner_product(ours[0], ours[1], ours[2] if has_bias else None, taker)
    wanted = F.linear(*plain)
    assert torch.equal(top, wanted)
    above = torch.randn(top.shape)
    top.backward(above)
    wanted.backward(above)
    assert torch.equal(ours[0].grad, plain[0].grad)
    assert not has_bias or torch.equal(ours[2].grad, plain[2].grad)
    if wants:
        assert ours[1].grad is None
        assert [(rows.start, rows.stop) for rows, _ in taker.parts] == [(0, 3), (3, 6), (6, 7)]
        found = torch.cat([part for _, part in taker.parts])
    else:
        found = ours[1].grad
    torch.testing.assert_close(found, plain[1].grad, rtol=1e-6, atol=1e-6)


def test_the_weight_may_change_as_its_parts_are_taken() -> None:
    weight, bottom = torch.randn(4, 5).requires_grad_(), torch.randn(2, 5).requires_grad_()
    before = weight.detach().clone()

    class Zeroing(Taker):
        def take(self, rows: slice, gradient: torch.Tensor) -> None:
            weight.detach()[rows] = 0

    inner_product(bottom, weight, None, Zeroing(True)).sum().backward()
    assert torch.equal(weight, torch.zeros(4, 5))
    torch.testing.assert_close(bottom.grad, before.sum(0).expand(2, 5))
