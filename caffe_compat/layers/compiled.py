"""Convolutions for inference by a compiled loop, from and into slices of channels; planned once a shape of bottoms."""

from __future__ import annotations

import math
import struct
from array import array
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat import kernels
from caffe_compat.layers.base import Shape
from caffe_compat.layers.looped import is_plain
from caffe_compat.layers.windows import Windows, convolved_size

Steps = tuple[int, int, int, int]  # bytes from one image, row, column, channel to the next
_LANES, _PIXELS, _PANEL = 16, 7, 64  # as caffe_compat/kernels/convolution.py has them
_BLOCK = 2**18  # bytes of a bottom that are gone through with one panel of weights after the other
_BANK = 5 * 2**18  # bytes of weights above which not all panels follow one another
_CALL = 6 * 2**20  # multiply-adds that can be done while Python and torch prepare a call of oneDNN
_ALONE = 2**19  # multiply-adds that one thread does by itself
_GATHERED = 8  # channels of a bottom that are gathered from wherever they lie
_WAYS = 24  # numbers of tiles that are tried


def loops() -> ModuleType | None:
    """The loops, on a CPU that they are made for."""
    return kernels.loops("convolution") if torch.backends.cpu.get_cpu_capability() == "AVX512" else None


def compiled_form(
    bottom: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, group: int, slope: float | None
) -> CompiledConvolution | None:
    """What convolves bottoms of this shape; None where that is not to be had, or oneDNN is likely to be faster."""
    if bottom.device.type != "cpu" or {bottom.dtype, weight.dtype} != {torch.float32} or 0 in bottom.shape:
        return None
    module = loops()
    if module is None or not is_plain(bottom):
        return None
    form = CompiledConvolution(module, bottom.shape, weight, bias, windows, group, slope)
    return form if form.pays() else None


def packed_bank(weight: Tensor, bias: Tensor | None, group: int) -> tuple[Tensor, Tensor]:
    """Weights and biases as the loop reads them, with zeros behind each group up to whole vectors of 16 filters.

    The filters of a group fall into panels of 64; one has its rows, columns, channels and then its filters innermost.
    """
    own = len(weight) // group
    spare = -own % _LANES
    values = F.pad(weight.detach().view(group, own, *weight.shape[1:]).permute(0, 3, 4, 2, 1).flatten(1, 3), (0, spare))
    bank = torch.cat([panel.flatten(1) for panel in torch.split(values, _PANEL, 2)], 1)
    biases = weight.new_zeros(group, own) if bias is None else bias.detach().view(group, own)
    return bank.contiguous(), F.pad(biases, (0, spare)).contiguous()


