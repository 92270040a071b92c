"""Convolution of images in channels_last: a bias, a second image and a rectifier in the same pass, any strides.

Its innermost part is a tile: 7 pixels by up to 4 vectors of 16 filters, held in registers while all values of a window
are gone through; one load of a pixel's value serves 4 multiplications, one of 16 weights 7. Tiles go through the pixels
of an image, row after row; the last begins earlier where their number is no multiple of 7.
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
from caffe_compat.kernels.vectors import LANES, everywhere, fetch, lanes_where

PIXELS = 7  # of a tile
VECTORS = 4  # of a tile, at most
_FLOAT, _BITS, _LONG, _INT = ir.FloatType(), ir.IntType(1), ir.IntType(64), ir.IntType(32)
_VECTOR, _MASK = ir.VectorType(_FLOAT, LANES), ir.VectorType(_BITS, LANES)
_NAME = f"v{LANES}f32"  # of a vector, in the names of LLVM's functions


def _at(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _vector(builder: Any, address: Any) -> Any:
    value = builder.load(_at(builder, address, _VECTOR))
    value.align = 4
    return value


def _products(
    builder: Any, vectors: int, sums: list[Any], source: tuple[Any, ...], taps: tuple[Any, ...], soon: tuple[Any, ...]
) -> None:
    """Add to `sums`, by pixel and vector, the values of a window times their weights, which lie in this order.

    With each value a line of the pixels and one of the weights that are next is fetched into the caches.
    """
    *pixels, weights = source
    rows, row_step, runs, run_step, length = taps
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.{_NAME}"
    )  # fmt: skip
    at = cgutils.alloca_once_value(builder, weights)
    fetches = [(cgutils.alloca_once_value(builder, address), step, near) for address, step, near in soon]
    with cgutils.for_range(builder, rows) as row:
        row_start = builder.mul(row.index, row_step)
        with cgutils.for_range(builder, runs) as run:
            away = builder.add(row_start, builder.mul(run.index, run_step))
            starts = [builder.add(pixel, away) for pixel in pixels]
            with cgutils.for_range(builder, length) as value:
                far, now = builder.shl(value.index, ir.Constant(_LONG, 2)), builder.load(at)
                bank = [_vector(builder, builder.add(now, ir.Constant(_LONG, 64 * v))) for v in range(vectors)]
                builder.store(builder.add(now, ir.Constant(_LONG, 64 * vectors)), at)
                for place, step, near in fetches:
                    fetch(builder, builder.load(place), near)
                    builder.store(builder.add(builder.load(place), step), place)
                for pixel, start in enumerate(starts):
                    one = everywhere(builder, builder.load(_at(builder, builder.add(start, far), _FLOAT)))
                    for v in range(vectors):
                        own = sums[pixel * vectors + v]
                        builder.store(builder.call(fma, [one, bank[v], builder.load(own)]), own)


def _added(builder: Any, vectors: int, sums: list[Any], other: tuple[Any, ...], masks: list[Any]) -> None:
    """Add to `sums` what lies at the addresses `other`, if they are any."""
    pointer = _VECTOR.as_pointer()
    load = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [pointer, _INT, _MASK, _VECTOR]), f"llvm.masked.load.{_NAME}.p0"
    )
    with builder.if_then(builder.icmp_signed("!=", other[0], ir.Constant(_LONG, 0))):
        for number_, own in enumerate(sums):
            pixel, v = divmod(number_, vectors)
            address = builder.add(other[pixel], ir.Constant(_LONG, 64 * v))
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            found = builder.call(load, [_at(builder, address, _VECTOR), ir.Constant(_INT, 4), masks[v], zero])
            builder.store(builder.fadd(builder.load(own), found), own)


def _put(builder: Any, vectors: int, sums: list[Any], y: tuple[Any, ...], masks: list[Any], low: Any) -> None:
    """Write `sums`, or `low` where they are less, to the addresses `y`."""
    store = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [_VECTOR, _VECTOR.as_pointer(), _INT, _MASK]),
        f"llvm.masked.store.{_NAME}.p0",
    )
    least = everywhere(builder, low)
    for number_, own in enumerate(sums):
        pixel, v = divmod(number_, vectors)
        total = builder.load(own)
        total = builder.select(builder.fcmp_ordered("<", total, least), least, total)  # NaN stays
        address = builder.add(y[pixel], ir.Constant(_LONG, 64 * v))
        builder.call(store, [total, _at(builder, address, _VECTOR), ir.Constant(_INT, 4), masks[v]])


def _tile_of(vectors: int) -> Any:
    @intrinsic
    def tile(
        typing_context: Any, source: Any, taps: Any, soon: Any, bias: Any, lanes: Any, other: Any, y: Any, low: Any
    ) -> Any:
        """7 pixels by `vectors` of filters, of which `lanes` are there.

        source: addresses of the pixels, and of the weights; taps: rows of a window, bytes between them, runs of values
        in a row, bytes between them, values of a run; soon: addresses of pixels and weights that are next, and bytes
        between what is fetched of the pixels; other and y: addresses of the pixels.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, taps, soon, bias, lanes, other, y, low = arguments

            def each(value: Any) -> tuple[Any, ...]:
                return tuple(cgutils.unpack_tuple(builder, value))

            start = [_vector(builder, builder.add(bias, ir.Constant(_LONG, 64 * v))) for v in range(vectors)]
            sums = [cgutils.alloca_once_value(builder, start[v]) for _ in range(PIXELS) for v in range(vectors)]
            pixels, step, weights = each(soon)
            line = ir.Constant(_LONG, 64)
            tops = each(y)
            for top in tops:  # which are written only when all is computed
                for v in range(vectors):
                    fetch(builder, builder.add(top, ir.Constant(_LONG, 64 * v)), writes=True)
            _products(builder, vectors, sums, each(source), each(taps), ((pixels, step, 3), (weights, line, 2)))
            left = [builder.sub(lanes, ir.Constant(_LONG, LANES * v)) for v in range(vectors)]
            masks = [lanes_where(builder, "<", number_) for number_ in left]
            _added(builder, vectors, sums, each(other), masks)
            _put(builder, vectors, sums, tops, masks, low)
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
def _copied(source: Any, target: Any, floats: Any) -> None:
    values, out = numba.carray(floats_at(source), floats), numba.carray(floats_at(target), floats)
    for i in range(floats):
        out[i] = values[i]


