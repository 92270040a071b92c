"""What the C library does with memory that a forward pass or a training iteration frees."""

from __future__ import annotations

import ctypes
import functools
import sys

# malloc.h: parameters of mallopt, and the largest threshold that glibc takes for the second
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEPT = 1 << 30


@functools.cache
def keep_freed_memory() -> bool:
    """Ask malloc to keep up to 1 GiB of freed memory for the next pass; True where that was possible.

    glibc otherwise returns the activations and gradients of each pass to the kernel, which then clears the same pages
    again one fault at a time: 5 to 10 % of a cifar10_full iteration, 10 % of a decomposed conv4 of AlexNet. The setting
    holds for the whole process and concerns blocks up to 32 MiB. Outside Linux, or with another C library, nothing
    happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
