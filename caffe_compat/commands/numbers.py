"""Types of options that take numbers; what is no such number is refused before anything runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

LARGEST = 2**31 - 1  # Caffe's int32 fields hold no more


def whole(text: str) -> int:
    """The whole number that `text` spells in plain digits; ValueError for anything else that Python would take."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError(f"'{text}' is no whole number")
    return int(text)


def finite(text: str) -> float:
    """The finite number that `text` spells; ValueError for anything else."""
    number = float(text)
    if not math.isfinite(number) or "_" in text or not text.isascii():
        raise ValueError(f"'{text}' is no finite number")
    return number


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`name=1,3,32,32` as the name and the shape, each size from 1, at most 2^31 - 1 values in all as in Caffe."""
    name, _, sizes = text.partition("=")
    words = sizes.split(",")
    if not name or not sizes:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form blob=1,3,32,32")
    try:
        shape = tuple(whole_number(1)(word.strip()) for word in words)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None
    if math.prod(shape) > LARGEST:
        raise argparse.ArgumentTypeError(f"'{text}': is {math.prod(shape)} values; Caffe's blobs hold {LARGEST}")
    return name, shape


def whole_number(low: int = -LARGEST, high: int = LARGEST) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = whole(text)
        except ValueError:
            number = high + 1 if text.isascii() and text.isdigit() else low - 1
        if not low <= number <= high:
            wanted = f"{low} or more" if high == LARGEST and number < low else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"'{text}': wanted a whole number, {wanted}")
        return number

    return read


def real_number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """The type of an option that takes a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            number = finite(text)
        except ValueError:
            number = math.nan
        if not (low <= number <= high):
            bounds = {(-math.inf, math.inf): "a number", (low, math.inf): f"a number, {low:g} or more"}
            wanted = bounds.get((low, high), f"a number, {low:g} to {high:g}")
            raise argparse.ArgumentTypeError(f"'{text}': wanted {wanted}")
        return number

    return read
