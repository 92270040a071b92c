"""Stored images -> what a net sees, (pixel - mean) * scale of a window, perhaps flipped, in one pass.

Images are uint8, pixel after pixel (height, width, channels) or, as a Datum has them, planar (channels, height, width);
what is written has its pixels together. The last vector of a row overlaps the one before, and a row shorter than a
vector has none.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from caffe_compat.kernels.kernel import COMPILED, bytes_at, floats_at, kernel, number, words_at
from caffe_compat.kernels.pixel_vectors import (
    COLOUR,
    as_floats,
    ask_for,
    ask_to_write,
    merge,
    merge_turned,
    room,
    turn,
    turn_grey,
)
from caffe_compat.kernels.vectors import LANES, load, settle, spread, store, store_past_caches

ROW = 1 << 14  # bytes of a window's row at most
_LINE = 64  # bytes that memory gives and takes at once
_AHEAD = 2048  # bytes before their turn that lines are asked for, to be written
_PIECE = 1024  # values of a row that go past the caches together
_room_of_rows, _room_of_a_piece = room(ROW), room(4 * _PIECE + 2 * _LINE)


@numba.njit(**COMPILED)
def _subtract(target: Any, pixels: Any, mean: Any, scale: Any, count: Any) -> None:
    """`count` values at the addresses `pixels` (uint8) and `mean` (float32) into those at `target` (float32)."""
    values, means = floats_at(target), floats_at(mean)
    if count < LANES:
        for i in range(count):
            values[i] = (np.float32(bytes_at(pixels)[i]) - means[i]) * scale
        return
    factor = spread(scale)
    for begin in range(0, count, LANES):
        i = min(begin, count - LANES)
        ask_to_write(target + 4 * i + _AHEAD)
        store(values, i, (as_floats(pixels + i) - load(means, i)) * factor)


@numba.njit(**COMPILED)
def _stream(begun: Any, pixels: Any, mean: Any, scale: Any, count: Any, floats: Any) -> Any:
    """`_subtract` past the caches, to where what was begun ends; what is begun then.

    begun: the line of memory in which it ends, how many bytes of that line are in `floats` only, and how many before
    them are another's.
    """
    line, filled, others = begun
    for first in range(0, count, _PIECE):
        piece = min(_PIECE, count - first)
        _subtract(floats + filled, pixels + first, mean + 4 * first, scale, piece)
        filled += 4 * piece
        whole = filled // _LINE * _LINE
        for i in range(0, whole, _LINE):
            if others:
                _finish((line, _LINE, others), floats)
                others = 0
            else:
                store_past_caches(floats_at(line + i), 0, load(floats_at(floats + i), 0))
        if whole:
            store(floats_at(floats), 0, load(floats_at(floats + whole), 0))
        line, filled = line + whole, filled - whole
    return line, filled, others


@numba.njit(**COMPILED)
def _finish(begun: Any, floats: Any) -> None:
    """Write what was begun to its line."""
    line, filled, others = begun
    for value in range(others // 4, filled // 4):
        floats_at(line)[value] = floats_at(floats)[value]


@numba.njit(**COMPILED)
def _gather(target: Any, pixels: Any, columns: Any, channels: Any, steps: Any, flip: Any) -> None:
    """A row of `columns` pixels at the address `pixels` into `target`, pixel after pixel, perhaps turned; uint8.

    steps: how many bytes away the next pixel and the next channel are.
    """
    pixel, channel = steps
    is_copy = not flip and (pixel != 1 or channels == 1)
    if columns < LANES or channels not in (1, COLOUR) or is_copy:
        for c in range(channels):
            for i in range(columns):
                column = columns - 1 - i if flip else i
                bytes_at(target)[i * channels + c] = bytes_at(pixels)[column * pixel + c * channel]
        return
    for begin in range(0, columns, LANES):
        i = min(begin, columns - LANES)
        turned, place = columns - LANES - i, target + channels * i
        if channels == 1:
            turn_grey(place, pixels + turned)
        elif pixel != 1:
            turn(place, pixels + COLOUR * turned)
        elif flip:
            merge_turned(place, pixels + turned, channel)
        else:
            merge(place, pixels + i, channel)


@numba.njit(**COMPILED)
def _window(buffer: Any, pixels: Any, row: Any, size: Any, steps: Any, flip: Any, ahead: Any) -> Any:
    """Where some rows of a window lie pixel after pixel, turned where they must be, and how many bytes apart.

    ahead: a part of the next image, and how much of it to ask for with each row: the processor follows one plane by
    itself, not three.
    """
    rows, columns, channels = size
    if not flip and (channels == 1 or steps[1] == 1):
        return pixels, row
    for i in range(rows):
        for line in range(ahead[0] + i * ahead[1], ahead[0] + (i + 1) * ahead[1], _LINE):
            ask_for(line)
        _gather(buffer + i * columns * channels, pixels + i * row, columns, channels, steps, flip)
    return buffer, columns * channels


@kernel
def transform(q: Any) -> None:
    """Target, images, (rows, columns, channels) of a window; plan; whether images are planar, their height and width;
    mean, its floats from row to row, to its mirror image, and its width; scale; whether to write past the caches.

    plan: int64 (images, 4), an image's address, the first row and column of its window, and whether it is flipped.
    mean: float32, (2, height, width, channels), as it is and turned; or the channels of one row of a window, with the
    three numbers 0. A row of a window has at most ROW values.
    """
    count, rows, columns, channels = q[3], q[4], q[5], q[6]
    plan, scale, past = numba.carray(words_at(q[7]), (count, 4)), np.float32(number(q[15])), q[16]
    steps = (1, q[9] * q[10]) if q[8] else (channels, 1)
    row, values = q[10] * steps[0], columns * channels
    at_once, share = ROW // values, q[9] * row * channels // rows + 1 if q[8] else 0
    buffer, floats = _room_of_rows(), _room_of_a_piece()
    for image in range(count):
        address, top, left, flip = plan[image, 0], plan[image, 1], plan[image, 2], plan[image, 3] != 0
        next_image = plan[image + 1, 0] if image + 1 < count else 0
        mean = q[11] + 4 * top * q[12]
        if q[14]:
            mean += 4 * (q[13] + (q[14] - columns - left) * channels if flip else left * channels)
        target = q[2] + 4 * image * rows * values
        begun = (target // _LINE * _LINE, target % _LINE, target % _LINE)
        for first in range(0, rows, at_once):
            size, place = (
                (min(at_once, rows - first), columns, channels),
                address + (top + first) * row + left * steps[0],
            )
            ahead = (next_image + first * share, share if next_image else 0)
            pixels, apart = _window(buffer, place, row, size, steps, flip, ahead)
            for i in range(size[0]):
                means = mean + 4 * (first + i) * q[12]
                if past:
                    begun = _stream(begun, pixels + i * apart, means, scale, values, floats)
                else:
                    _subtract(target + 4 * (first + i) * values, pixels + i * apart, means, scale, values)
        if past:
            _finish(begun, floats)
    if past:
        settle()


@kernel
def interleave(q: Any) -> None:
    """Target (any, height, width, channels), which of its images are written, how many; addresses of planar images,
    their (height, width, channels).
    """
    which, places = numba.carray(words_at(q[3]), q[4]), numba.carray(words_at(q[5]), q[4])
    height, width, channels = q[6], q[7], q[8]
    steps, row = (1, height * width), width * channels
    for image in range(q[4]):
        target = q[2] + which[image] * height * row
        for i in range(height):
            _gather(target + i * row, places[image] + i * width, width, channels, steps, False)
