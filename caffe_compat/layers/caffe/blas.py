"""What a BLAS matrix product leaves where its result lies on its second factor.

A Convolution in place with windows of one value calls gemm with C = B. What comes of it is the BLAS library's own
matter. This is what OpenBLAS does with AVX-512 (SkylakeX, its kernels for small matrices of fewer than 64 columns):
rows of the result are made block by block, each from all of B as it lies there by then. Where the product is large, C
is set to 0 beforehand. (An InnerProduct in place has C = A: OpenBLAS sets C to 0 first where B is read transposed, and
else, up to 16 outputs, reads all of A before it writes. Larger ones are taken to do the same.)
"""

from __future__ import annotations

from torch import Tensor

_SMALL = 100**3  # rows * columns * depth; beyond, OpenBLAS sets C to 0 and then copies B
_LANES = 16  # columns at a time; a rest of 2 to 8 is made for as many rows at a time where the first factor is turned
_BLOCKS = {False: (6, 2, 1), True: (4, 2, 1)}  # rows at a time


def overwriting_product(memory: Tensor, start: int, factors: Tensor, columns: int, turned: bool) -> None:
    """C = A B for each group, where C and B both begin at `memory[start]`.

    memory: (values,), which is changed. factors: (groups, rows, depth), the A. turned: whether A is read transposed.
    """
    groups, rows, depth = factors.shape
    results = memory[start : start + groups * rows * columns].view(groups, rows, columns)
    sources = memory[start : start + groups * depth * columns].view(groups, depth, columns)
    for factor, result, source in zip(factors, results, sources, strict=True):
        if rows * depth * columns > _SMALL:
            result.zero_()
            result.copy_(factor @ source.clone())
            continue
        rest = columns % _LANES
        whole = columns - rest if turned and 2 <= rest <= _LANES // 2 else columns
        for first in range(0, rows, _LANES):
            result[first : first + _LANES, whole:] = factor[first : first + _LANES] @ source[:, whole:].clone()
        for first, last in _blocks(rows, _BLOCKS[turned]):
            result[first:last, :whole] = factor[first:last] @ source[:, :whole].clone()


def _blocks(rows: int, steps: tuple[int, ...]) -> list[tuple[int, int]]:
    """(first, last + 1) of blocks of as many rows as the largest step allows, then the next."""
    blocks, start = [], 0
    for step in steps:
        while start + step <= rows:
            blocks.append((start, start + step))
            start += step
    return blocks