class CompiledConvolution:
    """(batch, channels, height, width) of one shape to (batch, filters, ...), float32, in torch.channels_last.

    A second bottom, of the top's shape, is added before the rectifier. `out` is where the top goes: a slice of the
    channels of a tensor in channels_last, which is returned.
    """

    def __init__(self, module: ModuleType, shape: Shape, weight: Tensor, bias: Tensor | None, windows: Windows,
                 group: int, slope: float | None) -> None:  # fmt: skip
        batch, channels, height, width = shape
        self.own, self.group, self.slope, self.channels = len(weight) // group, group, slope, channels
        self.top: Shape = (batch, len(weight), *convolved_size((height, width), windows))
        plane, size = self.top[2:], (height, width)
        # windows of one value slide over all pixels as over one row
        self.is_flat = windows.kernel == windows.stride == (1, 1) and windows.pad == (0, 0)
        if self.is_flat:
            batch, plane, size = 1, (1, batch * height * width), (1, batch * height * width)
        self.pixels, self.values = plane[0] * plane[1], weight[0].numel()
        self.work, self.tiles = batch * self.pixels * weight.numel(), -(-self.pixels // _PIXELS)
        self._loop = module.convolve
        self.bank, self.biases = packed_bank(weight, bias, group)
        frame = any(windows.pad) or (channels <= _GATHERED and not self.is_flat)
        self.frame = ((plane[1] - 1) * windows.stride[1] + windows.extent[1]) * channels // group * 4 if frame else 0
        tiles, panels, self.room = self._shares(batch, windows, size[1], plane)
        low = 0.0 if slope == 0 else -math.inf
        self._sizes = (
            self.bank.data_ptr(), self.biases.data_ptr(), batch, *size, channels // group, group, *plane, self.own,
            *windows.kernel, *windows.stride, *windows.pad, *windows.dilation,
        )  # fmt: skip
        self._rest = (struct.unpack("q", struct.pack("d", low))[0], tiles, panels, self.room)

    def pays(self) -> bool:
        """Whether what is computed for nothing takes less than oneDNN's preparations."""
        if self.pixels < _PIXELS:
            return False
        twice = self.work * (self.tiles * _PIXELS / self.pixels - 1)
        lanes = -(-self.own // _LANES) * _LANES
        return twice < _CALL and (self.group == 1 or lanes <= 2 * self.own)

    def __call__(self, bottom: Tensor, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        if out is None:
            out = torch.empty(self.top, dtype=bottom.dtype, device=bottom.device, memory_format=torch.channels_last)
        if other is not None:
            other = other.contiguous(memory_format=torch.channels_last)
        self.run(self._readable(bottom), other, out, bottom.new_empty(self.frames(), dtype=torch.uint8))
        return F.leaky_relu_(out, self.slope) if self.slope else out

    def runs_alone(self, bottom: Tensor, other: Tensor | None) -> bool:
        """Whether `run` is all there is to do for such bottoms: nothing is copied before, and nothing done behind."""
        added = other is None or other.is_contiguous(memory_format=torch.channels_last)
        return added and not self.slope and self._readable(bottom) is bottom

    def frames(self) -> int:
        """Bytes of room that `run` needs, for as many threads as torch has now."""
        return int(self._loop.parts(self._threads())) * self.room

    def run(self, bottom: Tensor, other: Tensor | None, top: Tensor, frames: Tensor) -> None:
        threads = self._threads()
        added, added_steps = (0, (0, 0, 0)) if other is None else (other.data_ptr(), _steps(other)[:3])
        places = (bottom.data_ptr(), top.data_ptr(), added, frames.data_ptr())
        steps = (*_steps(bottom), *_steps(top)[:3], *added_steps)
        words = (0, self._loop.parts(threads), *places, *self._sizes, *steps, *self._rest, 0)
        self._loop.run(array("q", words), threads)

    def __deepcopy__(self, memo: object) -> CompiledConvolution:
        return self  # nothing of it changes

    def _threads(self) -> int:
        return torch.get_num_threads() if self.work > _ALONE else 1

    def _readable(self, bottom: Tensor) -> Tensor:
        """`bottom`, moved to where the loop can read it."""
        steps = _steps(bottom)
        height, width = bottom.shape[2:]
        if self.is_flat:
            fits = steps[3] == 4 and steps[1] == width * steps[2] and steps[0] == height * steps[1]
        else:
            fits = steps[3] == 4 or (self.frame > 0 and self.channels <= _GATHERED)
        return bottom if fits else bottom.clone(memory_format=torch.channels_last)

    def _shares(self, batch: int, windows: Windows, width: int, plane: tuple[int, ...]) -> tuple[int, int, int]:
        """How many tiles and panels are done together, and bytes of a frame for them."""
        bank, panels = self.bank[0].numel() * 4, -(-self.own // _PANEL)
        row = windows.stride[0] * (self.frame or width * self.channels // self.group * 4)  # bytes, for one of the top
        tiles = max(1, min(_BLOCK * plane[1] // (row * _PIXELS), self.tiles))
        together = panels if bank <= _BANK else max(1, _BANK // (self.values * _PANEL * 4))
        threads = self._threads()
        if threads > 1:
            tiles, together = self._even(tiles, together, batch * self.group, threads, bank > row * plane[0])
        rows = min(plane[0], (tiles * _PIXELS - 1) // plane[1] + 2)
        return tiles, together, ((rows - 1) * windows.stride[0] + windows.extent[0]) * self.frame

    def _even(self, tiles: int, together: int, images: int, threads: int, is_heavy: bool) -> tuple[int, int]:
        """As many tiles and panels, at most those given, as let the threads end at about the same time.

        Of equal ways the one that goes through a heavy bank of weights least often, or else through the bottom.
        """
        panels, parts = -(-self.own // _PANEL), int(self._loop.parts(threads))
        beginning = 8 if self.frame else 1  # of a unit, beside a tile

        def cost(way: tuple[int, int]) -> tuple[int, int, int]:
            blocks, bands = -(-self.tiles // way[0]), -(-panels // way[1])
            units, busy = blocks * bands * images, [0] * threads
            for part in range(parts):
                busy[busy.index(min(busy))] += (part + 1) * units // parts - part * units // parts
            return max(busy) * (way[0] * way[1] + beginning), blocks if is_heavy else bands, -way[0]

        sizes = {tiles, *range(1, tiles + 1, -(-tiles // _WAYS))}
        return min(((size, count) for size in sizes for count in range(1, together + 1)), key=cost)


def _steps(image: Tensor) -> Steps:
    """How `image` lies in memory; along an axis of one element, as if more followed."""
    batch, channels, height, width = image.shape
    one, channel, row, column = image.stride()
    if width == 1:
        column = row if height > 1 else one
    if height == 1:
        row = width * column
    if batch == 1:
        one = height * row
    return one * 4, row * 4, column * 4, 4 if channels == 1 else channel * 4
