"""WarpCTCLoss, CTCGreedyDecoder (senlinuc/caffe_ocr), CtcLoss (xmfbit/warpctc-caffe): connectionist temporal classes.

Source: warp_ctc_loss_layer.cpp and ctc_decoder_layer.cpp of senlinuc/caffe_ocr, ctc_loss_layer.cpp of warpctc-caffe.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.function import need_values
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register

Targets = tuple[list[list[int]], list[int]]  # the labels of every stream, and how many of its steps count


@register("WarpCTCLoss")
class WarpCTCLoss(LossLayer):
    """The mean over N streams of -log p(labels | scores), scores (T, N, classes) before the softmax.

    Bottoms behind the scores: labels (N, L), of which blanks do not count; or indicators (T, N), which are 0 where a
    stream has ended, and labels (L, N), which end at the first negative one; or lengths of streams, lengths of labels,
    and labels (L, N). A stream whose labels cannot be reached counts for nothing. The gradient is that of the sum, not
    of the mean: Caffe does not divide it.
    """

    bottoms = Count(2, 4)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.blank: int = param.ctc_loss_param.blank_index

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, *rest = bottom_shapes
        if len(scores) < 3 or math.prod(scores[3:]) != 1:
            raise ShapeError(f"layer '{self.name}': scores have shape {scores}, wanted (T, N, classes)")
        streams = scores[1]
        fits = {
            1: rest[0][:1] == (streams,),
            2: rest[0][:2] == scores[:2] and rest[-1][1:2] == (streams,),
            3: rest[-1][1:2] == (streams,) and all(math.prod(each) == streams for each in rest[:2]),
        }
        if not fits[len(rest)]:
            raise ShapeError(f"layer '{self.name}': bottoms {rest} do not have labels for {streams} streams")
        self.need_items(bottom_shapes)
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        need_values(self, "reads how long its labels are")
        scores = bottoms[0].reshape(*bottoms[0].shape[:3])
        labels, steps = self._targets(*(bottom.detach().cpu().numpy() for bottom in bottoms[1:]), shape=scores.shape)
        classes = scores.shape[2]
        flat = [label for each in labels for label in each]
        if any(not 0 <= label < classes or label == self.blank for label in flat):
            raise DataError(f"layer '{self.name}': labels must be 0 to {classes - 1}, but for the blank {self.blank}")
        blank = self.blank % classes
        costs = functional.ctc_loss(
            functional.log_softmax(scores, 2), torch.tensor(flat, dtype=torch.long, device=scores.device),
            torch.tensor(steps), torch.tensor([len(each) for each in labels]), blank, "none", zero_infinity=True,
        )  # fmt: skip
        total = costs.sum()
        mean = (total / self._divisor(labels, steps)).detach()
        return total + (mean - total).detach()

    def _divisor(self, labels: list[list[int]], steps: list[int]) -> int:
        """How many streams the mean is over: whose labels, with a blank between two equal ones, can be reached."""
        needed = [len(each) + sum(one == next_one for one, next_one in pairwise(each)) for each in labels]
        return max(1, sum(need <= count for need, count in zip(needed, steps, strict=True)))

    def _targets(self, *given: np.ndarray, shape: torch.Size) -> Targets:
        steps, streams = shape[:2]
        if len(given) == 1:
            rows = given[0].reshape(streams, -1).astype(np.int64)
            return [[label for label in row if label != self.blank] for row in rows.tolist()], [steps] * streams
        labels = given[-1].reshape(given[-1].shape[0], streams).T.astype(np.int64).tolist()
        if len(given) == 2:
            running = given[0].reshape(steps, streams).T
            ends = [next((t for t in range(1, steps) if row[t] == 0), steps) for row in running]
            return [row[: next((k for k, label in enumerate(row) if label < 0), len(row))] for row in labels], ends
        counts = given[1].flatten().astype(int).tolist()
        lengths = given[0].flatten().astype(int).tolist()
        return [row[:count] for row, count in zip(labels, counts, strict=True)], lengths


@register("CtcLoss")
class CtcLoss(WarpCTCLoss):
    """As WarpCTCLoss with labels (N, L), whose blanks, blank_label, do not count, over the first time_step steps.

    scores (T, N, alphabet_size). A stream whose labels cannot be reached costs 0, and the mean is over all N streams.
    """

    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.ctc_loss_param
        self.blank, self.steps, self.classes = field.blank_label, field.time_step, field.alphabet_size
        if self.steps < 1 or self.classes < 1 or not 0 <= self.blank < self.classes:
            raise UnsupportedParameterError(
                f"layer '{self.name}': ctc_loss_param has time_step {self.steps}, alphabet_size {self.classes} and "
                f"blank_label {self.blank}; wanted positive ones, and a blank below alphabet_size"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, labels = bottom_shapes
        if len(scores) != 3 or scores[2] != self.classes or scores[0] < self.steps or labels[:1] != scores[1:2]:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {scores} and {labels}, wanted scores (T, N, {self.classes}) "
                f"of {self.steps} steps or more and labels (N, L)"
            )
        self.need_items(bottom_shapes)
        return [()]

    def _divisor(self, labels: list[list[int]], steps: list[int]) -> int:
        return len(labels)

    def _targets(self, *given: np.ndarray, shape: torch.Size) -> Targets:
        labels, _ = super()._targets(*given, shape=shape)
        if not any(labels):
            raise DataError(f"layer '{self.name}': every label is the blank, {self.blank}")
        return labels, [self.steps] * shape[1]


@register("CTCGreedyDecoder")
class CTCGreedyDecoder(Layer):
    """The best class of each step, less blanks and (with ctc_merge_repeated) repetitions; no gradient.

    With one bottom, scores (T, N, classes): top (N, T, 1, 1), each row the classes of a stream, then -1. With labels
    (N, L) as second bottom: top (1, 2, 1, 1), 1 less the mean edit distance divided by the longer of the two
    sequences, and the share of streams that are right as a whole. A blank_index below 0 means the last class.
    """

    gradient = "none"
    bottoms = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.blank: int = param.ctc_decoder_param.blank_index
        self.merges: bool = param.ctc_decoder_param.ctc_merge_repeated

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores = bottom_shapes[0]
        if len(scores) < 3:
            raise ShapeError(f"layer '{self.name}': scores have shape {scores}, wanted (T, N, classes)")
        if len(bottom_shapes) == 1:
            return [(scores[1], scores[0], 1, 1)]
        if bottom_shapes[1][:1] != scores[1:2]:
            raise ShapeError(f"layer '{self.name}': labels {bottom_shapes[1]} are not for {scores[1]} streams")
        self.need_items(bottom_shapes)
        return [(1, 2, 1, 1)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        scores = bottoms[0].reshape(*bottoms[0].shape[:3])
        steps, streams, classes = scores.shape
        blank = self.blank if self.blank >= 0 else classes - 1
        found = [self._decoded(row, blank) for row in scores.argmax(2).T.tolist()]
        if len(bottoms) == 1:
            rows = [row + [-1] * (steps - len(row)) for row in found]
            return scores.new_tensor(rows).view(streams, steps, 1, 1)
        distance, right = 0.0, 0
        for row, labels in zip(found, bottoms[1].reshape(streams, -1).tolist(), strict=True):
            end = next((k for k, label in enumerate(labels) if label < 0), len(labels))
            wanted = [int(label + 0.5) for label in labels[:end] if int(label + 0.5) != blank]
            if wanted or row:
                edits = _edit_distance(wanted, row)
                distance += edits / max(len(wanted), len(row))
                right += edits == 0
        return scores.new_tensor([1 - distance / streams, right / streams]).view(1, 2, 1, 1)

    def _decoded(self, row: list[int], blank: int) -> list[int]:
        pairs = zip([-1, *row], row, strict=False)
        return [label for before, label in pairs if label != blank and not (self.merges and label == before)]


def _edit_distance(a: list[int], b: list[int]) -> int:
    """The fewest insertions, deletions and changes that make `a` into `b`."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]