@numba.njit(**COMPILED)
def _zeroed(target: Any, floats: Any) -> None:
    out = numba.carray(floats_at(target), floats)
    for i in range(floats):
        out[i] = 0


@numba.njit(**COMPILED)
def _framed(x: Any, steps: Any, size: Any, h0: Any, w0: Any, frame: Any, shape: Any) -> None:
    """Copy into `frame`, (rows, columns, channels), what lies from (h0, w0) on, with zeros outside the image."""
    rows, columns, channels = shape
    before, behind = max(-w0, 0), min(size[1] - w0, columns)  # the columns that the image has
    for row in range(rows):
        h, out = h0 + row, frame + row * columns * channels * 4
        if h < 0 or h >= size[0] or behind <= before:
            _zeroed(out, columns * channels)
            continue
        _zeroed(out, before * channels)
        _zeroed(out + behind * channels * 4, (columns - behind) * channels)
        start, target = x + h * steps[0] + (w0 + before) * steps[1], out + before * channels * 4
        if steps[2] == 4 and steps[1] == channels * 4:
            _copied(start, target, (behind - before) * channels)
        elif steps[2] == 4:
            for column in range(behind - before):
                _copied(start + column * steps[1], target + column * channels * 4, channels)
        else:
            values = numba.carray(floats_at(target), (behind - before, channels))
            for c in range(channels):
                for column in range(behind - before):
                    values[column, c] = floats_at(start + column * steps[1] + c * steps[2])[0]


@numba.njit(inline="always", **COMPILED)
def _next(address: Any, column: Any, columns: Any, step: Any, back: Any) -> Any:
    """The pixel behind the one at `address`, which in the last column is the first of the next row."""
    column += 1
    return (address + step, column) if column < columns else (address + back, 0)


@numba.njit(**COMPILED)
def _seven(start: Any, first: Any, columns: Any, row_step: Any, step: Any) -> Any:
    """Addresses of seven pixels from number `first` on; the image begins at `start`."""
    column, back = first % columns, row_step - (columns - 1) * step
    a = start + first // columns * row_step + column * step
    b, column = _next(a, column, columns, step, back)
    c, column = _next(b, column, columns, step, back)
    d, column = _next(c, column, columns, step, back)
    e, column = _next(d, column, columns, step, back)
    f, column = _next(e, column, columns, step, back)
    g, column = _next(f, column, columns, step, back)
    return a, b, c, d, e, f, g


