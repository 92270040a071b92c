"""paper.csv is well formed, and what it repeats it repeats alike."""

import csv

import pytest

from tests.conftest import ROOT
from tests.paper.published import published


def rows():
    with (ROOT / "reproductions" / "paper.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_has_one_place_a_unit_and_a_provenance():
    assert all(row["read_from"] in ("print", "digitised", "restored", "derived") for row in rows())
    assert all(row["unit"] and float(row["value"]) == float(row["value"]) for row in rows())
    places = [(row["source"], row["row"], row["metric"], row["layer"]) for row in rows()]
    assert len(places) == len(set(places))


def test_every_table_and_figure_with_numbers_is_there():
    wanted = {f"Table {number}" for number in range(1, 8)} | {f"Figure {number}" for number in (2, 5, 6, 7, 8)}
    assert wanted <= {row["source"] for row in rows()}


def test_the_l2_row_of_table_2_is_the_row_of_table_1_that_theorem_1_speaks_of():
    assert published("Table 1", "ConvNet scaler |W|", "rank") == published("Table 2", "ConvNet l2", "rank")


def test_table_3_and_table_4_agree_on_the_pca_errors():
    for force in ("none", "l2"):
        assert published("Table 3", f"AlexNet {force} PCA", "top-1 error") == published(
            "Table 4", f"AlexNet {force}", "top-1 error"
        )


@pytest.mark.parametrize("row", ["ours", "ours low error", "one-shot", "SSL", "SSL low error"])
def test_the_totals_of_table_6_are_harmonic_means_with_shares_that_fit_all_rows(row):
    # methods.md 1.5: the shares of time are not printed; these are the centre of what fits
    shares = {"conv1": 0.156, "conv2": 0.292, "conv3": 0.234, "conv4": 0.177, "conv5": 0.140}
    speedups = published("Table 6", row, "CPU speedup")
    total = speedups.pop("all convolutions")
    found = sum(shares.values()) / sum(share / speedups[layer] for layer, share in shares.items())
    assert found == pytest.approx(total, rel=0.025)
