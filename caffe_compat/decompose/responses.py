"""Low rank by data: chains that keep a layer's responses rather than its weights.

Zhang, Zou, He and Sun, "Accelerating Very Deep Convolutional Networks for Classification and Detection", TPAMI 2016.
With y the responses of the original layer and x those of the same layer behind the layers already replaced, both
before the nonlinearity r, the chain computes M x + c with M of the given rank, and

    symmetric    minimizes |y - (M y + c)|^2        (the input's covariance decides which filters matter)
    asymmetric   minimizes |y - (M x + c)|^2        (errors of earlier layers are corrected)
    nonlinear    minimizes |r(y) - r(M x + c)|^2    for a layer with a ReLU behind it

Both linear problems are reduced-rank regressions, solved with a pseudo-inverse, so that dead or repeated channels do no
harm. Of every batch some positions are drawn, by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from caffe_compat.decompose.bank import FilterBank, find_layer, has_filters, read_bank
from caffe_compat.decompose.directions import settle_signs, single_rank
from caffe_compat.decompose.factorize import Factorization
from caffe_compat.decompose.rewrite import LOWRANK, replace_layers
from caffe_compat.errors import DataError, RankError
from caffe_compat.graph.graph import build_graph
from caffe_compat.net.net import Net
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, as_model

Batch = Mapping[str, Any]
POSITIONS = 10  # drawn of every image, as in the paper
PENALTIES = (0.01,) * 25 + (1.0,) * 25  # lambda of the nonlinear case, as in the paper


def decompose_by_responses(
    model: ModelLike,
    ranks: Mapping[str, int],
    batches: Sequence[Batch],
    asymmetric: bool = True,
    nonlinear: bool = True,
    positions: int = POSITIONS,
) -> Model:
    """The model with every layer of `ranks` as a _lowrank, _linear pair fitted to its responses on `batches`.

    batches: {input: array} each, enough that positions * images well exceeds the filters of any layer. Layers are
    taken in the net's order. A layer without a bias is fitted without one. Raises RankError as `decompose` does,
    DataError where there are no batches.
    """
    model = as_model(model)
    if not batches:
        raise DataError("no batches are given; responses need at least one, {input: array}")
    for name in ranks:
        find_layer(model, name)
    order = [layer.name for layer in model.net.layer if layer.name in ranks and has_filters(layer)]
    current = model
    for name in in_steps("fitting", list(dict.fromkeys(order))):
        layer = find_layer(model, name)
        bank = read_bank(model, layer)
        wanted = sample_responses(model, name, batches, positions)
        found = sample_responses(current, name, batches, positions) if asymmetric else wanted
        relu = nonlinear and bank.bias is not None and _has_relu(model.net, layer)
        chain, bias = _fit(bank, ranks[name], wanted, found, relu)
        current = replace_layers(current, {name: chain}, {name: LOWRANK}, {} if bias is None else {name: bias})
    return current


def sample_responses(model: Model, name: str, batches: Sequence[Batch], positions: int = POSITIONS) -> np.ndarray:
    """Outputs of layer `name` before what follows it, float64 [samples, filters]: positions of every image."""
    net, batches = _fed(model, batches)
    net.eval()
    generator = np.random.default_rng(0)
    rows: list[np.ndarray] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        values = output.detach().flatten(2) if output.dim() > 2 else output.detach().unsqueeze(2)
        chosen = generator.integers(values.shape[2], size=positions)
        rows.append(values[:, :, chosen].permute(0, 2, 1).reshape(-1, values.shape[1]).double().cpu().numpy())

    handle = net.layers[name].register_forward_hook(keep)
    try:
        with torch.no_grad():
            for batch in batches:
                net(**batch)
    finally:
        handle.remove()
    return np.concatenate(rows)


def _fed(model: Model, batches: Sequence[Batch]) -> tuple[Net, list[Batch]]:
    """The TEST net, which opens no data of its own, and of each batch what that net takes.

    Raises DataError where a batch lacks an input.
    """
    sources = [node for node in build_graph(model.net, "TEST").nodes if not node.bottoms]
    names = [top.name for node in sources for top in node.tops]
    missing = [name for name in names if name not in batches[0]]
    if missing:
        given = ", ".join(batches[0])
        raise DataError(f"net '{model.net.name}' takes {', '.join(missing)}, of which the batches ({given}) have none")
    fed = [{name: batch[name] for name in names} for batch in batches]
    return Net(model, "TEST", input_shapes={name: np.shape(fed[0][name]) for name in names}), list(fed)


def reduced_rank(target: np.ndarray, source: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """U [targets, rank] and V [rank, sources] of least |target - source V^T U^T|^2, rows are samples; U orthonormal.

    Reduced-rank regression (Izenman 1975): ordinary least squares A, then the leading directions of its fit.
    """
    gram = source.T @ source
    least_squares = (np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ (source.T @ target)).T
    fitted = least_squares @ gram @ least_squares.T
    directions = settle_signs(np.linalg.eigh((fitted + fitted.T) / 2)[1][:, ::-1][:, :rank])
    return directions, directions.T @ least_squares


def recalibrate(model: ModelLike, batches: Iterable[Batch]) -> Model:
    """The model with the mean and variance of every BatchNorm measured anew on `batches`, each counting alike.

    Every BatchNorm normalizes by its batch while it is measured, as in training. The cheapest repair after layers were
    replaced. Raises DataError where there are no batches.
    """
    model = as_model(model)
    batches = list(batches)
    if not batches:
        raise DataError("no batches are given; BatchNorm needs at least one, {input: array}")
    net, batches = _fed(model, batches)
    norms: list[Any] = [layer for _, layer in net.steps if layer.param.type == "BatchNorm"]
    for layer in norms:
        layer.use_global_stats, layer.fraction = False, 1.0  # sums over batches, and how many there were
        for blob in layer.blobs:
            blob.data.zero_()
    with torch.no_grad():
        for batch in in_steps("measuring BatchNorm", batches, lambda _: ""):
            net(**batch)
    measured = net.weights()
    return replace(model, weights={**model.weights, **{layer.name: measured[layer.name] for layer in norms}})


def _fit(
    bank: FilterBank, rank: int, wanted: np.ndarray, found: np.ndarray, relu: bool
) -> tuple[Factorization, np.ndarray | None]:
    """The pair of one layer, and its bias."""
    share = rank // bank.group
    filters = len(bank.weight) // bank.group
    try:
        single_rank(share, min(filters, int(bank.weight[0].size)))
    except RankError as error:
        raise RankError(f"layer '{bank.layer}': rank {rank} over {bank.group} groups: {error}") from error
    bases, mixes, biases = [], [], []
    for index in range(bank.group):
        part = slice(index * filters, (index + 1) * filters)
        weight = bank.weight[part].reshape(filters, -1).astype(np.float64)
        mix, into, offset = _fit_group(wanted[:, part], found[:, part], share, bank.bias is not None, relu)
        bases.append((into @ weight).reshape(share, *bank.weight.shape[1:]))
        mixes.append(mix.reshape(filters, share, *(1,) * (bank.weight.ndim - 2)))
        if bank.bias is not None:
            biases.append(mix @ (into @ bank.bias[part]) + offset)
    dtype = bank.weight.dtype
    chain = Factorization(
        np.concatenate(bases).astype(dtype),
        np.concatenate(mixes).astype(dtype),
        np.empty(0),
        bank.weight.shape,
        (),
        bank.group,
    )
    return chain, np.concatenate(biases).astype(dtype) if biases else None


def _fit_group(
    wanted: np.ndarray, found: np.ndarray, rank: int, biased: bool, relu: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, V and c of y ~ U V x + c."""
    mix, into, offset = _affine(wanted, found, rank, biased)
    if not relu:
        return mix, into, offset
    positive = np.maximum(wanted, 0)
    best = (np.inf, mix, into, offset)
    for penalty in (*PENALTIES, None):
        made = found @ into.T @ mix.T + offset
        error = float(np.square(positive - np.maximum(made, 0)).sum())
        if error < best[0]:
            best = (error, mix, into, offset)
        if penalty is not None:
            mix, into, offset = _affine(_between(positive, made, penalty), found, rank, biased)
    return best[1:]


