"""Losses and accuracies by plain loops over places and classes, float64."""

from __future__ import annotations

import math

import numpy as np

FLT_MIN = 1.17549435e-38


def _places(scores: np.ndarray, axis: int, label: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """(scores of all classes, label) of every place."""
    columns = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    return list(zip(columns, label.reshape(-1).astype(int), strict=True))


def softmax_loss(scores: np.ndarray, label: np.ndarray, axis: int, rule: str, ignore: int | None) -> float:
    total, counted = 0.0, 0
    places = _places(scores, axis, label)
    for column, wanted in places:
        if wanted == ignore:
            continue
        counted += 1
        largest = max(column)
        denominator = sum(math.exp(score - largest) for score in column)
        total -= math.log(max(math.exp(column[wanted] - largest) / denominator, FLT_MIN))
    outer = math.prod(scores.shape[:axis])
    return total / max(1, {"VALID": counted, "FULL": len(places), "BATCH_SIZE": outer, "NONE": 1}[rule])


def sigmoid_loss(scores: np.ndarray, target: np.ndarray, rule: str, ignore: int | None) -> float:
    total, counted = 0.0, 0
    for score, wanted in zip(scores.flat, target.flat, strict=True):
        if ignore is not None and int(wanted) == ignore:
            continue
        counted += 1
        probability = 1 / (1 + math.exp(-score))
        total -= wanted * math.log(probability) + (1 - wanted) * math.log(1 - probability)
    divisor = {"VALID": counted, "FULL": scores.size, "BATCH_SIZE": scores.shape[0], "NONE": 1}[rule]
    return total / max(1, divisor)


def hinge_loss(scores: np.ndarray, label: np.ndarray, power: int) -> float:
    total = 0.0
    for row, wanted in zip(scores.reshape(len(scores), -1), label.flat, strict=True):
        for index, score in enumerate(row):
            total += max(0.0, 1 - score if index == int(wanted) else 1 + score) ** power
    return total / len(scores)


def contrastive_loss(a: np.ndarray, b: np.ndarray, similar: np.ndarray, margin: float, legacy: bool) -> float:
    total = 0.0
    for first, second, same in zip(a, b, similar.flat, strict=True):
        squared = sum((x - y) ** 2 for x, y in zip(first.flat, second.flat, strict=True))
        if same:
            total += squared
        elif legacy:
            total += max(margin - squared, 0)
        else:
            total += max(margin - math.sqrt(squared), 0) ** 2
    return total / len(a) / 2


def infogain_loss(scores: np.ndarray, label: np.ndarray, matrix: np.ndarray, axis: int, ignore: int | None) -> float:
    """Of scores (Caffe 1.0), normalised by the labels that count."""
    total, counted = 0.0, 0
    for column, wanted in _places(scores, axis, label):
        if wanted == ignore:
            continue
        counted += 1
        denominator = sum(math.exp(score) for score in column)
        for index, score in enumerate(column):
            total -= matrix[wanted, index] * math.log(max(math.exp(score) / denominator, 1e-20))
    return total / max(1, counted)


def accuracy(
    scores: np.ndarray, label: np.ndarray, axis: int, top_k: int, ignore: int | None, ties_go_up: bool
) -> float:
    """NaN where no label counts and ties go up (the fork), 0 where they lose (Caffe 1.0)."""
    hits, counted = 0, 0
    for column, wanted in _places(scores, axis, label):
        if wanted == ignore:
            continue
        counted += 1
        if ties_go_up:
            ranking = sorted(range(len(column)), key=lambda index: (column[index], index), reverse=True)
            hits += wanted in ranking[:top_k]
        else:
            rivals = sum(1 for index, score in enumerate(column) if index != wanted and score >= column[wanted])
            hits += rivals < top_k
    if counted == 0:
        return math.nan if ties_go_up else 0.0
    return hits / counted
