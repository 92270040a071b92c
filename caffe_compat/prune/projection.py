"""Weights of readers projected at random onto the inputs that are left, EPruner's `random_project`.

A filter is a row of C kh kw numbers; W' = W P, of C' kh kw numbers, P sparse and random (Li, Hastie and Church 2006):
entries +-sqrt(1 / (d n)) with probability d / 2 each, n = C' kh kw, d = 1 / sqrt(C kh kw). As utils/common.py of
lmbxmu/EPruner at ddb844f has it, by scikit-learn; there without a seed, so that no two runs agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from caffe_compat.errors import DataError
from caffe_compat.proto.model import Model


def project_inputs(original: Model, small: Model, kept: Mapping[str, Sequence[int]], seed: int = 0) -> Model:
    """`small` with projections of the weights of `original` where a layer reads fewer channels than it did.

    kept: layer -> the filters of it that are left, of those that lost some. seed: of the projections, one a layer.
    DataError without scikit-learn.
    """
    try:
        from sklearn.random_projection import SparseRandomProjection
    except ImportError:
        raise DataError("random projections need scikit-learn: pip install caffe_compat[plots]") from None
    weights = dict(small.weights)
    narrowed = [name for name, blobs in small.weights.items() if blobs and _reads_less(original.weights[name], blobs)]
    for number, name in enumerate(narrowed):
        before, after = original.weights[name][0], small.weights[name][0]
        rows = before[list(kept.get(name, range(len(before))))].reshape(len(after), -1)
        projection = SparseRandomProjection(after[0].size, random_state=seed + number)
        found = np.asarray(projection.fit_transform(rows.astype(np.float64)), after.dtype).reshape(after.shape)
        weights[name] = (found, *small.weights[name][1:])
    return Model(small.net, weights)


def _reads_less(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> bool:
    return after[0].ndim > 1 and after[0][0].size < before[0][0].size
