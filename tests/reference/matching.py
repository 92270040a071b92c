"""SSD's loss of one batch by plain loops: match priors to true boxes, mine negatives, add up, in float64."""

from __future__ import annotations

import math

from tests.reference.regions import overlap

Box = list[float]


def match(truth: list[Box], priors: list[Box], everyone: bool, threshold: float) -> tuple[list[int], list[float]]:
    """For each prior its true box or -1, and its largest overlap."""
    shares = [[overlap(prior, box) for box in truth] for prior in priors]
    index, pool = [-1] * len(priors), list(range(len(truth)))
    while pool:
        pairs = [(shares[i][j], -i, -j) for i in range(len(priors)) if index[i] == -1 for j in pool]
        share, i, j = max(pairs, default=(0.0, 0, 0))
        if share <= 1e-6:
            break
        index[-i] = -j
        pool.remove(-j)
    for i, row in enumerate(shares):
        if everyone and index[i] == -1 and row and max(row) >= threshold:
            index[i] = row.index(max(row))
    return index, [max(row, default=0.0) for row in shares]


def coded(prior: Box, box: Box, variance: Box) -> list[float]:
    """CENTER_SIZE."""
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    shift_x, shift_y = (box[0] + box[2] - prior[0] - prior[2]) / 2 / w, (box[1] + box[3] - prior[1] - prior[3]) / 2 / h
    logs = math.log((box[2] - box[0]) / w), math.log((box[3] - box[1]) / h)
    return [value / v for value, v in zip((shift_x, shift_y, *logs), variance, strict=True)]


def softmax_loss(scores: list[float], label: int) -> float:
    return math.log(sum(math.exp(score) for score in scores)) - scores[label]


def smooth_l1(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def multibox_loss(
    locations: list[list[Box]],
    confidences: list[list[list[float]]],
    priors: list[Box],
    variances: list[Box],
    labels: list[list[float]],
    ratio: float,
    everyone: bool = True,
) -> float:
    """Softmax and smooth L1, shared locations, MAX_NEGATIVE, normalised by the matches."""
    total, matches = 0.0, 0
    for item, (offsets, scores) in enumerate(zip(locations, confidences, strict=True)):
        mine = [row for row in labels if row[0] == item]
        if not mine:
            continue
        index, best = match([row[3:7] for row in mine], priors, everyone, 0.5)
        for prior, j in enumerate(index):
            if j >= 0:
                target = coded(priors[prior], mine[j][3:7], variances[prior])
                total += sum(smooth_l1(a - b) for a, b in zip(offsets[prior], target, strict=True))
                total += softmax_loss(scores[prior], int(mine[j][1]))
        count = sum(j >= 0 for j in index)
        losses = [softmax_loss(scores[p], 0) for p, j in enumerate(index) if j == -1 and best[p] < 0.5]
        total += sum(sorted(losses, reverse=True)[: int(count * ratio)])
        matches += count
    return total / max(matches, 1)
