"""Moving averages of BatchNorm that a short fine-tuning can replace.

BatchNorm (batch_norm_layer.cpp) keeps sums that decay, and by blob 2 how many batches they are worth: in a trained net
some 1 / (1 - moving_average_fraction), 1,000 by default. What is cut out of a net moves its statistics at once, and a
hundred iterations later nine tenths of the averages are still those of the net as it was: it learns, and fails in TEST.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import caffe_compat as cc


def lightened(model: cc.Model) -> cc.Model:
    """The same net with the same averages, of one batch's weight: the batches to come count."""
    weights = dict(model.weights)
    for layer in model.net.layer:
        if layer.type == "BatchNorm" and layer.name in weights:
            mean, variance, count = (np.asarray(blob) for blob in weights[layer.name])
            if count.item():
                weights[layer.name] = (mean / count, variance / count, np.ones_like(count))
    return replace(model, weights=weights)
