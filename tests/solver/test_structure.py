"""Structured sparsity, pruning and rank penalties as a solver prototxt asks for them."""

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver.solver import Solver
from caffe_compat.solver.structure import zero_shares

NET = """
layer {{ name: "data" type: "DummyData" top: "data" top: "target"
  dummy_data_param {{ shape {{ dim: 4 dim: 4 dim: 5 dim: 6 }} shape {{ dim: 4 dim: 3 }}
    data_filler {{ type: "gaussian" std: 1 }} data_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" {layer}
  param {{ lr_mult: 1 {param} }} param {{ lr_mult: 1 decay_mult: 0 }}
  convolution_param {{ num_output: 6 group: 2 kernel_size: 3 weight_filler {{ type: "gaussian" std: 0.2 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" param {{ decay_mult: 0 }}
  inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }}
"""


def make(fields="", layer="", param="", base_lr=0.01):
    text = f'base_lr: {base_lr} lr_policy: "fixed" random_seed: 1 snapshot_prefix: "run" {fields}'
    solver = parse_text(text, SolverParameter)
    solver.net_param.CopyFrom(parse_text(NET.format(layer=layer, param=param), type(solver.net_param)))
    return Solver(solver)


def bank(solver, layer="conv"):
    return solver.net.params[layer][0].detach()


def step_taken(**options):
    """The change of conv's weights in one step, and the weights before it."""
    solver = make(**options)
    before = bank(solver).clone()
    solver.step(1)
    return bank(solver) - before, before


@pytest.mark.parametrize(
    ("fields", "param", "rows", "columns"),
    [
        ("breadth_decay: 0.5", "breadth_decay_mult: 2", 1, 18),
        ("kernel_shape_decay: 0.5", "kernel_shape_decay_mult: 2", 3, 1),
        ("block_group_decay: 0.5", "block_group_lasso { xdimen: 9 ydimen: 6 block_decay_mult: 2 }", 6, 9),
    ],
)
def test_each_group_lasso_pulls_its_groups_towards_zero(fields, param, rows, columns):
    plain, weight = step_taken()
    forced, _ = step_taken(fields=fields, param=param)
    tiles = weight.reshape(6 // rows, rows, 18 // columns, columns).double()
    unit = (tiles / tiles.square().sum((1, 3), keepdim=True).sqrt()).reshape(weight.shape)
    np.testing.assert_allclose((forced - plain).numpy(), -0.01 * 0.5 * 2 * unit.numpy(), atol=1e-7)


def test_groups_vanish_with_a_threshold_and_stay_away_while_frozen():
    frozen = "connectivity_mode: DISCONNECTED_GRPWISE"
    solver = make("kernel_shape_decay: 2 prune_threshold: 0.02", frozen, "kernel_shape_decay_mult: 1")
    solver.step(30)
    gone = bank(solver).flatten(1).eq(0).all(0)
    assert 0 < int(gone.sum()) < 18
    solver.step(5)
    assert bool(bank(solver).flatten(1)[:, gone].eq(0).all())


def test_prune_threshold_leaves_no_small_weight_where_decay_acts():
    solver = make("prune_threshold: 0.1")
    solver.step(3)
    weight, other = bank(solver), bank(solver, "ip")
    assert 0 < float(weight.eq(0).float().mean()) < 1
    assert float(weight[weight != 0].abs().min()) > 0.1
    assert float(other.abs().min()) < 0.01  # decay_mult 0


def test_eltwise_zeros_stay_whatever_the_history_says():
    solver = make("momentum: 0.9", "connectivity_mode: DISCONNECTED_ELTWISE")
    bank(solver)[:, 0, 1] = 0
    solver.state.history[0].fill_(1.0)
    solver.step(2)
    zero = bank(solver) == 0
    assert bool(zero[:, 0, 1].all()) and int(zero.sum()) == 6 * 3


def test_nuclear_penalty_adds_the_orthogonal_factor():
    plain, weight = step_taken(param="force_mult: 2")
    forced, _ = step_taken(fields="spectral_decay: 0.5", param="force_mult: 2")
    left, _, right = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    np.testing.assert_allclose((forced - plain).flatten(1).numpy(), -0.01 * 0.5 * 2 * left @ right, atol=1e-7)


def test_ranks_are_cut_when_the_interval_is_over():
    solver = make("rank_pruning_interval: 3 rank_pruning_keep: 0.7", param="force_mult: 1")
    ranks = []
    for _ in range(6):
        solver.step(1)
        ranks.append(int(np.linalg.matrix_rank(bank(solver).flatten(1).numpy(), tol=1e-5)))
    assert ranks[:2] == [6, 6] and ranks[2] < 6 and ranks[4] == 6 and ranks[5] < 6


def test_force_scaler_divides_by_the_square_of_the_length():
    fields = 'force_type: "Constant" force_decay: 0.1'
    plain, weight = step_taken(param="force_mult: 1")
    usual, _ = step_taken(fields=fields, param="force_mult: 1")
    inverse, _ = step_taken(fields=f'{fields} force_scaler: "inverse_length"', param="force_mult: 1")
    squares = weight.flatten(1).square().sum(1)[:, None, None, None]
    np.testing.assert_allclose(((inverse - plain) * squares).numpy(), (usual - plain).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ("prune_threshold: -1", "", "prune_threshold is -1; wanted 0 or more"),
        ("rank_pruning_interval: -2", "", "rank_pruning_interval is -2; wanted 0 or more"),
        ("rank_pruning_keep: 0", "", "rank_pruning_keep is 0; wanted above 0 and at most 1"),
        ("breadth_decay: inf", "", "breadth_decay is inf; wanted a finite number"),
        ('spectral_decay_type: "trace"', "", "spectral_decay_type is 'trace'; allowed: nuclear, hoyer"),
        ('force_scaler: "none"', "", "force_scaler is 'none'; allowed: length, inverse_length"),
        ("spectral_decay: 1", "", "spectral_decay acts where force_mult is not 0, but net '' sets none"),
        (
            "block_group_decay: 1", "block_group_lasso { xdimen: 4 ydimen: 6 }",
            "layer 'conv': block_group_lasso has ydimen 6 and xdimen 4; wanted divisors of 6 filters and of 18 values",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(fields, param, message):
    with pytest.raises(SolverError, match=message):
        make(fields, param=param)


def test_without_any_of_it_nothing_is_done():
    assert not make()._structure.active
    assert make("prune_threshold: 0.1")._structure.active


def test_zero_shares_count_elements_rows_and_columns():
    weight = torch.ones(4, 1, 1, 5)
    weight[1] = 0
    weight[:, 0, 0, 2] = 0
    assert zero_shares(weight) == {"elements": 8 / 20, "rows": 0.25, "columns": 0.2}
