"""Types of options that take numbers; what is no such number is refused before anything runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

LARGEST = 2**31 - 1  # Caffe's int32 fields hold no more


def whole_number(low: int = -LARGEST, high: int = LARGEST) -> Callable[[str], int]:
    """The type of an option that takes a whole number from `low` to `high`."""

    def read(text: str) -> int:
        digits = text.removeprefix("-")
        number = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else low - 1
        if not low <= number <= high:
            wanted = f"{low} or more" if high == LARGEST and number < low else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"'{text}': wanted a whole number, {wanted}")
        return number

    return read


def real_number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """The type of an option that takes a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and low <= number <= high):
            bounds = {(-math.inf, math.inf): "a number", (low, math.inf): f"a number, {low:g} or more"}
            wanted = bounds.get((low, high), f"a number, {low:g} to {high:g}")
            raise argparse.ArgumentTypeError(f"'{text}': wanted {wanted}")
        return number

    return read