def _affine(
    target: np.ndarray, source: np.ndarray, rank: int, biased: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not biased:
        return *reduced_rank(target, source, rank), np.zeros(target.shape[1])
    means = target.mean(axis=0), source.mean(axis=0)
    mix, into = reduced_rank(target - means[0], source - means[1], rank)
    return mix, into, means[0] - mix @ (into @ means[1])


def _between(positive: np.ndarray, made: np.ndarray, penalty: float) -> np.ndarray:
    """z of least (r(y) - r(z))^2 + penalty (z - made)^2 for each element: the better of its two sides of zero."""
    below = np.minimum(made, 0)
    above = np.maximum((penalty * made + positive) / (penalty + 1), 0)
    costs = [np.square(positive - np.maximum(z, 0)) + penalty * np.square(z - made) for z in (below, above)]
    chosen: np.ndarray = np.where(costs[0] < costs[1], below, above)
    return chosen


def _has_relu(net: Any, layer: Any) -> bool:
    """Whether a plain ReLU is the first to read the layer's top."""
    place = next(i for i, each in enumerate(net.layer) if each.name == layer.name and has_filters(each))
    after = list(net.layer)[place + 1 :]
    reader = next((each for each in after if layer.top[0] in each.bottom), None)
    return reader is not None and reader.type == "ReLU" and reader.relu_param.negative_slope == 0
