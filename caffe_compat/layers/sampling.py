"""Values between the pixels of a plane, as the layers read them whose places are computed and not counted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Places = tuple[Tensor, Tensor]  # rows and columns, of one shape and any size


def interpolated(low: Places, high: Places, at: Places, read: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The bilinear mix of the four pixels around the places `at`: read(row, column), from `low` on and from `high` on.

    Differentiable in what `read` gives and in `at`; low <= at, and where high == low its part must be 0.
    """
    down, across = at[0] - low[0], at[1] - low[1]
    upper = (1 - across) * read(low[0], low[1]) + across * read(low[0], high[1])
    lower = (1 - across) * read(high[0], low[1]) + across * read(high[0], high[1])
    mixed: Tensor = (1 - down) * upper + down * lower
    return mixed


def pixels(planes: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Values (B, C, P) of `planes` (B, C, H, W) at whole rows and columns (B, 1, P); 0 outside."""
    height, width = planes.shape[2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
    return planes.flatten(2).gather(2, place.expand(-1, planes.shape[1], -1)) * inside
