"""RNN and LSTM by plain loops over time, streams and units, float64."""

from __future__ import annotations

import math

import numpy as np


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _affine(weight: np.ndarray, x: np.ndarray) -> list[float]:
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]


def lstm(
    x: np.ndarray, cont: np.ndarray, weights: list[np.ndarray], h: np.ndarray, c: np.ndarray, static: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs (T, N, D) and the last h and c (N, D); weights W_xc, b, [W_static], W_hc, gates in the order i f o g."""
    steps, streams = cont.shape
    size = h.shape[1]
    h, c = h.astype(float).copy(), c.astype(float).copy()
    outputs = np.zeros((steps, streams, size))
    for t in range(steps):
        for n in range(streams):
            gates = np.array(weights[1], dtype=float)
            gates += _affine(weights[0], x[t, n].reshape(-1))
            if static is not None:
                gates += _affine(weights[2], static[n].reshape(-1))
            gates += _affine(weights[-1], cont[t, n] * h[n])
            for d in range(size):
                i, f, o = (_sigmoid(gates[gate * size + d]) for gate in range(3))
                c[n, d] = cont[t, n] * f * c[n, d] + i * math.tanh(gates[3 * size + d])
                h[n, d] = outputs[t, n, d] = o * math.tanh(c[n, d])
    return outputs, h, c


def rnn(x: np.ndarray, cont: np.ndarray, weights: list[np.ndarray], h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (T, N, D) and the last h (N, D); weights W_xh, b_h, W_hh, W_ho, b_o."""
    steps, streams = cont.shape
    h = h.astype(float).copy()
    outputs = np.zeros((steps, streams, h.shape[1]))
    for t in range(steps):
        for n in range(streams):
            drive = weights[1] + _affine(weights[0], x[t, n].reshape(-1)) + _affine(weights[2], cont[t, n] * h[n])
            h[n] = np.tanh(drive)
            outputs[t, n] = np.tanh(weights[4] + _affine(weights[3], h[n]))
    return outputs, h
