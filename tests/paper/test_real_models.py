"""Ranks at 95 % energy of real trained models, beside the paper's baselines.

What differs from the paper is written here as it is: other training runs of the same nets are not the paper's.
"""

import pytest

from caffe_compat.decompose.ranks import ranks_by_energy
from caffe_compat.proto.model import read_model
from tests.conftest import shared
from tests.paper.published import published


@pytest.fixture(scope="module")
def googlenet_ranks():
    folder = shared("models", "googlenet")
    return ranks_by_energy(read_model(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel"), keep=0.95)


def test_googlenet_baseline_ranks_are_figure_5s_but_for_the_first_layer(googlenet_ranks):
    figure = published("Figure 5", "GoogLeNet none", "rank")
    assert set(figure) - set(googlenet_ranks) == {"loss1/conv", "loss2/conv"}  # the deploy net has no auxiliary heads
    assert [name for name in figure if name in googlenet_ranks] == list(googlenet_ranks)
    apart = {
        name: (rank, figure[name]) for name, rank in googlenet_ranks.items() if abs(rank - figure[name]) > 1
    }  # the figure is digitised to +-1
    # A difference that stays: BVLC's public weights need 27 filters in the first layer, the paper's net 30.
    # They are weights of another training run; the other 56 layers are too alike to leave the rule in doubt.
    assert apart == {"conv1/7x7_s2": (27, 30)}


CONVNET = {  # public snapshots of the paper's ConvNet, trained by others: ours, the paper's Table 2
    ("cifar10_full_v1", "cifar10_full_iter_60000.caffemodel"): (16, 26, 54),
    ("cifar10_full_v1", "cifar10_full_iter_70000.caffemodel"): (16, 26, 54),
    ("cifar10_full_h5", "cifar10_full_iter_100000.caffemodel.h5"): (16, 26, 54),
}


@pytest.mark.parametrize("folder, weights", CONVNET)
def test_convnet_baseline_ranks_are_within_one_of_table_2(folder, weights):
    model = read_model(shared("models", folder, "cifar10_full.prototxt"), shared("models", folder, weights))
    ranks = ranks_by_energy(model, keep=0.95)
    paper = published("Table 2", "ConvNet none", "rank")
    assert list(ranks) == list(paper)
    assert tuple(ranks.values()) == CONVNET[folder, weights]
    assert all(abs(ranks[layer] - paper[layer]) <= 1 for layer in ranks)
