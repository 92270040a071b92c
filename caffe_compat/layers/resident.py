"""A whole set of images that stays on a device, where its batches are put together: nothing is copied to it again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from caffe_compat.data.batches import WholeSet


class ResidentSet:
    """The batches of a WholeSet, made on `device`; equal to the bit to those that DatumBatches reads.

    What is drawn for a batch (records, corners, flips) comes from the host, a few bytes an image.
    """

    def __init__(self, whole: WholeSet, device: torch.device) -> None:
        self._whole, self._device = whole, device
        self._transform = whole.batches.transform
        self._pixels = torch.from_numpy(whole.pixels).to(device)
        self._labels = torch.from_numpy(whole.labels).to(device)
        mean = self._transform.mean
        self._mean = None if mean is None else torch.from_numpy(np.ascontiguousarray(mean)).to(device)

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Images (batch, channels, height, width), channels last in memory, and labels (batch,); float32."""
        numbers, draws = self._whole.batches.choose(index)
        chosen = self._there(numbers)
        values = self._pixels[chosen].float()
        if self._mean is not None:
            values.sub_(self._mean)
        scale = float(np.float32(self._transform.scale))
        if scale != 1:
            values.mul_(scale)
        if self._transform.crop:
            corners = self._transform.corners(tuple(self._pixels.shape[1:]), draws)
            values = self._cut(values, self._there(np.array(corners)))
        if draws.flips.any():
            flips = self._there(draws.flips)[:, None, None, None]
            values = torch.where(flips, values.flip(2), values)
        return values.permute(0, 3, 1, 2), self._labels[chosen]

    def _cut(self, images: Tensor, corners: Tensor) -> Tensor:
        """The windows whose first rows and columns are `corners` (batch, 2)."""
        steps = torch.arange(self._transform.crop, device=self._device)
        rows, columns = (corners[:, axis, None] + steps for axis in (0, 1))
        batch = torch.arange(len(images), device=self._device)[:, None, None]
        return images[batch, rows[:, :, None], columns[:, None, :]]

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)