@numba.njit(**COMPILED)
def _rows(q: Any, first: Any, last: Any) -> Any:
    """How many rows of the windows of the rows `first` to `last` of y lie above the image, and how many are in it."""
    height, taps, stride, pad, dilation = q[9], q[16], q[18], q[20], q[22]
    above = min(max(-(-(pad - last * stride) // dilation), 0), taps)
    return above, max(min((height - 1 + pad - first * stride) // dilation + 1, taps) - above, 0)


@numba.njit(**COMPILED)
def _banded(q: Any, x: Any, steps: Any, y: Any, other: Any, tiles: Any, panels: Any, group: Any) -> None:
    """The tiles of one image from tiles[0] to tiles[1], for one panel of 64 filters after the other."""
    channels, columns, own = q[11], q[14], q[15]
    kernel_, stride, dilation = (q[16], q[17]), (q[18], q[19]), (q[22], q[23])
    panel_width, padded, values = VECTORS * LANES, -(-own // LANES) * LANES, channels * kernel_[0] * kernel_[1]
    beyond, low = q[13] * columns - PIXELS, np.float32(number(q[34]))
    is_whole = steps[1] == channels * 4 and dilation[1] == 1  # the rows of windows are without gaps
    runs, length = (1, channels * kernel_[1]) if is_whole else (kernel_[1], channels)
    tap_step, run_step = steps[0] * dilation[0], steps[1] * dilation[1]
    row_step, step = stride[0] * steps[0], stride[1] * steps[1]
    for panel in range(panels[0], panels[1]):
        first, lanes = group * padded + panel * panel_width, own - panel * panel_width
        weights, place = q[6] + first * values * 4, (group * own + panel * panel_width) * 4
        for tile in range(tiles[0], tiles[1]):
            pixel = min(tile * PIXELS, beyond)
            skipped, rows = _rows(q, pixel // columns, (pixel + PIXELS - 1) // columns)
            a, b, c, d, e, f, g = _seven(x + skipped * tap_step, pixel, columns, row_step, step)
            tops = _seven(y + place, pixel, columns, q[29], q[30])
            others = _seven(other + place, pixel, columns, q[32], q[33]) if other else (0, 0, 0, 0, 0, 0, 0)
            # a tile fetches the next pixels, and a quarter of the next panel of weights, or of the next layer's first
            near, _ = _next(g, pixel % columns + PIXELS - 1, columns, step, row_step - (columns - 1) * step)
            following = weights + panel_width * values * 4 if panel + 1 < panels[1] else q[38]
            share = tile - tiles[0] if following else VECTORS
            ahead = following + share * LANES * values * 4 if share < VECTORS else near
            taps, soon = (rows, tap_step, runs, run_step, length), (near, PIXELS * 4, ahead)
            bank = weights + skipped * runs * length * min(-(-lanes // LANES), VECTORS) * LANES * 4
            _tile((a, b, c, d, e, f, g, bank), taps, soon, q[7] + first * 4, lanes, others, tops, low)


@kernel
def convolve(q: Any) -> None:
    """The words, in this order, in bytes where they are of memory:

    2: x, y, a second bottom (or 0), room for frames, weights, biases; 8: batch, (height, width) of x, channels of a
    group, groups, (height, width) of y, filters of a group; 16: kernel, stride, pad, dilation, each (height, width);
    24: from one image, row, column, channel of x to the next; 28: from one image, row, column of y; 31: of the second
    bottom; 34: the least value, as a float; 35: how many tiles of 7 pixels and how many panels of 64 filters are done
    together; 37: room of a part's frame, or 0 where x is read where it lies; 38: weights that are read next, or 0.

    Weights and biases are as `packed_bank` of caffe_compat/layers/compiled.py makes them. y has at least 7 pixels.
    """
    channels, kernel_, stride, pad, dilation = q[11], (q[16], q[17]), (q[18], q[19]), (q[20], q[21]), (q[22], q[23])
    pixels, panels = q[13] * q[14], -(-q[15] // (VECTORS * LANES))
    tiles = -(-pixels // PIXELS)
    blocks, bands = -(-tiles // q[35]), -(-panels // q[36])
    columns = (q[14] - 1) * stride[1] + (kernel_[1] - 1) * dilation[1] + 1
    units, parts, part = blocks * q[8] * q[12] * bands, q[1], next_part(q)
    while part < parts:
        for unit in range(part * units // parts, (part + 1) * units // parts):
            first, image = unit % blocks * q[35], unit // blocks % q[8]
            group, band = unit // (blocks * q[8]) % q[12], unit // (blocks * q[8] * q[12])
            last = min(first + q[35], tiles)
            x, steps = q[2] + image * q[24] + group * channels * q[27], (q[25], q[26])
            if q[37]:
                top, room = min(first * PIXELS, pixels - PIXELS) // q[14], q[5] + part * q[37]
                below = (min(last * PIXELS, pixels) - 1) // q[14]
                rows = (below - top) * stride[0] + (kernel_[0] - 1) * dilation[0] + 1
                place, shape = (top * stride[0] - pad[0], -pad[1]), (rows, columns, channels)
                _framed(x, (q[25], q[26], q[27]), (q[9], q[10]), place[0], place[1], room, shape)
                steps = (columns * channels * 4, channels * 4)
                x = room - top * stride[0] * steps[0]
            y, other = q[3] + image * q[28], q[4] + image * q[31] if q[4] else 0
            _banded(q, x, steps, y, other, (first, last), (band * q[36], min((band + 1) * q[36], panels)), group)
        part = next_part(q)
