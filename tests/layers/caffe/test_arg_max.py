"""ArgMax against plain sorting."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


@pytest.mark.parametrize(("axis", "top_k"), list(itertools.product([None, 1, 2, -1], [1, 3])))
def test_argmax_ranks_equal_values_by_larger_index(axis: int | None, top_k: int) -> None:
    x = torch.randint(0, 3, SHAPE).float()
    fields = f"top_k: {top_k}" + ("" if axis is None else f" axis: {axis}")
    y = build(f'type: "ArgMax" argmax_param {{ {fields} }}', SHAPE)(x)
    columns = x.flatten(1) if axis is None else x.movedim(axis, -1).reshape(-1, SHAPE[axis])
    wanted = [
        sorted(range(len(column)), key=lambda i, column=column: (column[i], i), reverse=True)[:top_k]
        for column in columns.tolist()
    ]
    if axis is None:
        assert y.shape == (2, 1, top_k, 1)
        assert y.flatten(1).tolist() == wanted
    else:
        assert y.shape[axis] == top_k
        assert y.movedim(axis, -1).reshape(-1, top_k).tolist() == wanted


def test_argmax_gives_values_when_asked() -> None:
    x = torch.tensor([[[0.5, 2.0], [1.0, -1.0]]])
    both = build('type: "ArgMax" argmax_param { out_max_val: true top_k: 2 }', (1, 2, 2))(x)
    assert both.tolist() == [[[1, 2], [2, 1]]]
    single = build('type: "ArgMax" argmax_param { out_max_val: true }', (2,))(torch.tensor([0.5, 2.0]))
    assert single.tolist() == [[[0], [0.5]], [[0], [2]]]  # one axis: images of one value each
    along = build('type: "ArgMax" argmax_param { out_max_val: true axis: 2 }', (1, 2, 2))(x)
    assert along.tolist() == [[[2], [1]]]


def test_argmax_refuses_more_than_there_are() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': argmax_param\.top_k is 4; it must be 1 to 3"):
        build('type: "ArgMax" argmax_param { top_k: 4 axis: 1 }', SHAPE)
