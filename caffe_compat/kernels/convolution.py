"""Convolution of images in channels_last: a bias, a second image and a rectifier in the same pass, any strides.

Its innermost part is a tile: 7 pixels of a row by up to 4 vectors of 16 filters, held in registers while all values of
a window are gone through; one load of a pixel's value serves 4 multiplications, one of 16 weights 7. Widths of 7, 14,
28 and 56 fall into such rows of pixels; the last of another width begins earlier and computes some pixels again.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from caffe_compat.kernels.kernel import COMPILED, floats_at, kernel, next_part, number

LANES = 16  # float32 numbers in a vector of AVX-512
PIXELS = 7  # of a tile
VECTORS = 4  # of a tile, at most
_FLOAT, _BITS, _LONG, _INT = ir.FloatType(), ir.IntType(1), ir.IntType(64), ir.IntType(32)
_VECTOR, _MASK = ir.VectorType(_FLOAT, LANES), ir.VectorType(_BITS, LANES)
_NAME = f"v{LANES}f32"  # of a vector, in the names of LLVM's functions


def _spread(builder: Any, value: Any) -> Any:
    """A vector whose every lane is `value`."""
    kind = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), 0))


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _vector(builder: Any, address: Any) -> Any:
    value = builder.load(_at(builder, address, _VECTOR))
    value.align = 4
    return value


def _lanes(builder: Any, first: int, lanes: Any) -> Any:
    """A mask of those lanes whose number, counted from `first`, is below `lanes`."""
    numbers = ir.Constant(ir.VectorType(_LONG, LANES), [first + lane for lane in range(LANES)])
    return builder.icmp_signed("<", numbers, _spread(builder, lanes))


def _products(
    builder: Any, vectors: int, sums: list[Any], source: tuple[Any, ...], taps: tuple[Any, ...], soon: tuple[Any, ...]
) -> None:
    """Add to `sums`, by pixel and vector, the values of a window times their weights, which lie in this order.

    With each value a line of the pixels and one of the weights that are next is fetched into the caches.
    """
    x, step, weights = source
    rows, row_step, runs, run_step, length = taps
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.{_NAME}"
    )  # fmt: skip
    away = [builder.mul(step, ir.Constant(_LONG, pixel)) for pixel in range(PIXELS)]
    at = cgutils.alloca_once_value(builder, weights)
    fetches = [(cgutils.alloca_once_value(builder, address), step, place) for address, step, place in soon]
    with cgutils.for_range(builder, rows) as row:
        row_start = builder.add(x, builder.mul(row.index, row_step))
        with cgutils.for_range(builder, runs) as run:
            start = builder.add(row_start, builder.mul(run.index, run_step))
            with cgutils.for_range(builder, length) as value:
                here, now = builder.add(start, builder.shl(value.index, ir.Constant(_LONG, 2))), builder.load(at)
                bank = [_vector(builder, builder.add(now, ir.Constant(_LONG, 64 * v))) for v in range(vectors)]
                builder.store(builder.add(now, ir.Constant(_LONG, 64 * vectors)), at)
                for place in fetches:
                    _fetch(builder, *place)
                for pixel in range(PIXELS):
                    one = _spread(builder, builder.load(_at(builder, builder.add(here, away[pixel]), _FLOAT)))
                    for v in range(vectors):
                        own = sums[pixel * vectors + v]
                        builder.store(builder.call(fma, [one, bank[v], builder.load(own)]), own)


def _fetch(builder: Any, at: Any, step: Any, near: int) -> None:
    """Have the line at the address in `at` brought near, and move on by `step`."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, _INT, _INT, _INT])
    address = builder.load(at)
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [builder.inttoptr(address, pointer), *(ir.Constant(_INT, flag) for flag in (0, near, 1))])
    builder.store(builder.add(address, step), at)


def _added(builder: Any, vectors: int, sums: list[Any], other: tuple[Any, Any], masks: list[Any]) -> None:
    """Add to `sums` what lies at `other`, if it has an address."""
    address, step = other
    pointer = _VECTOR.as_pointer()
    load = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [pointer, _INT, _MASK, _VECTOR]), f"llvm.masked.load.{_NAME}.p0"
    )
    with builder.if_then(builder.icmp_signed("!=", address, ir.Constant(_LONG, 0))):
        for number_, own in enumerate(sums):
            pixel, v = divmod(number_, vectors)
            far = builder.add(builder.mul(step, ir.Constant(_LONG, pixel)), ir.Constant(_LONG, 64 * v))
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            found = builder.call(
                load, [_at(builder, builder.add(address, far), _VECTOR), ir.Constant(_INT, 4), masks[v], zero]
            )
            builder.store(builder.fadd(builder.load(own), found), own)


