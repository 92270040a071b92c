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
from caffe_compat.kernels.pixel_vectors import COLOUR, as_floats, ask_for, merge, merge_turned, turn
from caffe_compat.kernels.vectors import LANES, load, spread, store

_LINE = 64  # bytes that memory gives at once


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
        store(values, i, (as_floats(pixels + i) - load(means, i)) * factor)


@numba.njit(**COMPILED)
def _gather(target: Any, pixels: Any, columns: Any, channels: Any, steps: Any, flip: Any) -> None:
    """A row of `columns` pixels at the address `pixels` into `target`, pixel after pixel, perhaps turned; uint8.

    steps: how many bytes away the next pixel and the next channel are.
    """
    pixel, channel = steps
    if channels != COLOUR or columns < LANES:
        for i in range(columns):
            column = columns - 1 - i if flip else i
            for c in range(channels):
                bytes_at(target)[i * channels + c] = bytes_at(pixels)[column * pixel + c * channel]
        return
    for begin in range(0, columns, LANES):
        i = min(begin, columns - LANES)
        turned, place = columns - LANES - i, target + COLOUR * i
        if pixel != 1:
            turn(place, pixels + COLOUR * turned)
        elif flip:
            merge_turned(place, pixels + turned, channel)
        else:
            merge(place, pixels + i, channel)


@numba.njit(**COMPILED)
def _window(buffer: Any, pixels: Any, row: Any, size: Any, steps: Any, flip: Any, ahead: Any) -> Any:
    """Where the rows of a window lie pixel after pixel, turned where they must be, and how many bytes apart.

    ahead: where the next image begins and ends. The processor follows one plane by itself, not three.
    """
    rows, columns, channels = size
    if not flip and (channels == 1 or steps[1] == 1):
        return pixels, row
    share = (ahead[1] - ahead[0]) // rows + 1 if steps[0] == 1 else 0
    for i in range(rows):
        for line in range(ahead[0] + i * share, ahead[0] + (i + 1) * share, _LINE):
            ask_for(line)
        _gather(buffer + i * columns * channels, pixels + i * row, columns, channels, steps, flip)
    return buffer, columns * channels


@kernel
def transform(q: Any) -> None:
    """Target, images, (rows, columns, channels) of a window; plan; whether images are planar, their height and width;
    mean, its floats from row to row, to its mirror image, and its width; scale; a buffer of a window's bytes.

    plan: int64 (images, 4), an image's address, the first row and column of its window, and whether it is flipped.
    mean: float32, (2, height, width, channels), as it is and turned; or the channels of one row of a window, with the
    three numbers 0.
    """
    count, rows, columns, channels = q[3], q[4], q[5], q[6]
    plan, mean_width, scale = numba.carray(words_at(q[7]), (count, 4)), q[14], np.float32(number(q[15]))
    steps = (1, q[9] * q[10]) if q[8] else (channels, 1)
    row, values, size = q[10] * steps[0], columns * channels, q[9] * q[10] * channels
    for image in range(count):
        address, top, left, flip = plan[image, 0], plan[image, 1], plan[image, 2], plan[image, 3] != 0
        ahead = plan[image + 1, 0] if image + 1 < count else 0
        first, after = address + top * row + left * steps[0], (ahead, ahead + size if ahead else 0)
        pixels, apart = _window(q[16], first, row, (rows, columns, channels), steps, flip, after)
        mean = q[11] + 4 * top * q[12]
        if mean_width:
            mean += 4 * (q[13] + (mean_width - columns - left) * channels if flip else left * channels)
        target = q[2] + 4 * image * rows * values
        for i in range(rows):
            _subtract(target + 4 * i * values, pixels + i * apart, mean + 4 * i * q[12], scale, values)


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