def _put(builder: Any, vectors: int, sums: list[Any], y: tuple[Any, Any], masks: list[Any], low: Any) -> None:
    """Write `sums`, or `low` where they are less, to `y`."""
    address, step = y
    store = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [_VECTOR, _VECTOR.as_pointer(), _INT, _MASK]),
        f"llvm.masked.store.{_NAME}.p0",
    )
    least = _spread(builder, low)
    for number_, own in enumerate(sums):
        pixel, v = divmod(number_, vectors)
        total = builder.load(own)
        total = builder.select(builder.fcmp_ordered("<", total, least), least, total)  # NaN stays
        far = builder.add(builder.mul(step, ir.Constant(_LONG, pixel)), ir.Constant(_LONG, 64 * v))
        builder.call(store, [total, _at(builder, builder.add(address, far), _VECTOR), ir.Constant(_INT, 4), masks[v]])


def _tile_of(vectors: int) -> Any:
    @intrinsic
    def tile(
        typing_context: Any, source: Any, taps: Any, soon: Any, bias: Any, lanes: Any, other: Any, y: Any, low: Any
    ) -> Any:
        """7 pixels by `vectors` of filters, of which `lanes` are there.

        source: address of the first pixel, bytes from one pixel to the next, address of the weights; taps: rows of a
        window, bytes between them, runs of values in a row, bytes between them, values of a run; other and y: address
        of the first pixel and bytes to the next.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, taps, soon, bias, lanes, other, y, low = arguments

            def each(value: Any) -> tuple[Any, ...]:
                return tuple(cgutils.unpack_tuple(builder, value))

            start = [_vector(builder, builder.add(bias, ir.Constant(_LONG, 64 * v))) for v in range(vectors)]
            sums = [cgutils.alloca_once_value(builder, start[v]) for _ in range(PIXELS) for v in range(vectors)]
            pixels, step, weights = each(soon)
            line = ir.Constant(_LONG, 64)
            _products(builder, vectors, sums, each(source), each(taps), ((pixels, step, 3), (weights, line, 2)))
            masks = [_lanes(builder, LANES * v, lanes) for v in range(vectors)]
            _added(builder, vectors, sums, each(other), masks)
            _put(builder, vectors, sums, each(y), masks, low)
            return context.get_dummy_value()

        return types.void(source, taps, soon, bias, lanes, other, y, low), generate

    return tile


_ONE, _TWO, _THREE, _FOUR = (_tile_of(vectors) for vectors in range(1, VECTORS + 1))


@numba.njit(**COMPILED)
def _tile(source: Any, taps: Any, soon: Any, bias: Any, lanes: Any, other: Any, y: Any, low: Any) -> None:
    if lanes > 3 * LANES:
        _FOUR(source, taps, soon, bias, lanes, other, y, low)
    elif lanes > 2 * LANES:
        _THREE(source, taps, soon, bias, lanes, other, y, low)
    elif lanes > LANES:
        _TWO(source, taps, soon, bias, lanes, other, y, low)
    else:
        _ONE(source, taps, soon, bias, lanes, other, y, low)


@numba.njit(**COMPILED)
def _framed(x: Any, steps: Any, size: Any, h0: Any, w0: Any, frame: Any) -> None:
    """Copy into `frame`, (rows, columns, channels), what lies from (h0, w0) on, with zeros outside the image."""
    rows, columns, channels = frame.shape
    for row in range(rows):
        for column in range(columns):
            h, w, out = h0 + row, w0 + column, frame[row, column]
            if h < 0 or h >= size[0] or w < 0 or w >= size[1]:
                for c in range(channels):
                    out[c] = 0
            elif steps[2] == 4:
                values = numba.carray(floats_at(x + h * steps[0] + w * steps[1]), channels)
                for c in range(channels):
                    out[c] = values[c]
            else:
                for c in range(channels):
                    out[c] = floats_at(x + h * steps[0] + w * steps[1] + c * steps[2])[0]


@numba.njit(**COMPILED)
def _banded(q: Any, x: Any, steps: Any, y: Any, other: Any, tiles: Any, panels: Any, group: Any) -> None:
    """The tiles of one image from tiles[0] to tiles[1], for one panel of 64 filters after the other."""
    channels, plane, own = q[11], (q[13], q[14]), q[15]
    kernel_, stride, dilation = (q[16], q[17]), (q[18], q[19]), (q[22], q[23])
    panel_width, padded, values = VECTORS * LANES, -(-own // LANES) * LANES, channels * kernel_[0] * kernel_[1]
    across, low = -(-plane[1] // PIXELS), np.float32(number(q[34]))
    is_whole = steps[1] == channels * 4 and dilation[1] == 1  # the rows of windows are without gaps
    runs, length = (1, channels * kernel_[1]) if is_whole else (kernel_[1], channels)
    taps = (kernel_[0], steps[0] * dilation[0], runs, steps[1] * dilation[1], length)
    for panel in range(panels[0], panels[1]):
        first = group * padded + panel * panel_width
        place, lanes, weights = (
            (group * own + panel * panel_width) * 4,
            own - panel * panel_width,
            q[6] + first * values * 4,
        )
        for tile in range(tiles[0], tiles[1]):
            row, column = tile // across, min(tile % across * PIXELS, plane[1] - PIXELS)
            source = x + row * stride[0] * steps[0] + column * stride[1] * steps[1]
            soon = min(tile + 1, tiles[1] - 1)
            near = x + soon // across * stride[0] * steps[0] + soon % across * PIXELS * stride[1] * steps[1]
            # a tile fetches a quarter of the next panel of weights, if there is one
            share = tile - tiles[0] if panel + 1 < panels[1] else VECTORS
            ahead = weights + (panel_width + share * LANES) * values * 4 if share < VECTORS else near
            _tile(
                (source, steps[1] * stride[1], weights), taps, (near, PIXELS * 4, ahead), q[7] + first * 4, lanes,
                (other + row * q[32] + column * q[33] + place if other else 0, q[33]),
                (y + row * q[29] + column * q[30] + place, q[30]), low,
            )  # fmt: skip


@kernel
def convolve(q: Any) -> None:
    """The words, in this order, in bytes where they are of memory:

    2: x, y, a second bottom (or 0), room for frames, weights, biases; 8: batch, (height, width) of x, channels of a
    group, groups, (height, width) of y, filters of a group; 16: kernel, stride, pad, dilation, each (height, width);
    24: from one image, row, column, channel of x to the next; 28: from one image, row, column of y; 31: of the second
    bottom; 34: the least value, as a float; 35: how many tiles of 7 pixels and how many panels of 64 filters are done
    together; 37: room of a part's frame, or 0 where x is read where it lies.

    Weights and biases are as `packed_bank` of caffe_compat/layers/compiled.py makes them. y is at least 7 wide.
    """
    channels, kernel_, stride, pad, dilation = q[11], (q[16], q[17]), (q[18], q[19]), (q[20], q[21]), (q[22], q[23])
    across, panels = -(-q[14] // PIXELS), -(-q[15] // (VECTORS * LANES))
    blocks, bands = -(-q[13] * across // q[35]), -(-panels // q[36])
    columns = (q[14] - 1) * stride[1] + (kernel_[1] - 1) * dilation[1] + 1
    units, parts, part = blocks * q[8] * q[12] * bands, q[1], next_part(q)
    while part < parts:
        for unit in range(part * units // parts, (part + 1) * units // parts):
            first, image = unit % blocks * q[35], unit // blocks % q[8]
            group, band = unit // (blocks * q[8]) % q[12], unit // (blocks * q[8] * q[12])
            last = min(first + q[35], q[13] * across)
            x, steps = q[2] + image * q[24] + group * channels * q[27], (q[25], q[26])
            if q[37]:
                top, room = first // across, q[5] + part * q[37]
                rows = ((last - 1) // across - top) * stride[0] + (kernel_[0] - 1) * dilation[0] + 1
                frame = numba.carray(floats_at(room), (rows, columns, channels))
                _framed(x, (q[25], q[26], q[27]), (q[9], q[10]), top * stride[0] - pad[0], -pad[1], frame)
                steps = (columns * channels * 4, channels * 4)
                x = room - top * stride[0] * steps[0]
            y, other = q[3] + image * q[28], q[4] + image * q[31] if q[4] else 0
            _banded(q, x, steps, y, other, (first, last), (band * q[36], min((band + 1) * q[36], panels)), group)
        part = next_part(q)
